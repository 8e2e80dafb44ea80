"""Every field of a Responses request and what becomes of it: the one table.

The dialect, the compatibility report and the documentation all read it here.
Source of the fields: https://platform.openai.com/docs/api-reference/responses/create.
"""

from __future__ import annotations

from dialects.field_table import FieldRow, FieldTable

FIELDS = (
    FieldRow(
        "model",
        "native",
        "Claude's ids and aliases as they are; other names through MODEL_ALIASES; "
        "empty or absent means DEFAULT_MODEL.",
    ),
    FieldRow(
        "input",
        "native",
        "A text, or items: messages, function and custom tool calls with their outputs, reasoning "
        "with `encrypted_content`, references to stored items.",
    ),
    FieldRow(
        "instructions",
        "native",
        "The beginning of the system prompt. Those of an earlier response are not carried on.",
    ),
    FieldRow("stream", "native", "Server-sent events, each piece the moment Claude writes it."),
    FieldRow(
        "stream_options",
        "accepted",
        "`include_obfuscation` would pad events; no padding is added.",
    ),
    FieldRow(
        "tools",
        "native",
        "Functions, custom tools and namespaces of both; `web_search` and `code_interpreter` as "
        "Claude's own server tools, where the provider has them; `mcp` with the `server_label` of "
        "a server that is configured here. Tools that clients offer in every request "
        "(`image_generation`, `tool_search`, `local_shell`) are left out and reported; others are "
        "a 400.",
    ),
    FieldRow(
        "tool_choice",
        "native",
        "All forms. Models that always think cannot be forced: from them the call is asked for as "
        "the form of the answer.",
    ),
    FieldRow("parallel_tool_calls", "native", "`false` is `disable_parallel_tool_use`."),
    FieldRow(
        "max_tool_calls",
        "native",
        "`max_uses` of the web search; OpenAI too counts built-in tools only.",
    ),
    FieldRow(
        "max_output_tokens",
        "native",
        "`max_tokens`; reached, the response is `incomplete`.",
    ),
    FieldRow(
        "temperature",
        "native",
        "0 to 1 as it is; above 1 it is 1 and reported as ignored. Models that refuse it get the "
        "request without it, which is reported too.",
    ),
    FieldRow(
        "top_p",
        "native",
        "As it is; models that refuse it get the request without it, which is reported.",
    ),
    FieldRow(
        "reasoning",
        "native",
        "`effort`: Claude's levels, the nearest one that the model has. `summary`: shows the "
        "thinking, which Claude sums up itself; without it reasoning items are empty.",
    ),
    FieldRow(
        "text",
        "native",
        "`format`: `json_schema` is native structured output, `json_object` is emulated. "
        "`verbosity` is ignored: Claude has no such setting, and nothing is added to the prompt.",
    ),
    FieldRow(
        "include",
        "native",
        "`reasoning.encrypted_content` is the signed thinking, which Claude takes back; "
        "`web_search_call.action.sources` and `code_interpreter_call.outputs` as OpenAI. Others "
        "are reported as ignored.",
    ),
    FieldRow(
        "store",
        "emulated",
        "Responses are stored unless it is `false`, for their owner, until they expire.",
    ),
    FieldRow(
        "previous_response_id",
        "emulated",
        "The items of that response and of those before it go before the input.",
    ),
    FieldRow(
        "conversation",
        "emulated",
        "The conversation's items go before the input; input and output are added to it.",
    ),
    FieldRow("background", "emulated", "The response is worked on after the request has ended."),
    FieldRow("metadata", "emulated", "Stored with the response and given back."),
    FieldRow("user", "native", "`metadata.user_id`, hashed; `safety_identifier` goes before it."),
    FieldRow("safety_identifier", "native", "`metadata.user_id`, hashed."),
    FieldRow(
        "prompt_cache_retention",
        "native",
        "`24h`: prompts are cached for an hour, the longest that Claude has.",
    ),
    FieldRow(
        "prompt_cache_options",
        "native",
        "`ttl`: prompts are cached for an hour, the longest that Claude has.",
    ),
    FieldRow(
        "session_id",
        "emulated",
        "Not OpenAI's: the server keeps the history under this name (docs/sessions.md).",
    ),
    FieldRow(
        "enable_tools",
        "emulated",
        "Not OpenAI's, as all of these (docs/tools.md): `true` asks for each of Claude Code's own "
        "tools that is allowed, `false` for none.",
        (False,),
    ),
    FieldRow("claude_tools", "emulated", "Asks for these built-in tools, or `all`."),
    FieldRow("disallowed_tools", "emulated", "Claude Code's built-in tools to do without."),
    FieldRow("max_turns", "emulated", "Maximum model answers with built-in tools."),
    FieldRow("max_budget_usd", "emulated", "Maximum cost of one request with built-in tools."),
    FieldRow("permission_mode", "emulated", "`default`, `acceptEdits` or `plan`."),
    FieldRow("cwd", "emulated", "The directory in which built-in tools work."),
    FieldRow("mcp_servers", "emulated", "The MCP servers whose tools the model gets."),
    FieldRow(
        "tool_activity",
        "emulated",
        "Where the work of built-in tools is shown: `reasoning`, `content` or `none`.",
    ),
    FieldRow(
        "truncation",
        "emulated",
        "`auto`: the oldest messages are left out where they do not fit into the model's context; "
        "`x-context-trimmed` says how many. Otherwise a conversation that is too long is a 400.",
    ),
    FieldRow("top_logprobs", "ignored", "Claude gives no token probabilities.", (0,)),
    FieldRow("presence_penalty", "ignored", "Claude has no such parameter.", (0,)),
    FieldRow("frequency_penalty", "ignored", "Claude has no such parameter.", (0,)),
    FieldRow(
        "context_management",
        "ignored",
        "Nothing is compacted unasked; `POST /v1/responses/compact` does it.",
        ([],),
    ),
    FieldRow("image", "ignored", "Claude makes no images."),
    FieldRow("access_programs", "ignored", "These are OpenAI's own."),
    FieldRow("moderation", "ignored", "Claude Code runs no moderation of its own."),
    FieldRow("service_tier", "accepted", "There is one tier."),
    FieldRow("prompt_cache_key", "accepted", "Prompts are marked for caching without it."),
    FieldRow("client_metadata", "accepted", "Only labels the request."),
    FieldRow(
        "prompt",
        "refused",
        "Prompt templates are stored with OpenAI: send the text as `instructions` and `input`.",
    ),
)

