"""Events of a response's stream as bytes, numbered.

Source: https://platform.openai.com/docs/api-reference/responses-streaming. Each frame has one
event; its `event:` is the event's type.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.compact_json import compact, quoted
from core.conversation import JsonObject


@dataclass(slots=True)
class EventWriter:
    """Writes the events of one stream; without `active` nothing, for an answer in one body."""

    active: bool = True
    _next: int = 0

    def event(self, kind: str, fields: JsonObject) -> bytes:
        if not self.active:
            return b""
        data = {"type": kind, "sequence_number": self._number(), **fields}
        text = compact(data)
        return f"event: {kind}\ndata: {text}\n\n".encode()

    def _number(self) -> int:
        number, self._next = self._next, self._next + 1
        return number

    def delta(self, before: str, text: str) -> bytes:
        """An event that `DeltaFrame` prepared; this is what runs for each token."""
        if not self.active:
            return b""
        number, self._next = self._next, self._next + 1
        return f'{before}{quoted(text)},"sequence_number":{number}}}\n\n'.encode()


def delta_frame(kind: str, fields: JsonObject) -> str:
    """The beginning of all deltas of one part: only its text and number differ."""
    head = compact({"type": kind, **fields})
    return f'event: {kind}\ndata: {head[:-1]},"delta":'
