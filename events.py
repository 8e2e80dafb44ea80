"""The neutral vocabulary between dialects and the engine: a `Turn` goes in, `Event`s come out.

Blocks are the native content blocks of the Anthropic Messages API
(https://docs.anthropic.com/en/api/messages), as plain JSON, so that what a client wrote can be
stored, replayed and sent without being changed. The typed ones are those that this server makes
itself; a block may have any other `type` and any further key (`cache_control`, `citations`), which
travel as they are. This module imports no project module.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from io import StringIO
from typing import Any, Literal, NamedTuple, NotRequired, TypeAlias, TypedDict, assert_never

JsonObject: TypeAlias = dict[str, Any]

PARAGRAPH = "\n\n"
"""Stands between what the model said before and after it used tools of Claude Code's."""

Role = Literal["user", "assistant"]
Effort = Literal["low", "medium", "high", "xhigh", "max"]
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
PermissionMode = Literal["default", "acceptEdits", "plan"]


class TextBlock(TypedDict):
    type: Literal["text"]
    text: str


class Base64Source(TypedDict):
    type: Literal["base64"]
    media_type: str
    data: str


class TextSource(TypedDict):
    type: Literal["text"]
    media_type: Literal["text/plain"]
    data: str


class ImageBlock(TypedDict):
    type: Literal["image"]
    source: Base64Source


class DocumentBlock(TypedDict):
    type: Literal["document"]
    source: Base64Source | TextSource
    title: NotRequired[str]


ResultPart: TypeAlias = TextBlock | ImageBlock | DocumentBlock
"""What a tool's result may hold; of the caller's functions no documents."""


class ToolUseBlock(TypedDict):
    type: Literal["tool_use"]
    id: str
    name: str
    input: JsonObject


class ToolResultBlock(TypedDict):
    type: Literal["tool_result"]
    tool_use_id: str
    content: list[ResultPart]
    is_error: NotRequired[bool]


class ThinkingBlock(TypedDict):
    type: Literal["thinking"]
    thinking: str
    signature: str


class RedactedThinkingBlock(TypedDict):
    type: Literal["redacted_thinking"]
    data: str


Block: TypeAlias = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | ToolUseBlock
    | ToolResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
)


@dataclass(frozen=True, slots=True)
class Message:
    """One native message: a role and its blocks, in order. `model` is the one that wrote it, where
    that is known: only then can its thinking be replayed."""

    role: Role
    content: tuple[Block, ...]
    model: str | None = None


def text_block(text: str) -> TextBlock:
    return {"type": "text", "text": text}


SystemPrompt: TypeAlias = str | tuple[TextBlock, ...] | None


def system_text(system: SystemPrompt) -> str | None:
    """The system prompt as one text, without cache marks."""
    if system is None or isinstance(system, str):
        return system
    return "\n".join(block["text"] for block in system)


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function that the caller runs itself: the model sees just this name, text and schema."""

    name: str
    description: str
    input_schema: JsonObject = field(hash=False)
    strict: bool = False
    """Whether the API itself holds the arguments to the schema."""

    cache_control: JsonObject | None = field(default=None, hash=False)
    """The caller's own cache mark, which replaces those that this server sets."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which tools the model may or must call, as in the Messages API's `tool_choice`."""

    type: Literal["auto", "any", "tool", "none"] = "auto"
    name: str | None = None
    parallel: bool = True


@dataclass(frozen=True, slots=True)
class Sampling:
    """Native sampling parameters; None leaves the model's own default."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolGrant:
    """Claude Code's own tools and MCP servers as granted to one turn: what is asked for is allowed.

    `tools` are the built-in ones that the model sees. `allow` and `deny` are Claude Code's
    permission rules (`Read`, `Bash(git *)`); what none allows is denied at once, nobody is asked.
    `directory` is the absolute, resolved working directory, outside of which the file tools do
    nothing; None is a new one that is gone with the process. `mcp_config` is JSON in the format of
    `.mcp.json`; whoever may use a server may use all its tools.
    """

    tools: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    directory: str | None = None
    permission_mode: PermissionMode = "default"
    max_turns: int | None = None
    max_budget_usd: float | None = None
    mcp_config: str = field(default="", repr=False)  # may hold secrets


@dataclass(frozen=True, slots=True)
class Turn:
    """One request to the model, complete: nothing else reaches it.

    `model` is an id or alias that the CLI knows. `system` is a text, or native text blocks with
    cache marks of the caller's. `server_tools` are definitions of the API's own tools
    (`web_search_20250305`), sent behind `tools` as they are. `user` is the caller's name for its
    end user, sent as a hash; `cache_hour` asks for cache entries that last an hour. `thinking`
    False means off where the model allows it; `thinking_tokens` is a budget for models that take
    one; `show_thinking` asks a model for its thoughts that would else keep them to itself.
    `output_schema` is a JSON Schema of type object that the answer follows: `native_output` asks
    the API itself for that, else the answer is the input of a tool, which any schema allows.

    `native` are top-level fields of the request as a client of the Messages API wrote them, without
    `model` and `stream`: where it is not None it is all that goes out, unchanged, and no cache mark
    is added. In a session, whose history comes first, it is without `messages` and `system` too.
    What the other attributes say of the same things is then for turns with built-in tools only.
    `betas` are values of the `anthropic-beta` header; `api_events` asks for an `ApiEvent` before
    each event that comes of it.
    """

    model: str
    messages: tuple[Message, ...]
    system: SystemPrompt = None
    tools: tuple[FunctionTool, ...] = ()
    server_tools: tuple[JsonObject, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    sampling: Sampling = Sampling()
    effort: Effort | None = None
    thinking: bool = False
    thinking_tokens: int | None = None
    show_thinking: bool = False
    output_schema: JsonObject | None = None
    native_output: bool = True
    own_tools: ToolGrant | None = None
    principal: str = "local"
    session_id: str | None = None
    user: str | None = None
    cache_hour: bool = False
    native: JsonObject | None = None
    betas: tuple[str, ...] = ()
    api_events: bool = False


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


def merged(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same conversation with consecutive messages of one role joined, as the API reads it."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            before = joined.pop()
            model = message.model or before.model
            message = Message(message.role, before.content + message.content, model)
        joined.append(message)
    return tuple(joined)
