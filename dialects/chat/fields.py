"""Every field of a chat request and what becomes of it: the one table.

The dialect, the compatibility report and docs/openai-compatibility.md all read it here.
Source of the fields: https://platform.openai.com/docs/api-reference/chat/create.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Treatment = Literal["native", "emulated", "accepted", "ignored", "refused"]

TREATMENTS: dict[Treatment, str] = {
    "native": "reaches the model as a parameter or a block of its own API",
    "emulated": "has the effect that is described, by our own means",
    "accepted": "is taken and changes nothing of the answer, as it may with OpenAI",
    "ignored": "has no counterpart: named in the header `x-ignored-parameters`, "
    "and a 400 with `STRICT_PARAMETERS=true`",
    "refused": "a 400 that names it",
}


@dataclass(frozen=True, slots=True)
class ChatField:
    """One row. `neutral` are the values that ask for nothing special, and so are never reported."""

    name: str
    treatment: Treatment
    why: str
    neutral: tuple[Any, ...] = ()


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
        "Roles, text, images, documents, calls and results as native blocks, in their order.",
    ),
    ChatField("stream", "native", "Server-sent events, each piece the moment Claude writes it."),
    ChatField(
        "stream_options",
        "native",
        "`include_usage` gives the usage chunk; other options have no effect.",
    ),
    ChatField("max_tokens", "native", "`max_tokens`; reached, the finish reason is `length`."),
    ChatField("max_completion_tokens", "native", "`max_tokens`; wins over the field of that name."),
    ChatField(
        "temperature",
        "native",
        "0 to 1 as it is; above 1 it is 1 and reported as ignored. Models that refuse it get the "
        "request without it, which is reported too.",
    ),
    ChatField(
        "top_p",
        "native",
        "As it is; models that refuse it get the request without it, which is reported.",
    ),
    ChatField(
        "stop",
        "native",
        "`stop_sequences`; those that the API refuses, such as line breaks, are watched for by us.",
    ),
    ChatField("n", "emulated", "Up to 10 turns at the same time; their usage is summed.", (1,)),
    ChatField(
        "tools",
        "native",
        "The caller's own names, descriptions and schemas; names that the API does not allow are "
        "mapped there and back. Claude's bare `{name, input_schema}` is taken too; tools that are "
        "no functions are a 400.",
    ),
    ChatField(
        "tool_choice",
        "native",
        "All forms, `allowed_tools` included. Models that always think cannot be forced: from them "
        "the call is asked for as the form of the answer.",
    ),
    ChatField("parallel_tool_calls", "native", "`false` is `disable_parallel_tool_use`."),
    ChatField("functions", "native", "As `tools`; the answer has the legacy `function_call`."),
    ChatField("function_call", "native", "As `tool_choice`."),
    ChatField(
        "response_format",
        "native",
        "`json_schema` is native structured output; `json_object` is emulated: always one object.",
        ({"type": "text"},),
    ),
    ChatField(
        "reasoning_effort",
        "native",
        "Claude's effort levels, the nearest one that the model has; the thinking arrives as "
        "`reasoning_content`.",
    ),
    ChatField(
        "reasoning",
        "native",
        "OpenRouter's form: `effort`, `max_tokens` as a budget, `enabled`; `exclude` keeps the "
        "thinking back. Wins over `reasoning_effort`.",
    ),
    ChatField(
        "thinking",
        "native",
        "Anthropic's form: `enabled` with `budget_tokens`, `adaptive` or `disabled`. Models that "
        "budget their thinking themselves take no number, which is reported.",
    ),
    ChatField(
        "session_id",
        "emulated",
        "Not OpenAI's: the server keeps the history under this name (docs/sessions.md). A session "
        "has one answer a turn, so `n` must be 1, and `seed` has no effect in it.",
    ),
    ChatField(
        "enable_tools",
        "emulated",
        "Not OpenAI's, as all of these (docs/tools.md): `true` asks for each of Claude Code's own "
        "tools that is allowed, `false` for none. With own tools `n` must be 1, `seed` has no "
        "effect, and `response_format` must be native.",
        (False,),
    ),
    ChatField("claude_tools", "emulated", "Asks for these of Claude Code's own tools, or `all`."),
    ChatField("disallowed_tools", "emulated", "Claude Code's own tools to do without."),
    ChatField("max_turns", "emulated", "Most answers of the model in one request with own tools."),
    ChatField("max_budget_usd", "emulated", "Most that one request with own tools may cost."),
    ChatField("permission_mode", "emulated", "`default`, `acceptEdits` or `plan`."),
    ChatField("cwd", "emulated", "The directory in which own tools work."),
    ChatField("mcp_servers", "emulated", "The MCP servers whose tools the model gets."),
    ChatField(
        "tool_activity",
        "emulated",
        "Where the work of own tools is shown: `reasoning`, `content` or `none`.",
    ),
    ChatField("verbosity", "ignored", "Claude has no such setting.", ("medium",)),
    ChatField(
        "seed",
        "emulated",
        "The same request with the same seed gets the recorded answer again for a while; "
        "Claude itself takes no seed.",
    ),
    ChatField("logprobs", "ignored", "Claude gives no token probabilities.", (False,)),
    ChatField("top_logprobs", "ignored", "Claude gives no token probabilities.", (0,)),
    ChatField("logit_bias", "ignored", "Claude's tokens cannot be weighted.", ({},)),
    ChatField("presence_penalty", "ignored", "Claude has no such parameter.", (0,)),
    ChatField("frequency_penalty", "ignored", "Claude has no such parameter.", (0,)),
    ChatField("modalities", "ignored", "Claude answers with text only.", (["text"],)),
    ChatField("audio", "ignored", "Claude answers with text only."),
    ChatField(
        "web_search_options",
        "emulated",
        "Asks for Claude Code's own WebSearch; how it searches is the model's own affair, so what "
        "stands in it is reported as ignored.",
    ),
    ChatField("moderation", "ignored", "Claude Code runs no moderation of its own."),
    ChatField("user", "accepted", "Only names the end user."),
    ChatField("safety_identifier", "accepted", "Only names the end user."),
    ChatField("metadata", "accepted", "Only labels the request."),
    ChatField("store", "accepted", "Answers are not stored for later retrieval."),
    ChatField("service_tier", "accepted", "There is one tier."),
    ChatField("prompt_cache_key", "accepted", "Claude Code marks prompts for caching itself."),
    ChatField(
        "prompt_cache_retention", "accepted", "Claude Code marks prompts for caching itself."
    ),
    ChatField("prompt_cache_options", "accepted", "Claude Code marks prompts for caching itself."),
    ChatField("prediction", "accepted", "It could only make the answer faster."),
)

MESSAGE_FIELDS = (
    ChatField(
        "system and developer messages",
        "native",
        "The system prompt, joined by an empty line. One in the middle moves there, since Claude's "
        "conversations have no such role. Where there is nothing else, it is asked as the user's.",
    ),
    ChatField("consecutive messages of one role", "native", "One message, block by block."),
    ChatField(
        "an assistant message first",
        "emulated",
        "Claude's conversations begin with the user, so a user's message with a single full stop "
        "goes before it.",
    ),
    ChatField(
        "an assistant message last",
        "refused",
        "Claude models since 4.6 do not continue a begun answer; ask with a user's message.",
    ),
    ChatField(
        "empty text",
        "accepted",
        "The API refuses it, so empty strings, parts and messages are left out; whitespace between "
        "text parts stays, in the part beside it.",
    ),
    ChatField("messages.name", "ignored", "Claude's messages have no names of participants."),
    ChatField("text parts", "native", "Text blocks, one for each part, unchanged."),
    ChatField(
        "image_url parts",
        "native",
        "Image blocks (PNG, JPEG, GIF, WebP; up to 5 MiB in base64). Data URLs are read, `https` "
        "URLs are fetched by this server unless IMAGE_URLS is off.",
    ),
    ChatField(
        "messages.content.detail", "ignored", "Claude has one resolution for all.", ("auto",)
    ),
    ChatField(
        "file parts",
        "native",
        "`file_data` with a PDF or text is a document block, titled with `filename`; with an image "
        "an image block. `file_id` is a 400: no files are stored here.",
    ),
    ChatField("input_audio and video parts", "refused", "Claude neither hears nor watches."),
    ChatField(
        "tool_calls and tool messages",
        "native",
        "`tool_use` and `tool_result` blocks, images in results included. Ids of other servers are "
        "mapped where the API does not allow them. Each call needs exactly one result. Numbers in "
        "arguments of more than 53 bits lose digits, since Claude Code is JavaScript.",
    ),
    ChatField("function_call and function messages", "native", "As calls and their results."),
    ChatField("refusal", "native", "The text of that answer."),
    ChatField(
        "reasoning_content and the like in earlier answers",
        "accepted",
        "Claude takes back only thinking that it signed, which these fields do not carry.",
    ),
    ChatField(
        "Claude's own blocks",
        "native",
        "`text`, `image`, `document`, `tool_use`, `tool_result`, and `thinking` with its "
        "signature, as some clients send them here.",
    ),
    ChatField(
        "cache_control and prompt_cache_breakpoint",
        "accepted",
        "Claude Code marks prompts for caching itself.",
    ),
    ChatField(
        "messages.content.citations",
        "ignored",
        "An answer in OpenAI's shape has no place for them.",
    ),
    ChatField("messages.audio", "ignored", "Claude gave no audio that it could refer to."),
)

ANY_OTHER = ChatField("any other field", "ignored", "It is no field of the chat API known here.")

BY_NAME = {row.name: row for row in (*FIELDS, *MESSAGE_FIELDS)}
ACTED_ON = frozenset(row.name for row in FIELDS if row.treatment in ("native", "emulated"))
WITHOUT_EFFECT = frozenset(row.name for row in FIELDS if row.treatment == "accepted")
"""Fields that change nothing of an answer: they are taken and not reported."""

NEUTRAL = {row.name: row.neutral for row in FIELDS if row.neutral}


def field_of(name: str) -> ChatField:
    """The row of a field of the body, or the one for all that have none."""
    return next((row for row in FIELDS if row.name == name), ANY_OTHER)


def markdown() -> str:
    """The table as docs/openai-compatibility.md shows it."""
    sections = ("Fields of the body", (*FIELDS, ANY_OTHER)), ("In the messages", MESSAGE_FIELDS)
    meanings = "\n".join(f"- **{name}**: {text}" for name, text in TREATMENTS.items())
    return "\n\n".join([meanings, *(f"## {title}\n\n{_rows(rows)}" for title, rows in sections)])


def _rows(rows: Iterable[ChatField]) -> str:
    lines = ["| | treatment | |", "|---|---|---|"]
    for row in rows:
        name = f"`{row.name}`" if " " not in row.name else row.name
        lines.append(f"| {name} | {row.treatment} | {row.why} |")
    return "\n".join(lines)
