"""Neutral events -> the events that the API would have sent: for turns in which Claude Code used
tools of its own, which are several answers of the API, and for answers that are repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from core.conversation import JsonObject
from core.events import (
    ApiEvent,
    BuiltinToolResult,
    BuiltinToolUse,
    Citation,
    Event,
    Finished,
    OtherBlock,
    Started,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)

STOP_REASONS: dict[StopReason, str] = {
    "end_turn": "end_turn",
    "stop_sequence": "stop_sequence",
    "max_tokens": "max_tokens",
    "tool_use": "tool_use",
    "refusal": "refusal",
    "empty": "end_turn",
    "pause_turn": "pause_turn",
    "max_turns": "max_tokens",
    "max_budget": "max_tokens",
}
"""The API's words. A limit of the request on Claude Code's own work is none of them: what comes
nearest is an answer that was cut."""


def usage_json(usage: Usage) -> JsonObject:
    """The counts of a `message_delta`."""
    details = {"thinking_tokens": usage.reasoning_tokens} if usage.reasoning_tokens else None
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": details,
        "server_tool_use": None,
    }


def message_start(message_id: str, model: str, usage: Usage) -> JsonObject:
    unknown = {"cache_creation": None, "inference_geo": None, "service_tier": "standard"}
    message: JsonObject = {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": usage_json(usage) | unknown,
    }
    return {"type": "message_start", "message": message}


@dataclass(slots=True)
class Composer:
    """One message, block after block: each that begins ends the one before it. `signature` is what
    thinking ends with where it is not the model's own."""

    id: str
    model: str
    signature: str | None = None
    _index: int = -1
    _open: str | None = None
    _unsigned: bool = False

    def events(self, event: Event) -> Iterator[JsonObject]:
        match event:
            case Started(model, _, usage):
                yield message_start(self.id, model or self.model, usage)
            case TextDelta(text):
                yield from self._in_block("text", {"type": "text", "text": ""})
                yield self._delta({"type": "text_delta", "text": text})
            case Citation(citation):
                yield from self._in_block("text", {"type": "text", "text": ""})
                yield self._delta({"type": "citations_delta", "citation": citation})
            case ThinkingDelta(text):
                if self.signature is not None and self._open != "thinking":
                    text = text.lstrip("\n")  # lines of work go on in a block of their own
                yield from self._think()
                yield self._delta({"type": "thinking_delta", "thinking": text})
            case ThinkingEnd(signature):
                yield from self._sign(signature)
            case OtherBlock(block):
                yield from self._begin("other", block)
                yield from self.close()
            case ToolCallStart(_, id_, name):
                call = {"type": "tool_use", "id": id_, "name": name, "input": {}}
                yield from self._begin("tool_use", call)
            case ToolCallDelta(_, json):
                yield self._delta({"type": "input_json_delta", "partial_json": json})
            case ToolCallEnd():
                yield from self.close()
            case Finished():
                yield from self._finish(event)
            case BuiltinToolUse():
                yield from self.close()
            case ApiEvent() | BuiltinToolResult():
                return
            case _:
                assert_never(event)

    def _think(self) -> Iterator[JsonObject]:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        yield from self._in_block("thinking", block)
        self._unsigned = True

    def _sign(self, signature: str) -> Iterator[JsonObject]:
        if self.signature is not None:
            return  # it goes on with Claude Code's work, and is signed when it ends
        yield from self._think()
        self._unsigned = False
        yield self._delta({"type": "signature_delta", "signature": signature})
        yield from self.close()

    def _in_block(self, kind: str, block: JsonObject) -> Iterator[JsonObject]:
        if self._open != kind:
            yield from self._begin(kind, block)

    def _begin(self, kind: str, block: JsonObject) -> Iterator[JsonObject]:
        yield from self.close()
        self._index += 1
        self._open = kind
        yield {"type": "content_block_start", "index": self._index, "content_block": block}

    def _delta(self, delta: JsonObject) -> JsonObject:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def close(self) -> Iterator[JsonObject]:
        """Ends the open block, if any."""
        if self._open is None:
            return
        if self._unsigned and self.signature is not None:
            yield self._delta({"type": "signature_delta", "signature": self.signature})
        self._open, self._unsigned = None, False
        yield {"type": "content_block_stop", "index": self._index}

    def _finish(self, finished: Finished) -> Iterator[JsonObject]:
        yield from self.close()
        delta = {
            "stop_reason": STOP_REASONS[finished.reason],
            "stop_sequence": finished.stop_sequence,
            "stop_details": finished.details,
            "container": None,
        }
        yield {"type": "message_delta", "delta": delta, "usage": usage_json(finished.usage)}
        yield {"type": "message_stop"}
