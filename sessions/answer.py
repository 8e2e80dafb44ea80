"""An answer's events -> its native blocks, in order and with signatures; and back again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, assert_never

from core.conversation import Block, Message, ToolResultBlock, ToolUseBlock, text_block
from core.events import (
    ApiEvent,
    BuiltinToolResult,
    BuiltinToolUse,
    Citation,
    Event,
    Finished,
    OtherBlock,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from core.transcript import own_ids
from stores.protocols import Answer


@dataclass(slots=True)
class NativeAnswer:
    """The fold of a turn's events into what can be replayed. What is not complete is left out: a
    call whose arguments were cut off, thinking without its signature."""

    model: str = ""
    finished: Finished | None = None
    _blocks: list[Block] = field(default_factory=list)
    _thinking: str = ""
    _calls: dict[int, tuple[ToolCallStart, list[str]]] = field(default_factory=dict)
    _open_uses: set[str] = field(default_factory=set)

    def feed(self, event: Event) -> None:
        match event:
            case Started():
                self.model = event.model
            case TextDelta(text):
                self._add_text(text)
            case ThinkingDelta(text):
                self._thinking += text
            case ThinkingEnd():
                self._end_thinking(event.signature)
            case ToolCallStart():
                self._calls[event.index] = (event, [])
            case ToolCallDelta(index, piece):
                self._calls[index][1].append(piece)
            case ToolCallEnd(index):
                self._end_call(*self._calls[index])
            case BuiltinToolUse():
                self._open_uses.add(event.id)
                self._blocks.append(_use_block(event))
            case BuiltinToolResult():
                self._add_result(event)
            case Finished():
                self.finished = event
            case ApiEvent() | Citation():
                pass
            case OtherBlock(block):
                self._blocks.append(block)  # type: ignore[arg-type]  # any kind of block
            case _:
                assert_never(event)

    def _add_text(self, text: str) -> None:
        last = self._blocks[-1] if self._blocks else None
        if last is not None and last["type"] == "text":
            self._blocks[-1] = text_block(last["text"] + text)
        else:
            self._blocks.append(text_block(text))

    def _end_thinking(self, signature: str) -> None:
        if signature:
            block = {"type": "thinking", "thinking": self._thinking, "signature": signature}
            self._blocks.append(block)  # type: ignore[arg-type]  # mypy sees no literal "thinking"
        self._thinking = ""

    def _add_result(self, result: BuiltinToolResult) -> None:
        """Into the same message: core/transcript.py has the form. One whose use was in an earlier
        turn (the caller's function was called beside it) has no place any more."""
        if result.id in self._open_uses:
            self._open_uses.discard(result.id)
            self._blocks.append(_result_block(result))

    def _end_call(self, start: ToolCallStart, pieces: list[str]) -> None:
        try:
            arguments: Any = json.loads("".join(pieces) or "{}")
        except ValueError:
            return
        if isinstance(arguments, dict):
            call: ToolUseBlock = {
                "type": "tool_use",
                "id": start.id,
                "name": start.name,
                "input": arguments,
            }
            self._blocks.append(call)

    def message(self) -> Message | None:
        """The message to store; None where there is nothing that the API would take back: no
        visible block, or a refusal, which would be refused again each time."""
        if self.finished is None or self.finished.reason == "refusal":
            return None
        blocks = [block for block in self._blocks if self._can_stay(block)]
        if all(block["type"] == "thinking" for block in blocks):
            return None
        return Message("assistant", tuple(blocks), self.model)

    def _can_stay(self, block: Block) -> bool:
        match block["type"]:
            case "text":
                return bool(block["text"].strip())
            case "tool_use":
                return block["id"] not in self._open_uses
            case _:
                return True

    def answer(self) -> Answer:
        done = self.finished
        assert done is not None
        return Answer(self.model, done.reason, done.usage, done.cost_usd, done.stop_sequence)


def _use_block(use: BuiltinToolUse) -> ToolUseBlock:
    return {"type": "tool_use", "id": use.id, "name": use.name, "input": use.input}


def _result_block(result: BuiltinToolResult) -> ToolResultBlock:
    block: ToolResultBlock = {
        "type": "tool_result",
        "tool_use_id": result.id,
        "content": list(result.content),
    }
    return {**block, "is_error": True} if result.is_error else block


def events_of(message: Message, answer: Answer) -> Iterator[Event]:
    """A stored answer as it was once given."""
    yield Started(answer.model)
    calls, own = 0, own_ids(message)
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