ITEM_FIELDS = (
    FieldRow(
        "system and developer messages",
        "native",
        "The system prompt, behind `instructions`, joined by an empty line. One in the middle "
        "moves there, since Claude's conversations have no such role.",
    ),
    FieldRow("consecutive items of one role", "native", "One message, block by block."),
    FieldRow(
        "an assistant's message last",
        "refused",
        "Claude models since 4.6 do not continue a begun answer; ask with a user's message.",
    ),
    FieldRow("input_text and output_text parts", "native", "Text blocks, unchanged."),
    FieldRow(
        "input_image parts",
        "native",
        "Image blocks. Data URLs are read, `https` URLs are fetched by this server unless "
        "IMAGE_URLS is off. `file_id` is a 400: no files are stored here.",
    ),
    FieldRow("input.content.detail", "ignored", "Claude has one resolution for all.", ("auto",)),
    FieldRow(
        "input_file parts",
        "native",
        "`file_data` with a PDF or text is a document block; `file_url` is one that the API "
        "fetches. `file_id` is a 400: no files are stored here.",
    ),
    FieldRow("input_audio parts", "refused", "Claude does not hear."),
    FieldRow(
        "function_call and function_call_output",
        "native",
        "`tool_use` and `tool_result` blocks, images in outputs included. Each call needs exactly "
        "one output.",
    ),
    FieldRow(
        "custom_tool_call and custom_tool_call_output",
        "emulated",
        "A call with one text. Claude cannot be held to a grammar; it reads it with the tool.",
    ),
    FieldRow(
        "reasoning items",
        "native",
        "With `encrypted_content` it is the signed thinking block. Without, it is left out: Claude "
        "takes back only what it signed.",
    ),
    FieldRow(
        "web_search_call, code_interpreter_call, mcp_call and mcp_list_tools",
        "accepted",
        "What came of them stands in the answer's text.",
    ),
    FieldRow("compaction", "emulated", "What `POST /v1/responses/compact` made: the summary."),
    FieldRow("item_reference", "emulated", "The stored item of that id."),
    FieldRow("items of other types", "refused", "Claude's conversations have nothing like them."),
)

ANY_OTHER = FieldRow("any other field", "ignored", "It is not a field of the API known here.")

TABLE = FieldTable(FIELDS, ITEM_FIELDS, ANY_OTHER, part="input")
REFUSED = {row.name: row.why for row in FIELDS if row.treatment == "refused"}
