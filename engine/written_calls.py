"""Calls that a model wrote as its answer, because it could not be forced to make them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace

from core.errors import UpstreamError
from core.events import Event, Finished, TextDelta, ToolCallDelta, ToolCallEnd, ToolCallStart


class WrittenCalls:
    """Turns the text of an answer into one call: with one name the text is its arguments, piece by
    piece; with several it is `{"call": {"name", "arguments"}}`. With none, events pass as they
    are. Raises UpstreamError where a complete answer is no call."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._written = ""
        self._begun = False

    def feed(self, event: Event) -> Iterator[Event]:
        match event:
            case TextDelta(text) if len(self._names) == 1:
                yield from self._start(self._names[0])
                yield ToolCallDelta(0, text)
            case TextDelta(text) if self._names:
                self._written += text
            case Finished() if self._names:
                yield from self._end(event)
            case _:
                yield event

    def _start(self, name: str) -> Iterator[Event]:
        if not self._begun:
            self._begun = True
            yield ToolCallStart(0, f"toolu_{uuid.uuid4().hex}", name)

    def _end(self, finished: Finished) -> Iterator[Event]:
        if finished.reason == "end_turn" and self._written:
            name, arguments = self._chosen()
            yield from self._start(name)
            yield ToolCallDelta(0, json.dumps(arguments, ensure_ascii=False))
        if not self._begun:
            yield finished
            return
        yield ToolCallEnd(0)
        reason = "tool_use" if finished.reason == "end_turn" else finished.reason
        yield replace(finished, reason=reason)

    def _chosen(self) -> tuple[str, object]:
        try:
            call = json.loads(self._written)["call"]
            name, arguments = call["name"], call["arguments"]
        except (ValueError, KeyError, TypeError):
            raise UpstreamError("The model did not make the call that was required.") from None
        if name not in self._names:
            raise UpstreamError("The model called a function that is not there.")
        return name, arguments
