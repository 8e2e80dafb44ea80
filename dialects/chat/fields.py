"""Every field of a chat request and what becomes of it.

The dialect, the compatibility report and docs/openai-compatibility.md all read it here.
Source of the fields: https://platform.openai.com/docs/api-reference/chat/create.
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
        "messages",
        "native",
        "Roles, text, images, documents, calls and results as native blocks, in their order.",
    ),
    FieldRow("stream", "native", "Server-sent events, each piece the moment Claude writes it."),
    FieldRow(
        "stream_options",
        "native",
        "`include_usage` gives the usage chunk; other options have no effect.",
    ),
    FieldRow("max_tokens", "native", "`max_tokens`; reached, the finish reason is `length`."),
    FieldRow("max_completion_tokens", "native", "`max_tokens`; wins over the field of that name."),
    FieldRow(
        "temperature",
        "native",
        "0 to 1 unchanged; above 1 it is clamped to 1 and reported as ignored. Models that reject "
        "it get the request without it, which is reported too.",
    ),
    FieldRow(
        "top_k",
        "native",
        "Not OpenAI's: as it is, where it is above 0; models that refuse it get the request "
        "without it, which is reported.",
        (0, -1),
    ),
    FieldRow(
        "top_p",
        "native",
        "Unchanged; models that reject it get the request without it, which is reported.",
    ),
    FieldRow(
        "stop",
        "native",
        "`stop_sequences`; those that the API refuses, such as line breaks, are detected by this "
        "server.",
    ),
    FieldRow("n", "emulated", "Up to 10 turns at the same time; their usage is summed.", (1,)),
    FieldRow(
        "tools",
        "native",
        "The caller's own names, descriptions and schemas; names that the API does not allow are "
        "mapped there and back. Claude's bare `{name, input_schema}` is taken too; tools that are "
        "no functions are a 400.",
    ),
    FieldRow(
        "tool_choice",
        "native",
        "All forms, `allowed_tools` included. The API forces no call while a model thinks: then an "
        "instruction behind the system prompt asks for it.",
    ),
    FieldRow("parallel_tool_calls", "native", "`false` is `disable_parallel_tool_use`."),
    FieldRow("functions", "native", "As `tools`; the answer has the legacy `function_call`."),
    FieldRow("function_call", "native", "As `tool_choice`."),
    FieldRow(
        "response_format",
        "native",
        "`json_schema` is native structured output; `json_object` is an instruction behind the "
        "system prompt.",
        ({"type": "text"},),
    ),
    FieldRow(
        "reasoning_effort",
        "native",
        "Claude's effort levels, the nearest one that the model has; the thinking arrives as "
        "`reasoning_content`.",
    ),
    FieldRow(
        "reasoning",
        "native",
        "OpenRouter's form: `effort`, `max_tokens` as a budget, `enabled`; `exclude` keeps the "
        "thinking back. Wins over `reasoning_effort`.",
    ),
    FieldRow(
        "thinking",
        "native",
        "Anthropic's form: `enabled` with `budget_tokens`, `adaptive` or `disabled`. Models that "
        "budget their thinking themselves take no number, which is reported.",
    ),
    FieldRow(
        "session_id",
        "emulated",
        "Not OpenAI's: the server keeps the history under this name (docs/sessions.md). A session "
        "has one answer a turn, so `n` must be 1, and `seed` has no effect in it.",
    ),
    FieldRow(
        "context",
        "emulated",
        "Not OpenAI's: `trim` leaves the oldest messages of a session out where they no longer fit "
        "into the model's context; `x-context-trimmed` says how many (docs/sessions.md).",
    ),
    FieldRow(
        "enable_tools",
        "emulated",
        "Not OpenAI's, as all of these (docs/tools.md): `true` asks for each of Claude Code's "
        "built-in tools that is allowed, `false` for none. With built-in tools `n` must be 1, "
        "`seed` has no effect, and `response_format` must be native.",
        (False,),
    ),
    FieldRow(
        "claude_tools", "emulated", "Asks for these of Claude Code's built-in tools, or `all`."
    ),
    FieldRow("disallowed_tools", "emulated", "Claude Code's built-in tools to do without."),
    FieldRow("max_turns", "emulated", "Maximum model answers in one request with built-in tools."),
    FieldRow("max_budget_usd", "emulated", "Maximum cost of one request with built-in tools."),
    FieldRow("permission_mode", "emulated", "`default`, `acceptEdits` or `plan`."),
    FieldRow("cwd", "emulated", "The directory in which built-in tools work."),
    FieldRow("mcp_servers", "emulated", "The MCP servers whose tools the model gets."),
    FieldRow(
        "tool_activity",
        "emulated",
        "Where the work of built-in tools is shown: `reasoning`, `content` or `none`.",
    ),
    FieldRow("verbosity", "ignored", "Claude has no such setting.", ("medium",)),
    FieldRow(
        "seed",
        "emulated",
        "The same request with the same seed gets the recorded answer again for a while; "
        "Claude itself takes no seed.",
    ),
    FieldRow("logprobs", "ignored", "Claude provides no token probabilities.", (False,)),
    FieldRow("top_logprobs", "ignored", "Claude provides no token probabilities.", (0,)),
    FieldRow("logit_bias", "ignored", "Claude's tokens cannot be weighted.", ({},)),
    FieldRow("presence_penalty", "ignored", "Claude has no such parameter.", (0,)),
    FieldRow("frequency_penalty", "ignored", "Claude has no such parameter.", (0,)),
    FieldRow("modalities", "ignored", "Claude answers with text only.", (["text"],)),
    FieldRow("audio", "ignored", "Claude answers with text only."),
    FieldRow(
        "web_search_options",
        "emulated",
        "Asks for Claude Code's built-in WebSearch; the model decides how to search, so its "
        "options are reported as ignored.",
    ),
    FieldRow("moderation", "ignored", "Claude Code runs no moderation of its own."),
    FieldRow("user", "native", "`metadata.user_id`, as a hash of it and of the API key."),
    FieldRow("safety_identifier", "native", "As `user`, over which it wins."),
    FieldRow("metadata", "accepted", "Only labels the request."),
    FieldRow("store", "accepted", "Answers are not stored for later retrieval."),
    FieldRow("service_tier", "accepted", "There is one tier."),
    FieldRow("prompt_cache_key", "accepted", "Claude Code marks prompts for caching itself."),
    FieldRow(
        "prompt_cache_retention",
        "native",
        "`24h` asks for cache entries that last an hour, the longest that the API has.",
    ),
    FieldRow(
        "cache_control",
        "native",
        "On a content part or a tool: the caller's own cache marks, which replace this server's.",
    ),
    FieldRow("prompt_cache_options", "accepted", "Claude Code marks prompts for caching itself."),
    FieldRow("prediction", "accepted", "It could only speed up the answer."),
)

MESSAGE_FIELDS = (
    FieldRow(
        "system and developer messages",
        "native",
        "The system prompt, joined by an empty line. One in the middle moves there, since Claude's "
        "conversations have no such role. Where there is nothing else, it is asked as the user's.",
    ),
    FieldRow("consecutive messages of one role", "native", "One message, block by block."),
    FieldRow(
        "an assistant message first",
        "emulated",
        "Claude's conversations begin with the user, so a user's message with a single full stop "
        "goes before it.",
    ),
    FieldRow(
        "an assistant message last",
        "refused",
        "Claude models since 4.6 do not continue a partial answer; ask with a user message.",
    ),
    FieldRow(
        "empty text",
        "accepted",
        "The API refuses it, so empty strings, parts and messages are left out; whitespace between "
        "text parts stays, in the part beside it.",
    ),
    FieldRow("messages.name", "ignored", "Claude's messages have no names of participants."),
    FieldRow("text parts", "native", "Text blocks, one for each part, unchanged."),
    FieldRow(
        "image_url parts",
        "native",
        "Image blocks (PNG, JPEG, GIF, WebP; up to 5 MiB in base64). Data URLs are read, `https` "
        "URLs are fetched by this server unless IMAGE_URLS is off.",
    ),
    FieldRow("messages.content.detail", "ignored", "Claude has one resolution for all.", ("auto",)),
    FieldRow(
        "file parts",
        "native",
        "`file_data` with a PDF or text is a document block, titled with `filename`; with an image "
        "an image block. `file_id` is a 400: no files are stored here.",
    ),
    FieldRow("input_audio and video parts", "refused", "Claude takes no audio or video."),
    FieldRow(
        "tool_calls and tool messages",
        "native",
        "`tool_use` and `tool_result` blocks, images in results included. Ids of other servers are "
        "mapped where the API does not allow them. Each call needs exactly one result. Numbers in "
        "arguments of more than 53 bits lose digits, since Claude Code is JavaScript.",
    ),
    FieldRow("function_call and function messages", "native", "As calls and their results."),
    FieldRow("refusal", "native", "The text of that answer."),
    FieldRow(
        "reasoning_content and the like in earlier answers",
        "accepted",
        "Claude takes back only thinking that it signed, which these fields do not carry.",
    ),
    FieldRow(
        "Claude's own blocks",
        "native",
        "`text`, `image`, `document`, `tool_use`, `tool_result`, and `thinking` with its "
        "signature, as some clients send them here.",
    ),
    FieldRow(
        "cache_control and prompt_cache_breakpoint",
        "accepted",
        "Claude Code marks prompts for caching itself.",
    ),
    FieldRow(
        "messages.content.citations",
        "ignored",
        "An answer in OpenAI's shape has no place for them.",
    ),
    FieldRow("messages.audio", "ignored", "Claude gave no audio that it could refer to."),
)

ANY_OTHER = FieldRow("any other field", "ignored", "Not a field of the chat API known here.")

TABLE = FieldTable(FIELDS, MESSAGE_FIELDS, ANY_OTHER, part="messages")
