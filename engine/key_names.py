"""Property names that the API refuses in schemas, mapped there and back.

It takes `^[a-zA-Z0-9_.-]{1,64}$` only; callers' functions have `$top`, `filter[name]` or `都市`.
The body gets names that are allowed, histories too, and what the model writes is given the caller's
names again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from core.conversation import Block, Message
from core.events import Event, Finished, TextDelta, ToolCallDelta, ToolCallEnd, ToolCallStart
from core.turn import Turn

ALLOWED = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
BY_PROPERTY = ("properties", "dependentSchemas", "dependentRequired")
"""Keywords whose value has a key for each property."""


class KeyNames:
    """The names that one turn's schemas hold and the API does not take. Falsy where there are
    none, as nearly always."""

    def __init__(self, turn: Turn) -> None:
        self._native: dict[str, str] = {}
        if turn.native is None:
            schemas = [tool.input_schema for tool in turn.tools]
            for schema in (*schemas, turn.output_schema):
                for name in _property_names(schema):
                    if not ALLOWED.fullmatch(name):
                        self._native[name] = _marked(name)
        self._written = {native: name for name, native in self._native.items()}

    def __bool__(self) -> bool:
        return bool(self._native)

    def apply(self, turn: Turn) -> Turn:
        """The turn with names that the API takes, in its schemas and in its history's calls."""
        if not self._native:
            return turn
        return replace(
            turn,
            tools=tuple(
                replace(tool, input_schema=self._schema(tool.input_schema)) for tool in turn.tools
            ),
            output_schema=self._schema(turn.output_schema),
            messages=tuple(self._message(message) for message in turn.messages),
        )

    def _schema(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self._schema(inner) for inner in schema]
        if not isinstance(schema, dict):
            return schema
        return {key: self._keyword(key, value) for key, value in schema.items()}

    def _keyword(self, key: str, value: Any) -> Any:
        if key in BY_PROPERTY and isinstance(value, dict):
            return {self._name(name): self._of_property(inner) for name, inner in value.items()}
        if key == "required" and isinstance(value, list):
            return [self._name(name) for name in value]
        if key in ("enum", "const", "default", "examples"):
            return value
        return self._schema(value)

    def _of_property(self, value: Any) -> Any:
        is_names = isinstance(value, list)  # of dependentRequired
        return [self._name(name) for name in value] if is_names else self._schema(value)

    def _name(self, name: Any) -> Any:
        return self._native.get(name, name) if isinstance(name, str) else name

    def _message(self, message: Message) -> Message:
        return replace(message, content=tuple(self._block(block) for block in message.content))

    def _block(self, block: Block) -> Block:
        if block["type"] != "tool_use":
            return block
        return {**block, "input": _renamed(block["input"], self._native)}

    def restore(self, text: str) -> str:
        """JSON that the model wrote, with the caller's names; as it is where it is not JSON."""
        try:
            return json.dumps(_renamed(json.loads(text), self._written), ensure_ascii=False)
        except (ValueError, RecursionError):
            return text


class KeyRestorer:
    """Passes events on with the caller's names in calls and, where the answer is JSON, in its text.
    A name can stand anywhere, so each of these is held back until it is whole."""

    def __init__(self, names: KeyNames, *, json_text: bool) -> None:
        self._names = names
        self._json_text = json_text
        self._text: list[str] = []
        self._calls: dict[int, list[str]] = {}

    def feed(self, event: Event) -> Iterator[Event]:
        match event:
            case TextDelta(text) if self._json_text:
                self._text.append(text)
                return
            case ToolCallStart(index):
                self._calls[index] = []
            case ToolCallDelta(index, text):
                self._calls[index].append(text)
                return
            case ToolCallEnd(index):
                yield ToolCallDelta(index, self._names.restore("".join(self._calls.pop(index))))
            case Finished() if self._text:
                yield TextDelta(self._names.restore("".join(self._text)))
        yield event


def _property_names(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties" and isinstance(value, dict):
                yield from value
            yield from _property_names(value)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _property_names(inner)


def _marked(name: str) -> str:
    mark = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{re.sub(r'[^a-zA-Z0-9_.-]', '_', name)[:50]}_{mark}"


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, names) for inner in value]
    return value
