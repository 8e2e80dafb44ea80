"""Every field of a Messages request and what becomes of it.

Source of the fields: https://docs.anthropic.com/en/api/messages, its beta form included.
"""

from __future__ import annotations

from dialects.chat.fields import ChatField

AS_IT_IS = "As it is."
BETA = "As it is; the API wants its `anthropic-beta` header, which is passed on."

FIELDS = (
    ChatField(
        "model",
        "native",
        "Claude's ids and aliases as they are; other names through MODEL_ALIASES; "
        "empty or absent means DEFAULT_MODEL.",
    ),
    ChatField(
        "messages",
        "native",
        "Every message and block as it is, of whatever kind: `cache_control`, `citations`, "
        "signatures, server tools and their results, and what the API may learn later.",
    ),
    ChatField("system", "native", "A text or blocks, as they are."),
    ChatField("max_tokens", "native", "As it is; absent it is a 400, as with the API."),
    ChatField("stream", "native", "The API's own events, `ping` included, as they come."),
    ChatField("metadata", "native", AS_IT_IS),
    ChatField("stop_sequences", "native", AS_IT_IS),
    ChatField("temperature", "native", AS_IT_IS),
    ChatField("top_k", "native", AS_IT_IS),
    ChatField("top_p", "native", AS_IT_IS),
    ChatField("thinking", "native", AS_IT_IS),
    ChatField("tools", "native", "The caller's own and the API's server tools, as they are."),
    ChatField("tool_choice", "native", AS_IT_IS),
    ChatField("output_config", "native", AS_IT_IS),
    ChatField("service_tier", "native", AS_IT_IS),
    ChatField("container", "native", AS_IT_IS),
    ChatField("cache_control", "native", AS_IT_IS),
    ChatField("inference_geo", "native", AS_IT_IS),
    ChatField("diagnostics", "native", AS_IT_IS),
    ChatField("speed", "native", AS_IT_IS),
    ChatField(
        "mcp_servers",
        "native",
        "The API's own connector, as it is. MCP servers of this server are asked for by the header "
        "`X-Claude-Mcp-Servers`.",
    ),
    ChatField("context_management", "native", BETA),
    ChatField("compaction", "native", BETA),
    ChatField("fallbacks", "native", BETA),
    ChatField("fallback_credit_token", "native", BETA),
    ChatField("billing_policy", "native", BETA),
    ChatField("thread", "native", BETA),
    ChatField("output_format", "native", BETA),
    ChatField("user_profile_id", "native", BETA),
    ChatField("workspace_id", "native", BETA),
    ChatField(
        "session_id",
        "emulated",
        "Not Anthropic's: the server keeps the history under this name (docs/sessions.md). So does "
        "the header `X-Session-Id`.",
    ),
    ChatField(
        "enable_tools",
        "emulated",
        "Not Anthropic's, as all of these (docs/tools.md); better asked for by header. A request "
        "with built-in tools is many requests of Claude Code's own: the fields above that these "
        "cannot carry are reported as ignored.",
        (False,),
    ),
    ChatField("claude_tools", "emulated", "Asks for these built-in tools, or `all`."),
    ChatField("disallowed_tools", "emulated", "Built-in tools to do without."),
    ChatField("max_turns", "emulated", "Maximum answers of the model in one request with tools."),
    ChatField("max_budget_usd", "emulated", "Maximum cost of one request with tools."),
    ChatField("permission_mode", "emulated", "`default`, `acceptEdits` or `plan`."),
    ChatField("cwd", "emulated", "The directory in which built-in tools work."),
    ChatField(
        "tool_activity",
        "emulated",
        "Where the work of built-in tools is shown: `reasoning` (thinking blocks), `content` or "
        "`none`.",
    ),
)

ANY_OTHER = ChatField("any other field", "native", "As it is: the API decides.")
