"""The output items of a response, as they grow: each method gives the frames that tell of it.

Source: https://platform.openai.com/docs/api-reference/responses-streaming. Items are open one after
another, in the order of the model's blocks; only the API's built-in tools wait for their results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from io import StringIO
from typing import Literal, Protocol

from core.conversation import JsonObject
from dialects.responses.events import EventWriter, delta_frame
from dialects.responses.freeform import FreeText
from dialects.responses.tools import CallerTool

ItemStatus = Literal["completed", "incomplete"]
NewId = Callable[[str], str]


class OpenItem(Protocol):
    """An item that still grows. `item` is how it is shown in the response."""

    @property
    def item(self) -> JsonObject: ...

    def end(self, status: ItemStatus) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item stands, and how its events are written."""

    writer: EventWriter
    index: int
    id: str

    def added(self, item: JsonObject) -> bytes:
        fields = {"output_index": self.index, "item": item}
        return self.writer.event("response.output_item.added", fields)

    def done(self, item: JsonObject) -> bytes:
        fields = {"output_index": self.index, "item": item}
        return self.writer.event("response.output_item.done", fields)

    def event(self, kind: str, **fields: object) -> bytes:
        about = {"item_id": self.id, "output_index": self.index}
        return self.writer.event(f"response.{kind}", {**about, **fields})

    def deltas(self, kind: str, **fields: object) -> str:
        about = {"item_id": self.id, "output_index": self.index}
        return delta_frame(f"response.{kind}", {**about, **fields})


@dataclass(slots=True)
class MessageItem:
    """What the model says: one part of text, and one for its refusal."""

    place: Place
    item: JsonObject = field(init=False)
    _text: StringIO | None = None
    _length: int = 0
    _block_start: int = 0
    _annotations: list[JsonObject] = field(default_factory=list)
    _waiting: list[JsonObject] = field(default_factory=list)
    _delta: str = ""

    def __post_init__(self) -> None:
        self.item = {
            "id": self.place.id,
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }

    def begin(self) -> bytes:
        return self.place.added({**self.item, "content": []})

    def add(self, text: str) -> bytes:
        begun = b"" if self._text is not None else self._begin_text()
        if self._text is not None:
            self._text.write(text)
        self._length += len(text)
        return begun + self.place.writer.delta(self._delta, text)

    def _begin_text(self) -> bytes:
        self._text = StringIO()
        at = {"content_index": 0}
        self._delta = self.place.deltas("output_text.delta", **at, logprobs=[])
        return self.place.event("content_part.added", **at, part=_text_part("", []))

    def cite(self, citation: JsonObject) -> bytes:
        """The annotation follows with the end of its block, whose text it is about."""
        self._waiting.append(citation)
        return b""

    def begin_block(self) -> bytes:
        """The text that follows is a block of its own for what is cited."""
        frames = b"".join(map(self._annotate, self._waiting))
        self._waiting.clear()
        self._block_start = self._length
        return frames

    def _annotate(self, citation: JsonObject) -> bytes:
        annotation = {
            "type": "url_citation",
            "url": citation["url"],
            "title": citation["title"],
            "start_index": self._block_start,
            "end_index": self._length,
        }
        self._annotations.append(annotation)
        number = len(self._annotations) - 1
        at = {"content_index": 0, "annotation_index": number}
        return self.place.event("output_text.annotation.added", **at, annotation=annotation)

    def refuse(self, text: str) -> bytes:
        frames = self._end_text()
        at = {"content_index": len(self.item["content"])}
        part = {"type": "refusal", "refusal": text}
        self.item["content"].append(part)
        return b"".join(
            [
                frames,
                self.place.event("content_part.added", **at, part={**part, "refusal": ""}),
                self.place.event("refusal.delta", **at, delta=text),
                self.place.event("refusal.done", **at, refusal=text),
                self.place.event("content_part.done", **at, part=part),
            ]
        )

    def _end_text(self) -> bytes:
        if self._text is None:
            return b""
        frames = self.begin_block()
        text, self._text = self._text.getvalue(), None
        at = {"content_index": 0}
        part = _text_part(text, self._annotations)
        self.item["content"].append(part)
        done = self.place.event("output_text.done", **at, text=text, logprobs=[])
        return frames + done + self.place.event("content_part.done", **at, part=part)

    def end(self, status: ItemStatus) -> bytes:
        frames = self._end_text()
        self.item["status"] = status
        return frames + self.place.done(self.item)


def _text_part(text: str, annotations: list[JsonObject]) -> JsonObject:
    return {"type": "output_text", "annotations": annotations, "logprobs": [], "text": text}


