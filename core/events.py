"""What the engine tells of a turn while it runs: `Event`s, and their fold, a `Reply`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, field
from io import StringIO
from typing import Literal, NamedTuple, TypeAlias, assert_never

from core.conversation import JsonObject, ResultPart

PARAGRAPH = "\n\n"
"""Stands between what the model said before and after it used tools of Claude Code's."""
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
    """A complete block of a kind that no other event tells of: `redacted_thinking`, the API's own
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
    """Claude Code is about to use a tool of its own, or one of an MCP server. The turn goes on."""

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
    """The turn is over. `cost_usd` is None where the CLI never reported one. With own tools usage
    and cost are those of all the model's answers in the turn."""

    reason: StopReason
    usage: Usage = Usage()
    cost_usd: float | None = None
    stop_sequence: str | None = None
    details: JsonObject | None = field(default=None, hash=False)
    """The API's `stop_details`, for a refusal."""


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
    id: str
    name: str
    _arguments: StringIO = field(default_factory=StringIO)

    @property
    def arguments(self) -> str:
        return self._arguments.getvalue()

    def add(self, json: str) -> None:
        self._arguments.write(json)


@dataclass(slots=True)
class Reply:
    """The fold of a turn's events: what a body is rendered from and a session stores.

    A buffer takes each piece in constant time, where a string would be copied whole."""

    model: str = ""
    dropped: tuple[str, ...] = ()
    version: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    citations: list[JsonObject] = field(default_factory=list)
    other_blocks: list[JsonObject] = field(default_factory=list)
    finished: Finished | None = None
    _apart: bool = False
    _text: StringIO = field(default_factory=StringIO)
    _thinking: StringIO = field(default_factory=StringIO)

    @property
    def text(self) -> str:
        return self._text.getvalue()

    @property
    def thinking(self) -> str:
        return self._thinking.getvalue()

    def feed(self, event: Event) -> None:
        match event:
            case Started(model, dropped, _, version):
                self.model, self.dropped, self.version = model, dropped, version
            case TextDelta(text):
                self._text.write((PARAGRAPH if self._apart and self._text.tell() else "") + text)
                self._apart = False
            case ThinkingDelta(text):
                self._thinking.write(text)
            case BuiltinToolUse():
                self._apart = True
            case ToolCallStart(_, id_, name):
                self.tool_calls.append(ToolCall(id_, name))
            case ToolCallDelta(index, json):
                self.tool_calls[index].add(json)
            case Finished():
                self.finished = event
            case Citation(citation):
                self.citations.append(citation)
            case OtherBlock(block):
                self.other_blocks.append(block)
            case ApiEvent() | ThinkingEnd() | ToolCallEnd() | BuiltinToolResult():
                pass
            case _:
                assert_never(event)

    @classmethod
    def of(cls, events: Iterable[Event]) -> Reply:
        reply = cls()
        for event in events:
            reply.feed(event)
        return reply
