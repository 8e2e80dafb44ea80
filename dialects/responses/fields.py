"""Every field of a Responses request and what becomes of it: the one table.

The dialect, the compatibility report and the documentation all read it here.
Source of the fields: https://platform.openai.com/docs/api-reference/responses/create.
"""

from __future__ import annotations

from dialects.chat.fields import ChatField as Field

FIELDS = (
    Field(
        "model",
        "native",
        "Claude's ids and aliases as they are; other names through MODEL_ALIASES; "
        "empty or absent means DEFAULT_MODEL.",
    ),
    Field(
        "input",
        "native",
        "A text, or items: messages, function and custom tool calls with their outputs, reasoning "
        "with `encrypted_content`, references to stored items.",
    ),
    Field(
        "instructions",
        "native",
        "The beginning of the system prompt. Those of an earlier response are not carried on.",
    ),
    Field("stream", "native", "Server-sent events, each piece the moment Claude writes it."),
    Field(
        "stream_options",
        "accepted",
        "`include_obfuscation` would pad events; no padding is added.",
    ),
    Field(
        "tools",
        "native",
        "Functions, custom tools and namespaces of both; `web_search` and `code_interpreter` as "
        "Claude's own server tools, where the provider has them; `mcp` with the `server_label` of "
        "a server that is configured here. Tools that clients offer in every request "
        "(`image_generation`, `tool_search`, `local_shell`) are left out and reported; others are "
        "a 400.",
    ),
    Field(
        "tool_choice",
        "native",
        "All forms. Models that always think cannot be forced: from them the call is asked for as "
        "the form of the answer.",
    ),
    Field("parallel_tool_calls", "native", "`false` is `disable_parallel_tool_use`."),
    Field(
        "max_tool_calls",
        "native",
        "`max_uses` of the web search; OpenAI too counts built-in tools only.",
    ),
    Field(
        "max_output_tokens",
        "native",
        "`max_tokens`; reached, the response is `incomplete`.",
    ),
    Field(
        "temperature",
        "native",
        "0 to 1 as it is; above 1 it is 1 and reported as ignored. Models that refuse it get the "
        "request without it, which is reported too.",
    ),
    Field(
        "top_p",
        "native",
        "As it is; models that refuse it get the request without it, which is reported.",
    ),
    Field(
        "reasoning",
        "native",
        "`effort`: Claude's levels, the nearest one that the model has. `summary`: shows the "
        "thinking, which Claude sums up itself; without it reasoning items are empty.",
    ),
    Field(
        "text",
        "native",
        "`format`: `json_schema` is native structured output, `json_object` is emulated. "
        "`verbosity` is ignored: Claude has no such setting, and nothing is added to the prompt.",
    ),
    Field(
        "include",
        "native",
        "`reasoning.encrypted_content` is the signed thinking, which Claude takes back; "
        "`web_search_call.action.sources` and `code_interpreter_call.outputs` as OpenAI. Others "
        "are reported as ignored.",
    ),
    Field(
        "store",
        "emulated",
        "Responses are stored unless it is `false`, for their owner, until they expire.",
    ),
    Field(
        "previous_response_id",
        "emulated",
        "The items of that response and of those before it go before the input.",
    ),
    Field(
        "conversation",
        "emulated",
        "The conversation's items go before the input; input and output are added to it.",
    ),
    Field("background", "emulated", "The response is worked on after the request has ended."),
    Field("metadata", "emulated", "Stored with the response and given back."),
    Field("user", "native", "`metadata.user_id`, hashed; `safety_identifier` goes before it."),
    Field("safety_identifier", "native", "`metadata.user_id`, hashed."),
    Field(
        "prompt_cache_retention",
        "native",
        "`24h`: prompts are cached for an hour, the longest that Claude has.",
    ),
    Field(
        "prompt_cache_options",
        "native",
        "`ttl`: prompts are cached for an hour, the longest that Claude has.",
    ),
    Field(
        "session_id",
        "emulated",
        "Not OpenAI's: the server keeps the history under this name (docs/sessions.md).",
    ),
    Field(
        "enable_tools",
        "emulated",
        "Not OpenAI's, as all of these (docs/tools.md): `true` asks for each of Claude Code's own "
        "tools that is allowed, `false` for none.",
        (False,),
    ),
    Field("claude_tools", "emulated", "Asks for these of Claude Code's own tools, or `all`."),
    Field("disallowed_tools", "emulated", "Claude Code's own tools to do without."),
    Field("max_turns", "emulated", "Maximum of model answers in one request with own tools."),
    Field("max_budget_usd", "emulated", "Maximum cost of one request with own tools."),
    Field("permission_mode", "emulated", "`default`, `acceptEdits` or `plan`."),
    Field("cwd", "emulated", "The directory in which own tools work."),
    Field("mcp_servers", "emulated", "The MCP servers whose tools the model gets."),
    Field(
        "tool_activity",
        "emulated",
        "Where the work of own tools is shown: `reasoning`, `content` or `none`.",
    ),
    Field(
        "truncation",
        "ignored",
        "Nothing is left out of a conversation that is too long: it is a 400.",
        ("disabled",),
    ),
    Field("top_logprobs", "ignored", "Claude gives no token probabilities.", (0,)),
    Field("presence_penalty", "ignored", "Claude has no such parameter.", (0,)),
    Field("frequency_penalty", "ignored", "Claude has no such parameter.", (0,)),
    Field(
        "context_management",
        "ignored",
        "Nothing is compacted unasked; `POST /v1/responses/compact` does it.",
        ([],),
    ),
    Field("image", "ignored", "Claude makes no images."),
    Field("access_programs", "ignored", "These are OpenAI's own."),
    Field("moderation", "ignored", "Claude Code runs no moderation of its own."),
    Field("service_tier", "accepted", "There is one tier."),
    Field("prompt_cache_key", "accepted", "Prompts are marked for caching without it."),
    Field("client_metadata", "accepted", "Only labels the request."),
    Field(
        "prompt",
        "refused",
        "Prompt templates are stored with OpenAI: send the text as `instructions` and `input`.",
    ),
)

