"""The response that runs a turn: who closes it, what fills a silence, what a failure looks like."""

from __future__ import annotations

import json
import logging
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest
from starlette.types import Message as AsgiMessage

from core.errors import GatewayError, Overloaded
from core.events import ChoiceEvent, Event, Finished, Started, TextDelta
from dialects.base import Context
from dialects.chat.renderer import ChatRenderer
from dialects.chat.request import parse
from models import ChatRequest
from tests.support.wire import chunks, frames, until
from turns.response import TurnResponse

SECRET = "the prompt that nobody may see"
WHOLE: list[Event] = [Started("claude-x"), TextDelta("Hi"), Finished("end_turn")]


class Wire:
    """An ASGI server's side of one request; `left` is when its client goes away."""

    def __init__(self) -> None:
        self.left = anyio.Event()
        self.messages: list[AsgiMessage] = []

    async def receive(self) -> AsgiMessage:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: AsgiMessage) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int | None:
        return self.messages[0]["status"] if self.messages else None

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.messages).decode()


class Turn:
    """Events one after another; `ended` is set by their cleanup. An Exception is raised."""

    def __init__(self, *steps: Event | Exception | anyio.Event) -> None:
        self.steps = steps
        self.waiting = anyio.Event()
        self.ended = anyio.Event()

    async def run(self) -> AsyncGenerator[ChoiceEvent, None]:
        try:
            for step in self.steps:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, anyio.Event):
                    self.waiting.set()
                    await step.wait()
                else:
                    yield ChoiceEvent(0, step)
        finally:
            self.ended.set()


def response(
    turn: Turn, *, stream: bool, heartbeat_seconds: float = 60, **options: Any
) -> TurnResponse:
    request = ChatRequest.model_validate({"messages": [{"role": "user", "content": SECRET}]})
    renderer = ChatRenderer(parse(request, Context("claude-x")))
    options |= {"stream": stream, "heartbeat_seconds": heartbeat_seconds}
    return TurnResponse(turn.run(), renderer, **options)


async def run(turn: Turn, wire: Wire, *, stream: bool, **options: Any) -> None:
    await response(turn, stream=stream, **options)({}, wire.receive, wire.send)


async def test_a_comment_fills_each_silence_and_nothing_comes_after_the_end() -> None:
    go_on = anyio.Event()

    class Slow(Wire):
        async def send(self, message: AsgiMessage) -> None:
            await super().send(message)
            if self.text.count(": keep-alive\n\n") == 3:
                go_on.set()
            if not message.get("more_body", True):
                await anyio.sleep(0.02)  # a client that reads slowly: time for 20 comments

    wire = Slow()
    turn = Turn(*WHOLE[:2], go_on, *WHOLE[2:])
    await run(turn, wire, stream=True, heartbeat_seconds=0.001)
    kinds = [frame[:1] for frame in frames(wire.text)]
    assert kinds == ["{", "{", ":", ":", ":", "{", "["]
    assert wire.messages[-1] == {"type": "http.response.body", "body": b""}


