"""The events of a stream -> the message that the API would have answered without one.

Nothing is lost: what this module does not know is kept, in blocks, in usage and at the top.
Source: https://docs.anthropic.com/en/api/messages-streaming.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import pydantic_core

from core.conversation import JsonObject

GROWING = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}
"""Deltas that add to a text, and the field that holds the piece."""

PARTIAL_JSON = "partial_json"


@dataclass(slots=True)
class _Block:
    """A block as it began, and the texts that grow in it: a buffer takes each piece in constant
    time, where a string would be copied whole."""

    content: JsonObject
    growing: dict[str, StringIO] = field(default_factory=dict)

    def add(self, delta: JsonObject) -> None:
        kind = delta.get("type")
        if kind == "citations_delta":
            self.content["citations"] = [
                *(self.content.get("citations") or ()),
                delta.get("citation"),
            ]
        elif kind in GROWING:
            self._grow(GROWING[kind], delta.get(GROWING[kind]))
        else:  # `signature_delta`, `compaction_delta` and what else replaces a field
            self.content.update({k: v for k, v in delta.items() if k != "type"})

    def _grow(self, name: str, piece: Any) -> None:
        buffer = self.growing.get(name)
        if buffer is None:
            buffer = self.growing[name] = StringIO()
            buffer.write(self.content.get(name) or "")
        buffer.write(piece or "")

    def result(self) -> JsonObject:
        for name, buffer in self.growing.items():
            if name == PARTIAL_JSON:
                self.content["input"] = _read(buffer.getvalue(), self.content.get("input"))
            else:
                self.content[name] = buffer.getvalue()
        return self.content


def _read(text: str, begun: Any) -> Any:
    """The arguments of a call; of those that were cut off, what is complete of them."""
    if not text:
        return begun
    try:
        return json.loads(text)
    except ValueError:
        return pydantic_core.from_json(text, allow_partial=True)


@dataclass(slots=True)
class MessageFold:
    """Takes the API's events in their order. `message` is None before `message_start`."""

    message: JsonObject | None = None
    _blocks: dict[int, _Block] = field(default_factory=dict)

    def feed(self, event: JsonObject) -> None:
        match event.get("type"):
            case "message_start":
                self.message = dict(event["message"])
                self.message["usage"] = dict(self.message.get("usage") or {})
            case "content_block_start":
                self._begin(event["index"], dict(event["content_block"]))
            case "content_block_delta" if event["index"] in self._blocks:
                self._blocks[event["index"]].add(event["delta"])
            case "message_delta" if self.message is not None:
                self._end(self.message, event)

    def _begin(self, index: int, block: JsonObject) -> None:
        self._blocks[index] = _Block(block)
        if block.get("type") == "fallback" and self.message is not None:
            # another model goes on from here, and the message names the last one
            self.message["model"] = (block.get("to") or {}).get("model") or self.message["model"]

    def _end(self, message: JsonObject, event: JsonObject) -> None:
        """Counts are totals, so they replace those of the start; what is null was not reported."""
        delta = event.get("delta") or {}
        others = {k: v for k, v in event.items() if k not in ("type", "delta", "usage")}
        for name, value in (others | delta).items():
            if value is not None or name not in message:
                message[name] = value
        usage = event.get("usage") or {}
        for name, value in usage.items():
            if value is not None or name not in message["usage"]:
                message["usage"][name] = value

    def result(self) -> JsonObject | None:
        """The message so far; None where none began."""
        if self.message is None:
            return None
        blocks = [block.result() for _, block in sorted(self._blocks.items())]
        return {**self.message, "content": [*self.message.get("content", ()), *blocks]}
