"""What is written to the CLI: one JSON object a line. Pure functions, no state.

The lines are those of `docs/claude-cli.md`, "Native history on a live process" and "Using one
process again"; the contract tests hold each of them against the real CLI.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass

from core.conversation import Block, JsonObject, Message, ToolResultBlock, text_block
from core.transcript import native
from core.turn import Turn
from engine import extra_body

ADAPTIVE_THINKING_TOKENS = 31_999
"""Any number but 0 means adaptive thinking to newer models; older ones take it as the budget."""

HELD_RESULT_CHARS = 250_000
"""Longer results are replayed, which has no limit. The CLI's own (tools.MAX_RESULT_CHARS) counts
UTF-16 units, of which a character has at most two."""


def user_line(message: Message, *, ask: bool, media: bool = False) -> JsonObject:
    """A user message. With `ask` the model answers; without, it only joins the conversation.

    Without `media` they stay out: they travel in `verbatim_messages`, and the CLI would only spend
    time on them.
    """
    kinds = () if media else ("image", "document")
    content = [MEDIA_STAND_IN if block["type"] in kinds else block for block in message.content]
    line: JsonObject = {
        "type": "user",
        "message": {"role": "user", "content": content},
        "parent_tool_use_id": None,
        "uuid": str(uuid.uuid4()),
    }
    return line if ask else {**line, "shouldQuery": False}


def assistant_line(message: Message, model: str) -> JsonObject:
    """An earlier answer, as if this process had given it; `model` where it is not known whose."""
    calls = any(block["type"] == "tool_use" for block in message.content)
    return {
        "type": "assistant",
        "message": {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": message.model or model,
            "content": list(message.content),
            "stop_reason": "tool_use" if calls else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        },
        "parent_tool_use_id": None,
        "uuid": str(uuid.uuid4()),
    }


def boundary_line() -> JsonObject:
    """Makes the CLI forget everything before it."""
    return {
        "type": "system",
        "subtype": "compact_boundary",
        "uuid": str(uuid.uuid4()),
        "compact_metadata": {"trigger": "manual", "pre_tokens": 1},
    }


NUMBER = re.compile(r"_\d+$")
MEDIA_STAND_IN = text_block("[media]")


def verbatim_messages(messages: tuple[Message, ...]) -> list[JsonObject] | None:
    """The messages as they are to arrive, where the CLI would change them; else None.

    It shrinks images of more than 500 kB or 2000 pixels and adds a text that says so; it moves an
    answer's calls behind its text; and it loses a result where one call's id is another's with a
    number behind it (`call` and `call_2`). What stands in the extra body goes out untouched. The
    end is marked for caching, as the CLI does.
    """
    harmless = not any(
        _holds_media(message) or _speaks_after_calls(message) for message in messages
    )
    if harmless and not _has_numbered_ids(messages):
        return None
    lines: list[JsonObject] = [
        {"role": message.role, "content": [dict(block) for block in message.content]}
        for message in messages
    ]
    lines[-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
    return lines


def _holds_media(message: Message) -> bool:
    inner = [result["content"] for result in message.content if result["type"] == "tool_result"]
    blocks = [*message.content, *(block for content in inner for block in content)]
    return any(block["type"] in ("image", "document") for block in blocks)


def _has_numbered_ids(messages: tuple[Message, ...]) -> bool:
    blocks = (block for message in messages for block in message.content)
    ids = {block["id"] for block in blocks if block["type"] == "tool_use"}
    return any(NUMBER.sub("", call_id) in ids for call_id in ids if NUMBER.search(call_id))


def _speaks_after_calls(message: Message) -> bool:
    kinds = [block["type"] for block in message.content]
    return "tool_use" in kinds and {*kinds[kinds.index("tool_use") :]} != {"tool_use"}


@dataclass(frozen=True, slots=True)
class LateSettings:
    """What may change between two turns of one process. Empty strings unset a variable."""

    model: str
    effort: str | None
    extra_body: str
    max_output_tokens: str
    thinking_tokens: int


def late_settings(turn: Turn, without: frozenset[str] = frozenset()) -> LateSettings:
    """The turn's settings; `without` names parameters that its model is known to refuse."""
    body = {k: v for k, v in _extra_body(turn).items() if k not in without}
    return LateSettings(
        model=turn.model,
        effort=None if "effort" in without else turn.effort,
        extra_body=json.dumps(body, separators=(",", ":")) if body else "",
        max_output_tokens=str(turn.sampling.max_tokens or ""),
        thinking_tokens=_thinking_tokens(turn),
    )


def _thinking_tokens(turn: Turn) -> int:
    return (turn.thinking_tokens or ADAPTIVE_THINKING_TOKENS) if turn.thinking else 0


def _extra_body(turn: Turn) -> JsonObject:
    body = extra_body.parameters(turn)
    if turn.own_tools is not None:
        # What stands there replaces what the CLI adds to it: its tools, and their results.
        return {name: value for name, value in body.items() if name != "tools"}
    if (messages := verbatim_messages(native(turn.messages))) is not None:
        body["messages"] = messages
    return body


CALLS_ALLOWED, NO_FURTHER_CALL = "1000000000", "1"
"""The longest prompt, in tokens, that the CLI sends at all; its own guess is not wanted."""


def settings_request(settings: LateSettings, prompt_limit: str = CALLS_ALLOWED) -> JsonObject:
    """With `NO_FURTHER_CALL` in the middle of a turn the CLI cannot call the API again by itself,
    as it does after `max_tokens`."""
    return {
        "subtype": "apply_flag_settings",
        "settings": {
            "model": settings.model,
            "effortLevel": settings.effort,
            "env": {
                "CLAUDE_CODE_EXTRA_BODY": settings.extra_body,
                "CLAUDE_CODE_MAX_OUTPUT_TOKENS": settings.max_output_tokens,
                "CLAUDE_CODE_BLOCKING_LIMIT_OVERRIDE": prompt_limit,
            },
        },
    }


def thinking_request(settings: LateSettings) -> JsonObject:
    return {
        "subtype": "set_max_thinking_tokens",
        "max_thinking_tokens": settings.thinking_tokens,
    }


def control_line(request_id: str, request: JsonObject) -> str:
    line = {"type": "control_request", "request_id": request_id, "request": request}
    return json.dumps(line) + "\n"


def only_tool_results(content: tuple[Block, ...]) -> bool:
    return bool(content) and all(block["type"] == "tool_result" for block in content)


def answers_just(calls: set[str], content: tuple[Block, ...]) -> bool:
    """Whether a held process can take this: a plain result for each call and nothing else. (What
    MCP makes of an error keeps only its first text, and the CLI puts words into an empty result,
    so these are replayed.)"""
    if not only_tool_results(content):
        return False
    results = [block for block in content if block["type"] == "tool_result"]
    if any(block.get("is_error") or not block["content"] for block in results):
        return False
    if any(_text_length(block) > HELD_RESULT_CHARS for block in results):
        return False
    ids = [block["tool_use_id"] for block in results]
    return len(ids) == len(calls) and set(ids) == calls


def _text_length(block: ToolResultBlock) -> int:
    return sum(len(part["text"]) for part in block["content"] if part["type"] == "text")
