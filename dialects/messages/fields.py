"""Every field of a Messages request and what becomes of it.

Source of the fields: https://docs.anthropic.com/en/api/messages, its beta form included.
"""

from __future__ import annotations

from dialects.field_table import FieldRow, FieldTable

AS_IT_IS = "As it is."
BETA = "As it is; the API wants its `anthropic-beta` header, which is passed on."

FIELDS = (
    FieldRow(
        "model",
        "native",
        "Claude's ids and aliases as they are; other names through MODEL_ALIASES; "
        "empty or absent means DEFAULT_MODEL.",
    ),
    FieldRow(
        "messages",
        "native",
        "Every message and block as it is, of whatever kind: `cache_control`, `citations`, "
        "signatures, server tools and their results, and what the API may learn later.",
    ),
    FieldRow("system", "native", "A text or blocks, as they are."),
    FieldRow("max_tokens", "native", "As it is; absent it is a 400, as with the API."),
    FieldRow("stream", "native", "The API's own events, `ping` included, as they come."),
    FieldRow("metadata", "native", AS_IT_IS),
    FieldRow("stop_sequences", "native", AS_IT_IS),
    FieldRow("temperature", "native", AS_IT_IS),
    FieldRow("top_k", "native", AS_IT_IS),
    FieldRow("top_p", "native", AS_IT_IS),
    FieldRow("thinking", "native", AS_IT_IS),
    FieldRow("tools", "native", "The caller's own and the API's server tools, as they are."),
    FieldRow("tool_choice", "native", AS_IT_IS),
    FieldRow("output_config", "native", AS_IT_IS),
    FieldRow("service_tier", "native", AS_IT_IS),
    FieldRow("container", "native", AS_IT_IS),
    FieldRow("cache_control", "native", AS_IT_IS),
    FieldRow("inference_geo", "native", AS_IT_IS),
    FieldRow("diagnostics", "native", AS_IT_IS),
    FieldRow("speed", "native", AS_IT_IS),
    FieldRow(
        "mcp_servers",
        "native",
        "The API's own connector, as it is. MCP servers of this server are asked for by the header "
        "`X-Claude-Mcp-Servers`.",
    ),
    FieldRow("context_management", "native", BETA),
    FieldRow("compaction", "native", BETA),
    FieldRow("fallbacks", "native", BETA),
    FieldRow("fallback_credit_token", "native", BETA),
    FieldRow("billing_policy", "native", BETA),
    FieldRow("thread", "native", BETA),
    FieldRow("output_format", "native", BETA),
    FieldRow("user_profile_id", "native", BETA),
    FieldRow("workspace_id", "native", BETA),
    FieldRow(
        "session_id",
        "emulated",
        "Not Anthropic's: the server keeps the history under this name (docs/sessions.md). So does "
        "the header `X-Session-Id`.",
    ),
    FieldRow(
        "enable_tools",
        "emulated",
        "Not Anthropic's, as all of these (docs/tools.md); better asked for by header. A request "
        "with built-in tools is many requests of Claude Code's own: the fields above that these "
        "cannot carry are reported as ignored.",
        (False,),
    ),
    FieldRow("claude_tools", "emulated", "Asks for these built-in tools, or `all`."),
    FieldRow("disallowed_tools", "emulated", "Built-in tools to do without."),
    FieldRow("max_turns", "emulated", "Maximum answers of the model in one request with tools."),
    FieldRow("max_budget_usd", "emulated", "Maximum cost of one request with tools."),
    FieldRow("permission_mode", "emulated", "`default`, `acceptEdits` or `plan`."),
    FieldRow("cwd", "emulated", "The directory in which built-in tools work."),
    FieldRow(
        "tool_activity",
        "emulated",
        "Where the work of built-in tools is shown: `reasoning` (thinking blocks), `content` or "
        "`none`.",
    ),
)

INSIDE = (
    FieldRow(
        "blocks",
        "native",
        "Every kind as it is, with every key. Images and documents by address are the API's to "
        "fetch.",
    ),
    FieldRow("an assistant message last", "native", "Prefill, where the model takes it."),
    FieldRow("a system message in the middle", "native", AS_IT_IS),
    FieldRow(
        "thinking with the signature `claude-code-activity`",
        "accepted",
        "What this server showed of built-in tools' work: left out again.",
    ),
    FieldRow(
        "numbers of more than 53 bits", "native", "They lose digits: Claude Code is JavaScript."
    ),
)
ANY_OTHER = FieldRow("any other field", "native", "As it is: the API decides.")
TABLE = FieldTable(FIELDS, INSIDE, ANY_OTHER)
