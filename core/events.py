"""What the engine reports of a turn while it runs: `Event`s, and their fold, a `Reply`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field
from io import StringIO
from typing import Literal, NamedTuple, TypeAlias, assert_never, cast

from core.conversation import (
    Block,
    JsonObject,
    ResultPart,
    ToolResultBlock,
    ToolUseBlock,
    text_block,
)

PARAGRAPH = "\n\n"
"""Stands between what the model said before and after it used built-in tools."""
StopReason = Literal[
    "end_turn",
    "stop_sequence",
    "max_tokens",
    "tool_use",
    "refusal",
    "empty",
    "pause_turn",
    "max_turns",
    "max_budget",
]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one turn. `input_tokens` excludes the cached ones, as in the Messages API."""

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """All tokens the model read, cached or not."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    def __sub__(self, other: Usage) -> Usage:
        """Never less than nothing."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Usage(*(max(0, mine - theirs) for mine, theirs in pairs))


@dataclass(frozen=True, slots=True)
class Started:
    """The model began to answer. `model` is the one that does; `dropped` names the parameters
    that this model refused and that were left out on a second try; `usage` is what is counted so
    far; `version` is the CLI's."""

    model: str
    dropped: tuple[str, ...] = ()
    usage: Usage = Usage()
    version: str = ""


@dataclass(frozen=True, slots=True)
class ApiEvent:
    """A stream event of the Messages API as it came (https://docs.anthropic.com/en/api/
    messages-streaming), `ping` included; only for turns that ask for them. What it means follows as
    events of its own."""

    event: JsonObject = field(hash=False)


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class Citation:
    """A source of the text so far in this block, as the API writes it."""

    citation: JsonObject = field(hash=False)


@dataclass(frozen=True, slots=True)
class OtherBlock:
    """A complete block of a kind that no other event covers: `redacted_thinking`, the API's own
    server tools and their results (`server_tool_use`, `web_search_tool_result`, …)."""

    block: JsonObject = field(hash=False)


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ThinkingEnd:
    """A thinking block is complete; the signature is what makes it replayable."""

    signature: str


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """A call of a caller's function begins; `index` counts the turn's calls from 0."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of the call's arguments, byte for byte as the model wrote it."""

    index: int
    json: str


@dataclass(frozen=True, slots=True)
class ToolCallEnd:
    index: int


@dataclass(frozen=True, slots=True)
class BuiltinToolUse:
    """Claude Code is about to use a built-in tool, or one of an MCP server. The turn goes on."""

    id: str
    name: str
    input: JsonObject = field(hash=False)


@dataclass(frozen=True, slots=True)
class BuiltinToolResult:
    """What came of it, as the model sees it. A denied use is an error whose text says why."""

    id: str
    content: tuple[ResultPart, ...] = field(hash=False)
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """The turn is over. `cost_usd` is None where the CLI never reported one. With built-in tools
    usage and cost are those of all the model's answers in the turn; `heard` is what the user said
    to it meanwhile."""

    reason: StopReason
    usage: Usage = Usage()
    cost_usd: float | None = None
    stop_sequence: str | None = None
    details: JsonObject | None = field(default=None, hash=False)
    """The API's `stop_details`, for a refusal."""
    heard: tuple[str, ...] = ()


Event: TypeAlias = (
    Started
    | ApiEvent
    | TextDelta
    | Citation
    | OtherBlock
    | ThinkingDelta
    | ThinkingEnd
    | ToolCallStart
    | ToolCallDelta
    | ToolCallEnd
    | BuiltinToolUse
    | BuiltinToolResult
    | Finished
)


class ChoiceEvent(NamedTuple):
    """An event and the index of the choice it belongs to: `n` choices share one stream."""

    choice: int
    event: Event


@dataclass(slots=True)
class ToolCall:
    """A call of a caller's function; `complete` once its arguments are whole."""

    id: str
    name: str
    complete: bool = False
    _arguments: StringIO = field(default_factory=StringIO)

    @property
    def arguments(self) -> str:
        return self._arguments.getvalue()

    def add(self, piece: str) -> None:
        self._arguments.write(piece)


@dataclass(slots=True)
class _Text:
    """A text block or a thinking block that is being written; `signature` ends a thought. A buffer
    takes each piece in constant time, where a string would be copied whole."""

    is_thinking: bool = False
    signature: str | None = None
    _pieces: StringIO = field(default_factory=StringIO)

    @property
    def text(self) -> str:
        return self._pieces.getvalue()

    def add(self, text: str) -> None:
        self._pieces.write(text)