ITEM_FIELDS = (
    Field(
        "system and developer messages",
        "native",
        "The system prompt, behind `instructions`, joined by an empty line. One in the middle "
        "moves there, since Claude's conversations have no such role.",
    ),
    Field("consecutive items of one role", "native", "One message, block by block."),
    Field(
        "an assistant's message last",
        "refused",
        "Claude models since 4.6 do not continue a begun answer; ask with a user's message.",
    ),
    Field("input_text and output_text parts", "native", "Text blocks, unchanged."),
    Field(
        "input_image parts",
        "native",
        "Image blocks. Data URLs are read, `https` URLs are fetched by this server unless "
        "IMAGE_URLS is off. `file_id` is a 400: no files are stored here.",
    ),
    Field("input.content.detail", "ignored", "Claude has one resolution for all.", ("auto",)),
    Field(
        "input_file parts",
        "native",
        "`file_data` with a PDF or text is a document block; `file_url` is one that the API "
        "fetches. `file_id` is a 400: no files are stored here.",
    ),
    Field("input_audio parts", "refused", "Claude does not hear."),
    Field(
        "function_call and function_call_output",
        "native",
        "`tool_use` and `tool_result` blocks, images in outputs included. Each call needs exactly "
        "one output.",
    ),
    Field(
        "custom_tool_call and custom_tool_call_output",
        "emulated",
        "A call with one text. Claude cannot be held to a grammar; it reads it with the tool.",
    ),
    Field(
        "reasoning",
        "native",
        "With `encrypted_content` it is the signed thinking block. Without, it is left out: Claude "
        "takes back only what it signed.",
    ),
    Field(
        "web_search_call, code_interpreter_call, mcp_call and mcp_list_tools",
        "accepted",
        "What came of them stands in the answer's text.",
    ),
    Field("compaction", "emulated", "What `POST /v1/responses/compact` made: the summary."),
    Field("item_reference", "emulated", "The stored item of that id."),
    Field("items of other types", "refused", "Claude's conversations have nothing like them."),
)

ANY_OTHER = Field("any other field", "ignored", "It is not a field of the API known here.")

BY_NAME = {row.name: row for row in (*FIELDS, *ITEM_FIELDS)}
ACTED_ON = frozenset(row.name for row in FIELDS if row.treatment in ("native", "emulated"))
WITHOUT_EFFECT = frozenset(row.name for row in FIELDS if row.treatment == "accepted")
REFUSED = {row.name: row.why for row in FIELDS if row.treatment == "refused"}
NEUTRAL = {row.name: row.neutral for row in FIELDS if row.neutral}
