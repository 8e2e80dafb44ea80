"""What every dialect fulfils: the bytes of one API <-> the neutral vocabulary, without any I/O.

A dialect is a folder: `request.py` (its request -> `Call`), `renderer.py` (`Event`s -> its stream
or body), `fields.py` (what becomes of each of its fields). `turns/pipeline.py` conducts a turn the
same way for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from core.builtin_tools import ToolRequest
from core.conversation import JsonObject, Message
from core.errors import GatewayError
from core.events import ChoiceEvent
from core.turn import Turn
from dialects.reasoning import Traits
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
    """What a dialect gets beside the request. `model` is the resolved id, `traits` what is known of
    it. In a session the messages may be only what is new. `headers` are this server's own request
    headers, `raw_headers` all of them, names in lower case."""

    model: str
    principal: str = "local"
    traits: Traits | None = None
    session_id: str | None = None
    headers: TurnHeaders = field(default_factory=TurnHeaders)
    raw_headers: Mapping[str, str] = field(default_factory=dict)


Complete = Callable[[tuple[Message, ...]], tuple[Message, ...]]


def as_it_is(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return messages


@dataclass(frozen=True, slots=True)
class Call:
    """One request, understood. Dialects add what their renderers need in a subclass.

    `n` answers are asked for; `ignored` names the fields that have no effect, for the header
    `x-ignored-parameters`; `complete` checks a whole conversation, a session's history included,
    and makes it one that the API takes (raises InvalidRequest).
    """

    turn: Turn
    stream: bool = False
    n: int = 1
    seed: int | None = None
    tool_request: ToolRequest | None = None
    ignored: tuple[str, ...] = ()
    complete: Complete = as_it_is


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


class Dialect(Protocol[R]):
    """One API. `name` is what limits, metrics and the ledger call it."""

    @property
    def name(self) -> str: ...

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