class Held(ChatRenderer):
    """One that can be watched."""


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_that_is_over_holds_no_answer(stream: bool) -> None:
    """Nor the turn: without a collector that comes by, large ones would pile up."""
    request = ChatRequest.model_validate({"messages": [{"role": "user", "content": SECRET}]})
    renderer = Held(parse(request, Context("claude-x")))
    held, wire = weakref.ref(renderer), Wire()
    over = TurnResponse(Turn(*WHOLE).run(), renderer, stream=stream, heartbeat_seconds=60)
    del renderer
    await over({}, wire.receive, wire.send)
    assert wire.status == 200
    assert held() is None


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_first_event_is_raised_and_nothing_is_sent(stream: bool) -> None:
    wire, turn = Wire(), Turn(Overloaded("busy", retry_after=5))
    with pytest.raises(Overloaded):
        await run(turn, wire, stream=stream)
    assert wire.messages == []
    assert turn.ended.is_set()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_bug_before_the_first_event_is_a_plain_internal_error(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    wire, bug = Wire(), RuntimeError(SECRET)
    with pytest.raises(GatewayError) as caught:
        await run(Turn(bug), wire, stream=stream)
    assert wire.messages == []
    assert (caught.value.status, caught.value.code) == (500, "internal_error")
    assert SECRET not in caught.value.message
    [record] = [record for record in caplog.records if record.name == "turns.response"]
    assert record.exc_info is not None
    assert record.exc_info[1] is bug


@pytest.mark.parametrize(
    ("error", "code"), [(RuntimeError(SECRET), "internal_error"), (Overloaded("x"), "overloaded")]
)
async def test_a_failure_inside_a_stream_is_a_frame_and_the_stream_ends(
    error: Exception, code: str
) -> None:
    wire, turn = Wire(), Turn(*WHOLE[:2], error)
    await run(turn, wire, stream=True)
    assert wire.status == 200
    *shown, failure = chunks(wire.text)
    assert len(shown) == 2
    assert failure["error"]["code"] == code
    assert SECRET not in wire.text
    assert turn.ended.is_set()


async def test_a_bug_in_a_body_is_a_plain_internal_error() -> None:
    wire = Wire()
    with pytest.raises(GatewayError) as caught:
        await run(Turn(*WHOLE[:2], RuntimeError(SECRET)), wire, stream=False)
    assert (caught.value.status, caught.value.code) == (500, "internal_error")
    assert wire.messages == []


async def test_an_answer_without_an_end_is_no_answer() -> None:
    wire = Wire()
    with pytest.raises(GatewayError) as caught:
        await run(Turn(*WHOLE[:2]), wire, stream=False)
    assert caught.value.code == "upstream_error"
    assert wire.messages == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("seen", [0, 1, 2])
async def test_a_client_that_leaves_ends_the_turn(
    stream: bool, seen: int, caplog: pytest.LogCaptureFixture
) -> None:
    wire, turn = Wire(), Turn(*WHOLE[:seen], anyio.Event(), *WHOLE[seen:])
    async with anyio.create_task_group() as tasks:

        async def leave() -> None:
            await turn.waiting.wait()
            wire.left.set()

        tasks.start_soon(leave)
        await run(turn, wire, stream=stream)
    assert turn.ended.is_set()
    assert "[DONE]" not in wire.text
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_socket_that_breaks_while_written_to_ends_the_turn_quietly(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Wire):
        async def send(self, message: AsgiMessage) -> None:
            raise BrokenPipeError

    turn = Turn(*WHOLE)
    await run(turn, Broken(), stream=stream)
    assert turn.ended.is_set()
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


async def test_a_turn_that_fails_while_it_is_closed_does_not_hide_what_was_sent() -> None:
    class Stubborn(Turn):
        async def run(self) -> AsyncGenerator[ChoiceEvent, None]:
            try:
                yield ChoiceEvent(0, WHOLE[0])
                self.waiting.set()
                await anyio.sleep_forever()
            finally:
                raise RuntimeError("cleanup failed")

    wire, turn = Wire(), Stubborn()
    async with anyio.create_task_group() as tasks:

        async def leave() -> None:
            await turn.waiting.wait()
            wire.left.set()

        tasks.start_soon(leave)
        await run(turn, wire, stream=True)
    assert json.loads(frames(wire.text)[0])["choices"][0]["delta"]["role"] == "assistant"


async def test_a_client_that_does_not_read_is_cut_off_and_its_turn_ends() -> None:
    class Stuck(Wire):
        async def send(self, message: AsgiMessage) -> None:
            if message.get("body"):
                await anyio.sleep_forever()
            await super().send(message)

    aborted: list[bool] = []
    turn, wire = Turn(*WHOLE), Stuck()
    scope = {"type": "http", "state": {"abort": lambda: aborted.append(True)}}
    with anyio.fail_after(10):
        slow = response(turn, stream=True, reader_seconds=0.05)
        await slow(scope, wire.receive, wire.send)
    assert turn.ended.is_set()
    assert aborted == [True]


async def test_silence_before_the_first_event_starts_the_stream() -> None:
    """A proxy would close it; an error afterwards is a frame."""
    go_on = anyio.Event()
    wire, turn = Wire(), Turn(go_on, RuntimeError(SECRET))
    async with anyio.create_task_group() as tasks:

        async def speak() -> None:
            await turn.waiting.wait()
            await until(lambda: ": keep-alive" in wire.text)
            go_on.set()

        tasks.start_soon(speak)
        await run(turn, wire, stream=True, heartbeat_seconds=0.005)
    assert wire.status == 200
    assert "internal_error" in wire.text
    assert SECRET not in wire.text
