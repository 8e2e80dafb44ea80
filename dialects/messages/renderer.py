"""An answer's events -> Anthropic's stream or body.

The API's own events go out as they came. Where there are none the composer makes them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from core import sse
from core.compact_json import compact
from core.conversation import JsonObject
from core.errors import GatewayError, UpstreamError
from core.events import ApiEvent, ChoiceEvent, Event, Finished, Started
from dialects.answer_headers import answer_headers
from dialects.chat.activity import Activity
from dialects.messages.composer import Composer
from dialects.messages.fold import MessageFold
from dialects.messages.request import NOT_REPLAYABLE, MessagesCall


@dataclass(slots=True)
class MessagesRenderer:
    """The answer to one call. Only without `stream` are the events folded. `id` is the message's
    where the API gave none."""

    call: MessagesCall
    id: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex[:24]}")
    _fold: MessageFold | None = None
    _composer: Composer | None = None
    _activity: Activity | None = None
    _is_native: bool = False
    _open: set[int] = field(default_factory=set)
    _held: list[JsonObject] = field(default_factory=list)
    _ended: bool = False
    _dropped: tuple[str, ...] = ()
    _finished: Finished | None = None

    def __post_init__(self) -> None:
        own = self.call.turn.builtin_tools
        if own is not None:
            self._activity = Activity(self.call.tool_activity, own)
        if not self.call.stream:
            self._fold = MessageFold()

    def feed(self, item: ChoiceEvent) -> bytes:
        event = item.event
        if isinstance(event, Started):
            self._dropped = event.dropped
        elif isinstance(event, Finished):
            self._finished = event
        elif isinstance(event, ApiEvent):
            return self._pass(event.event)
        if not self._is_native:
            return self._compose(event)
        return self._end() if isinstance(event, Finished) else b""

    def _pass(self, event: JsonObject) -> bytes:
        """One of the API's own. Errors come from the engine, as errors."""
        if self._composer is not None or event.get("type") == "error":
            return b""
        self._is_native = True
        if _may_be_the_clis(event):
            self._held.append(event)
            return b""
        return self._release() + self._write(event)

    def _release(self) -> bytes:
        held, self._held = self._held, []
        return b"".join([self._write(event) for event in held])

    def _compose(self, event: Event) -> bytes:
        if self._composer is None:
            signature = None if self._activity is None else NOT_REPLAYABLE
            self._composer = Composer(self.id, self.call.turn.model, signature)
        events = [event] if self._activity is None else self._shown(self._activity, event)
        composed = (e for shown in events for e in self._composer.events(shown))
        return b"".join([self._write(event) for event in composed])

    def _shown(self, activity: Activity, event: Event) -> list[Event]:
        """Without Claude Code's own work, which is shown in lines where the caller wants them."""
        return [shown for shown, _ in activity.shown(event) if shown is not None]

    def _write(self, event: JsonObject) -> bytes:
        match event.get("type"):
            case "content_block_start":
                self._open.add(event["index"])
            case "content_block_stop":
                self._open.discard(event["index"])
            case "message_stop":
                self._ended = True
        if self._fold is not None:
            self._fold.feed(event)
            return b""
        return frame(event)

    def fail(self, error: GatewayError) -> bytes:
        """Ends what is open, then tells the error. A stream that ended has none any more."""
        if self._ended:
            return b""
        self._ended = True
        stops = [frame({"type": "content_block_stop", "index": i}) for i in sorted(self._open)]
        return b"".join([*stops, frame(error.anthropic_body())])

    def _end(self) -> bytes:
        """The last events, also where the engine ended the turn before the API reported its end."""
        frames = self._release()
        return frames if self._ended else frames + self._write({"type": "message_stop"})

    def finish(self) -> bytes:
        return self._end()

    def body(self) -> bytes:
        message = self._fold.result() if self._fold is not None else None
        if message is None or message.get("stop_reason") is None:
            raise UpstreamError("The response ended prematurely.")
        return compact(message).encode()

    def headers(self) -> dict[str, str]:
        cost_usd = self._finished.cost_usd if self._finished is not None else None
        return answer_headers({*self.call.ignored, *self._dropped}, cost_usd)


def _may_be_the_clis(event: JsonObject) -> bool:
    """The CLI ends a stream that broke off in the API's name, without a stop reason: such an end
    waits until the engine says that it is none of an error."""
    kind = event.get("type")
    if kind == "message_delta":
        return (event.get("delta") or {}).get("stop_reason") is None
    return kind == "message_stop"


def frame(event: JsonObject) -> bytes:
    """One event of the stream, named by its type."""
    data = compact(event).encode()
    return b"event: " + str(event.get("type")).encode() + b"\n" + sse.data_frame(data)
