"""What every dialect fulfils: the bytes of one API <-> the neutral vocabulary, without any I/O.

A dialect is a folder: `request.py` (its request -> `Call`), `renderer.py` (`Event`s -> its stream
or body), `fields.py` (what becomes of each of its fields). `turns/pipeline.py` conducts a turn the
same way for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from core.builtin_tools import ToolRequest
from core.conversation import JsonObject, Message
from core.errors import GatewayError, InvalidRequest
from core.events import ChoiceEvent
from core.turn import ToolGrant, Turn
from dialects.field_table import FieldTable
from dialects.reasoning import ModelCapabilities
from models import TurnHeaders


class Request(Protocol):
    """The wire model of any dialect's request, as far as the pipeline must know it."""

    model: str
    stream: bool | None

    @property
    def session_id(self) -> str | None: ...


R = TypeVar("R", bound=Request, contravariant=True)


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """An image by address in a request: its place for errors, and the JSON object that holds it
    under `key`. The pipeline fetches it and puts a data URL there before the request is parsed."""

    where: str
    url: str
    holder: JsonObject
    key: str


@dataclass(frozen=True, slots=True)
class Context:
    """What a dialect gets beside the request. `model` is the resolved id, `capabilities` what is
    known of it. In a session the messages may be only what is new. `headers` are this server's own
    request headers, `raw_headers` all of them, names in lower case; `provider` is where the model
    is asked (`Credentials.method`)."""

    model: str
    principal: str = "local"
    capabilities: ModelCapabilities | None = None
    session_id: str | None = None
    headers: TurnHeaders = field(default_factory=TurnHeaders)
    raw_headers: Mapping[str, str] = field(default_factory=dict)
    provider: str = "anthropic"


Complete = Callable[[tuple[Message, ...]], tuple[Message, ...]]


def as_it_is(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return messages


@dataclass(frozen=True, slots=True)
class Call:
    """One request, understood. Dialects add what their renderers need in a subclass.

    `n` answers are asked for; `ignored` names the fields that have no effect, for the header
    `x-ignored-parameters`; `complete` checks a whole conversation, a session's history included,
    and makes it one that the API takes (raises InvalidRequest). `trims_context`: the oldest
    messages may be left out where they do not fit into the model's context.
    """

    turn: Turn
    stream: bool = False
    n: int = 1
    seed: int | None = None
    tool_request: ToolRequest | None = None
    ignored: tuple[str, ...] = ()
    complete: Complete = as_it_is
    trims_context: bool = False

    @property
    def turns(self) -> tuple[Turn, ...]:
        """A turn for each answer."""
        return (self.turn,) * self.n


C = TypeVar("C", bound=Call)


def with_grant(call: C, grant: ToolGrant) -> C:
    """The call with what it was granted of Claude Code's built-in tools. Raises InvalidRequest
    where a function of the caller's has the name of one: the model would not get that."""
    servers = call.tool_request.mcp_servers if call.tool_request else ()
    of_servers = tuple(f"mcp__{name}__" for name in servers)
    for tool in call.turn.tools:
        if tool.name in grant.tools or tool.name.startswith(of_servers):
            raise InvalidRequest(
                f"The function {tool.name!r} has the name of a built-in tool, or of an MCP "
                "server's, that is asked for too.",
                param="tools",
            )
    return replace(call, turn=replace(call.turn, builtin_tools=grant))


HEADER_SAFE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


def header_names(ignored: Iterable[str]) -> tuple[str, ...]:
    """The names of ignored fields that may stand in a response header, in order. A client chose
    them, so they may hold anything."""
    return tuple(sorted(name for name in ignored if HEADER_SAFE.fullmatch(name)))


class Renderer(Protocol):
    """One answer in one dialect. `feed`, `fail` and `finish` give the frames of a stream, `body`
    the JSON without one; both see every event. `fail` closes open blocks before its error frame,
    and nothing follows it."""

    def feed(self, item: ChoiceEvent) -> bytes: ...

    def fail(self, error: GatewayError) -> bytes: ...

    def finish(self) -> bytes: ...

    def body(self) -> bytes: ...

    def headers(self) -> dict[str, str]:
        """What is known of the answer so far; asked for when the status is sent."""
        ...


@dataclass(frozen=True, slots=True)
class Wire:
    """Where an API is served and the models of what it takes and gives, for the validation of a
    request and for the OpenAPI document. `events` are those of a stream, which ends with a frame
    `[DONE]` where `ends_with_done`."""

    path: str
    request: type[BaseModel]
    body: type[BaseModel]
    events: tuple[type[BaseModel], ...]
    error: type[BaseModel]
    ends_with_done: bool = True


class Dialect(Protocol[R]):
    """One API. `name` is what limits, metrics and the ledger call it."""

    @property
    def name(self) -> str: ...

    @property
    def wire(self) -> Wire: ...

    @property
    def fields(self) -> FieldTable:
        """What becomes of each field of its requests."""
        ...

    def images(self, request: R) -> list[ImageUrl]:
        """The images by address that are to be fetched before `parse`."""
        ...

    def parse(self, request: R, context: Context) -> Call:
        """Raises InvalidRequest, naming the field."""
        ...

    def renderer(self, call: Any) -> Renderer:
        """For a call that `parse` made; the pipeline may have replaced its turn."""
        ...

    def error(self, error: GatewayError) -> JsonObject:
        """The body of an error in this API's envelope."""
        ...

    def status(self, error: GatewayError) -> int:
        """The HTTP status of an error in this API."""
        ...


class OpenAIErrors:
    """For dialects of OpenAI's: the envelope `{"error": {message, type, param, code}}`."""

    def error(self, error: GatewayError) -> JsonObject:
        return error.openai_body()

    def status(self, error: GatewayError) -> int:
        return error.status


class AnthropicErrors:
    """For dialects of Anthropic's: `{"type": "error", "error": {type, message}, "request_id"}`."""

    def error(self, error: GatewayError) -> JsonObject:
        return error.anthropic_body()

    def status(self, error: GatewayError) -> int:
        return error.anthropic_status or error.status
