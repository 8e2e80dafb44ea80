"""What is stored of an answer, and how it is given again."""

from __future__ import annotations

import json
from collections.abc import Iterator

from core.conversation import Message
from core.events import (
    BuiltinToolResult,
    BuiltinToolUse,
    Event,
    Finished,
    Reply,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from core.transcript import builtin_use_ids
from stores.protocols import Answer


def message_of(reply: Reply) -> Message | None:
    """The message to store; None where there is nothing that the API would take back: no visible
    block, or a refusal, which would be refused again each time."""
    if reply.finished is None or reply.finished.reason == "refusal":
        return None
    blocks = [b for b in reply.blocks() if b["type"] != "text" or b["text"].strip()]
    if all(block["type"] == "thinking" for block in blocks):
        return None
    return Message("assistant", tuple(blocks), reply.model)


def answer_of(reply: Reply) -> Answer:
    """How a finished reply came about."""
    done = reply.finished
    assert done is not None
    return Answer(reply.model, done.reason, done.usage, done.cost_usd, done.stop_sequence)


def events_of(message: Message, answer: Answer) -> Iterator[Event]:
    """A stored answer as it was once given."""
    yield Started(answer.model)
    calls, own = 0, builtin_use_ids(message)
    for block in message.content:
        match block["type"]:
            case "text":
                yield TextDelta(block["text"])
            case "thinking":
                if block["thinking"]:
                    yield ThinkingDelta(block["thinking"])
                yield ThinkingEnd(block["signature"])
            case "tool_use" if block["id"] in own:
                yield BuiltinToolUse(block["id"], block["name"], block["input"])
            case "tool_result":
                content = tuple(block["content"])
                yield BuiltinToolResult(block["tool_use_id"], content, block.get("is_error", False))
            case "tool_use":
                yield ToolCallStart(calls, block["id"], block["name"])
                yield ToolCallDelta(calls, json.dumps(block["input"]))
                yield ToolCallEnd(calls)
                calls += 1
    yield Finished(answer.stop_reason, answer.usage, answer.cost_usd, answer.stop_sequence)