@dataclass(slots=True)
class ReasoningItem:
    """Thinking. With `shown` it is the item's summary; `encrypted` is what makes it replayable, and
    stands in the item with `shows_encrypted`."""

    place: Place
    shown: bool
    shows_encrypted: bool
    encrypted: str | None = None
    item: JsonObject = field(init=False)
    _text: StringIO | None = None
    _whole: StringIO = field(default_factory=StringIO)
    _delta: str = ""

    def __post_init__(self) -> None:
        self.item = {"id": self.place.id, "type": "reasoning", "summary": []}

    @property
    def thinking(self) -> str:
        return self._whole.getvalue()

    def begin(self) -> bytes:
        return self.place.added({**self.item, "summary": []})

    def add(self, text: str) -> bytes:
        self._whole.write(text)
        if not self.shown or not text:
            return b""
        begun = b"" if self._text is not None else self._begin_summary()
        if self._text is not None:
            self._text.write(text)
        return begun + self.place.writer.delta(self._delta, text)

    def _begin_summary(self) -> bytes:
        self._text = StringIO()
        self._delta = self.place.deltas("reasoning_summary_text.delta", summary_index=0)
        part = {"type": "summary_text", "text": ""}
        return self.place.event("reasoning_summary_part.added", summary_index=0, part=part)

    def end(self, status: ItemStatus) -> bytes:
        frames = b""
        if self._text is not None:
            text, at = self._text.getvalue(), {"summary_index": 0}
            part = {"type": "summary_text", "text": text}
            self.item["summary"] = [part]
            frames = self.place.event("reasoning_summary_text.done", **at, text=text)
            frames += self.place.event("reasoning_summary_part.done", **at, part=part)
        if self.encrypted is not None and self.shows_encrypted:
            self.item["encrypted_content"] = self.encrypted
        return frames + self.place.done(self.item)

    def replayable(self) -> JsonObject:
        """The item as it is stored: with what makes it replayable, asked for or not."""
        return {**self.item, "encrypted_content": self.encrypted}


@dataclass(slots=True)
class FunctionCallItem:
    """A call of a caller's function; its arguments as the model writes them."""

    place: Place
    call_id: str
    tool: CallerTool
    item: JsonObject = field(init=False)
    _arguments: StringIO = field(default_factory=StringIO)
    _delta: str = ""

    def __post_init__(self) -> None:
        self.item = {
            "id": self.place.id,
            "type": "function_call",
            "status": "in_progress",
            "call_id": self.call_id,
            "name": self.tool.name,
            "arguments": "",
        }
        if self.tool.namespace:
            self.item["namespace"] = self.tool.namespace
        self._delta = self.place.deltas("function_call_arguments.delta")

    def begin(self) -> bytes:
        return self.place.added({**self.item})

    def add(self, json: str) -> bytes:
        self._arguments.write(json)
        return self.place.writer.delta(self._delta, json) if json else b""

    def end(self, status: ItemStatus) -> bytes:
        arguments = self._arguments.getvalue() or "{}"
        self.item |= {"arguments": arguments, "status": status}
        done = {"name": self.tool.name, "arguments": arguments}
        frames = self.place.event("function_call_arguments.done", **done)
        return frames + self.place.done(self.item)


@dataclass(slots=True)
class CustomCallItem:
    """A call of a custom tool: its text, out of the JSON that the model writes."""

    place: Place
    call_id: str
    tool: CallerTool
    item: JsonObject = field(init=False)
    _input: StringIO = field(default_factory=StringIO)
    _reader: FreeText = field(default_factory=FreeText)
    _delta: str = ""

    def __post_init__(self) -> None:
        self.item = {
            "id": self.place.id,
            "type": "custom_tool_call",
            "status": "in_progress",
            "call_id": self.call_id,
            "name": self.tool.name,
            "input": "",
        }
        if self.tool.namespace:
            self.item["namespace"] = self.tool.namespace
        self._delta = self.place.deltas("custom_tool_call_input.delta")

    def begin(self) -> bytes:
        return self.place.added({**self.item})

    def add(self, json: str) -> bytes:
        return self._show(self._reader.feed(json))

    def _show(self, text: str) -> bytes:
        self._input.write(text)
        return self.place.writer.delta(self._delta, text) if text else b""

    def end(self, status: ItemStatus) -> bytes:
        frames = self._show(self._reader.end())
        self.item |= {"input": self._input.getvalue(), "status": status}
        frames += self.place.event("custom_tool_call_input.done", input=self.item["input"])
        return frames + self.place.done(self.item)
