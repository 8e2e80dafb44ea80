"""The answer to one Responses request: its `Event`s -> the events of a stream, or one body."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from core import sse
from core.compact_json import compact
from core.conversation import JsonObject
from core.errors import GatewayError, UpstreamError
from core.events import ChoiceEvent, Event, Finished, Started
from dialects.answer_headers import answer_headers
from dialects.chat.activity import Activity
from dialects.responses import resource
from dialects.responses.composer import Composer
from dialects.responses.events import EventWriter
from dialects.responses.output import NewId
from dialects.responses.request import ResponsesCall
from dialects.responses.wire import Status

FIELD_NAMES = {
    "effort": "reasoning.effort",
    "thinking": "reasoning",
    "tools": "tools.strict",
    "output_config": "text.format.strict",
    "max_tokens": "max_output_tokens",
}
"""This API's fields for parameters that a model refused, where they differ."""


def new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


@dataclass(slots=True)
class ResponsesRenderer:
    """`clock` gives Unix seconds. `stored` says whether the response can be asked for again;
    `status` is what it has before the model begins."""

    call: ResponsesCall
    new_id: NewId = new_id
    clock: Callable[[], float] = time.time
    stored: bool = False
    status: Status = "in_progress"
    id: str = ""
    _writer: EventWriter = field(init=False)
    _composer: Composer = field(init=False)
    _state: JsonObject = field(init=False)
    _started: Started | None = None
    _finished: Finished | None = None
    _ending: bytes = b""
    _activity: Activity | None = None

    def __post_init__(self) -> None:
        self.id = self.id or self.new_id("resp")
        self._writer = EventWriter(active=self.call.stream)
        self._composer = Composer(self.call, self._writer, self.new_id)
        self._state = {
            "id": self.id,
            "object": "response",
            "created_at": int(self.clock()),
            **resource.NEW,
            "status": self.status,
            "model": self.call.turn.model,
            **resource.asked(self.call.request, stored=self.stored),
        }
        if self.call.turn.builtin_tools is not None:
            self._activity = Activity(self.call.tool_activity, self.call.turn.builtin_tools)

    def feed(self, item: ChoiceEvent) -> bytes:
        event = item.event
        if self._activity is None or self._composer.is_mcp(event):
            return self._show(event)
        shown = self._activity.shown(event)
        return b"".join(self._show(each) for each, _ in shown if each is not None)

    def _show(self, event: Event) -> bytes:
        match event:
            case Started():
                return self._start(event)
            case Finished():
                self.settle(event)
                return b""
            case _:
                return self._composer.feed(event)

    def settle(self, finished: Finished) -> None:
        """Ends the answer: from now on `response` is final. May come before the event itself, so
        that the response can be stored first."""
        if self._finished is not None:
            return
        self._finished = finished
        outcome = resource.outcome(finished.reason)
        is_whole = outcome["status"] == "completed"
        self._ending = self._composer.feed(finished)
        self._ending += self._composer.close("completed" if is_whole else "incomplete")
        self._state |= outcome
        self._state["usage"] = resource.usage(finished.usage, finished.cost_usd)
        self._state["completed_at"] = int(self.clock()) if is_whole else None

    def _start(self, started: Started) -> bytes:
        if self._started is not None:
            return b""
        self._started = started
        self._state |= {"model": started.model, "status": "in_progress"}
        self._composer.feed(started)
        return self._event("response.created") + self._event("response.in_progress")

    @property
    def current_status(self) -> Status:
        status: Status = self._state["status"]
        return status

    def _event(self, kind: str) -> bytes:
        return self._writer.event(kind, {"response": self.response()})

    def response(self) -> JsonObject:
        """The response as it is now, as the client sees it."""
        return {**self._state, "output": self._composer.output}

    def replayable(self) -> list[JsonObject]:
        """The output items as they are stored: a native history."""
        return self._composer.replayable()

    def fail(self, error: GatewayError) -> bytes:
        """Ends what is open, then tells the error twice, as OpenAI does: `error` is what the
        official clients raise, `response.failed` what others wait for."""
        frames = self._ending + self._composer.close("incomplete")
        detail = error.openai_body()["error"]
        about = {key: detail.get(key) for key in ("code", "message", "param")}
        self._state |= {"status": "failed", "error": resource.failure(error)}
        frames += self._writer.event("error", {**about, "error": detail})
        return frames + self._event("response.failed") + sse.DONE

    def finish(self) -> bytes:
        return self._ended() + self._event(f"response.{self._state['status']}") + sse.DONE

    def _ended(self) -> bytes:
        if self._finished is None:
            raise UpstreamError("The response ended prematurely.")
        return self._ending

    def body(self) -> bytes:
        self._ended()
        return compact(self.response()).encode()

    def headers(self) -> dict[str, str]:
        dropped = {*self._started.dropped} if self._started else set()
        if not self.call.strict_output:
            dropped.discard("output_config")
        names = {*self.call.ignored, *(FIELD_NAMES.get(name, name) for name in dropped)}
        return answer_headers(names, self._finished.cost_usd if self._finished else None)