_Part: TypeAlias = _Text | ToolCall | BuiltinToolUse | BuiltinToolResult | OtherBlock


@dataclass(slots=True)
class Reply:
    """The fold of a turn's events: what a body is rendered from, and what a session stores."""

    model: str = ""
    dropped: tuple[str, ...] = ()
    version: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    citations: list[JsonObject] = field(default_factory=list)
    other_blocks: list[JsonObject] = field(default_factory=list)
    finished: Finished | None = None
    _parts: list[_Part] = field(default_factory=list)

    @classmethod
    def of(cls, events: Iterable[Event]) -> Reply:
        reply = cls()
        for event in events:
            reply.feed(event)
        return reply

    def feed(self, event: Event) -> None:
        match event:
            case Started(model, dropped, _, version):
                self.model, self.dropped, self.version = model, dropped, version
            case TextDelta(text):
                self._open(is_thinking=False).add(text)
            case ThinkingDelta(text):
                self._open(is_thinking=True).add(text)
            case ThinkingEnd(signature):
                self._open(is_thinking=True).signature = signature
            case ToolCallStart(_, id_, name):
                self.tool_calls.append(ToolCall(id_, name))
                self._parts.append(self.tool_calls[-1])
            case ToolCallDelta(index, piece):
                self.tool_calls[index].add(piece)
            case ToolCallEnd(index):
                self.tool_calls[index].complete = True
            case BuiltinToolUse() | BuiltinToolResult():
                self._parts.append(event)
            case Finished():
                self.finished = event
            case Citation(citation):
                self.citations.append(citation)
            case OtherBlock(block):
                self.other_blocks.append(block)
                self._parts.append(event)
            case ApiEvent():
                pass
            case _:
                assert_never(event)

    def _open(self, *, is_thinking: bool) -> _Text:
        """The block that is being written, or a new one."""
        last = self._parts[-1] if self._parts else None
        if isinstance(last, _Text) and last.is_thinking == is_thinking and last.signature is None:
            return last
        self._parts.append(new := _Text(is_thinking))
        return new

    @property
    def text(self) -> str:
        """All texts as one; a paragraph stands between those around built-in tools."""
        text, apart = StringIO(), False
        for part in self._parts:
            if isinstance(part, BuiltinToolUse):
                apart = True
            elif isinstance(part, _Text) and not part.is_thinking:
                text.write((PARAGRAPH if apart and text.tell() else "") + part.text)
                apart = False
        return text.getvalue()

    @property
    def thinking(self) -> str:
        return "".join(p.text for p in self._parts if isinstance(p, _Text) and p.is_thinking)

    def blocks(self) -> list[Block]:
        """The native blocks in their order. What is not complete is left out: thinking without its
        signature, a call whose arguments were cut off, a built-in use or result without the other.
        """
        uses = {part.id for part in self._parts if isinstance(part, BuiltinToolUse)}
        results = {part.id for part in self._parts if isinstance(part, BuiltinToolResult)}
        found = [_block(part, uses & results) for part in self._parts]
        return [block for block in found if block is not None]


def _block(part: _Part, answered: set[str]) -> Block | None:
    """The part as a native block; `answered` are the ids of built-in uses with their results."""
    match part:
        case _Text(is_thinking=False):
            return text_block(part.text) if part.text else None
        case _Text(signature=str(signature)) if signature:
            return {"type": "thinking", "thinking": part.text, "signature": signature}
        case _Text():
            return None
        case ToolCall():
            return _call_block(part)
        case BuiltinToolUse(id_, name, given):
            use: ToolUseBlock = {"type": "tool_use", "id": id_, "name": name, "input": given}
            return use if id_ in answered else None
        case BuiltinToolResult():
            return _result_block(part) if part.id in answered else None
        case OtherBlock(block):
            return cast(Block, block)


def _call_block(call: ToolCall) -> ToolUseBlock | None:
    try:
        given = json.loads(call.arguments or "{}") if call.complete else None
    except ValueError:
        return None
    if not isinstance(given, dict):
        return None
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": given}


def _result_block(result: BuiltinToolResult) -> ToolResultBlock:
    block: ToolResultBlock = {
        "type": "tool_result",
        "tool_use_id": result.id,
        "content": list(result.content),
    }
    return {**block, "is_error": True} if result.is_error else block
