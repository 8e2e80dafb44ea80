"""The blocks of an answer: what each is in a JSON body, and the deltas that it is streamed in.

Source: https://docs.anthropic.com/en/api/messages and …/messages-streaming
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final

_WORDS: Final = re.compile(r"\S+\s*|\s+")
ARGUMENT_CHARS: Final = 16
SIGNATURE_PREFIX: Final = "ZGVtbyBzaWduYXR1cmUg"
"""Base64 of "demo signature ", so that our own signatures can be told from foreign ones."""

RESULT_PREFIX: Final = "ZGVtbyByZXN1bHQg"
"""Base64 of "demo result ": search results that come back must begin so."""

Delta = tuple[str, str]
"""A delta's type, and the name of its field."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text in the pieces it is streamed in, after its citations."""

    pieces: tuple[str, ...]
    citations: tuple[dict[str, Any], ...] = ()
    delta: Delta = ("text_delta", "text")

    def content(self) -> dict[str, Any]:
        """The block of a JSON body."""
        return {**self.opened(list(self.citations)), "text": "".join(self.pieces)}

    def opened(self, citations: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """The block as its stream begins with it."""
        block: dict[str, Any] = {"type": "text", "text": ""}
        return {**block, "citations": citations or []} if self.citations else block


@dataclass(frozen=True, slots=True)
class Thinking:
    """Thoughts; `shown` is false when the request asked for `display: omitted`."""

    pieces: tuple[str, ...]
    signature: str
    shown: bool = True
    delta: Delta = ("thinking_delta", "thinking")

    def content(self) -> dict[str, Any]:
        """The block of a JSON body."""
        text = "".join(self.pieces) if self.shown else ""
        return {"type": "thinking", "thinking": text, "signature": self.signature}

    def opened(self) -> dict[str, Any]:
        """The block as its stream begins with it."""
        return {"type": "thinking", "thinking": "", "signature": ""}


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool call; `pieces` concatenated are the JSON of `input`, unless cut by max_tokens.

    `type` is `server_tool_use` where the API itself runs the tool.
    """

    id: str
    name: str
    input: Any
    pieces: tuple[str, ...]
    type: str = "tool_use"
    delta: Delta = ("input_json_delta", "partial_json")

    def content(self) -> dict[str, Any]:
        """The block of a JSON body."""
        return {"type": self.type, "id": self.id, "name": self.name, "input": self.input}

    def opened(self) -> dict[str, Any]:
        """The block as its stream begins with it."""
        return self.content() | {"input": {}}


@dataclass(frozen=True, slots=True)
class Whole:
    """A block that is streamed without deltas: redacted thinking, a server tool's result."""

    block: dict[str, Any]
    pieces: tuple[str, ...] = ()
    delta: Delta = ("", "")

    def content(self) -> dict[str, Any]:
        """The block of a JSON body."""
        return self.block

    def opened(self) -> dict[str, Any]:
        """The block as its stream begins with it."""
        return self.block


AnswerBlock = Text | Thinking | ToolUse | Whole


def words(text: str, chars: int = 0) -> tuple[str, ...]:
    """Cut a text into words with their white space, or into pieces of `chars` characters."""
    if chars > 0:
        return tuple(text[i : i + chars] for i in range(0, len(text), chars))
    return tuple(_WORDS.findall(text))


def thinking(text: str, chars: int, shown: bool) -> Thinking:
    """A thinking block with its signature."""
    return Thinking(words(text, chars), signature_of(text), shown)


def signature_of(text: str) -> str:
    """The signature of a thought, which a later request has to bring back unchanged."""
    return SIGNATURE_PREFIX + hashlib.sha256(text.encode()).hexdigest()


def redacted(text: str) -> Whole:
    """A thought that the API does not show."""
    return Whole({"type": "redacted_thinking", "data": signature_of(text)})


def tool_use(call_id: str, name: str, arguments: Any, chars: int) -> ToolUse:
    """A tool call whose arguments are streamed in pieces."""
    pieces = words(json.dumps(arguments, ensure_ascii=False), chars or ARGUMENT_CHARS)
    return ToolUse(call_id, name, arguments, pieces)


def broken_tool_use(call_id: str, name: str, arguments: str, chars: int) -> ToolUse:
    """A tool call whose streamed arguments are this text, JSON or not; its body has none."""
    return ToolUse(call_id, name, {}, words(arguments, chars or ARGUMENT_CHARS))
