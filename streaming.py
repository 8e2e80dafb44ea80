"""The one response that runs turns: events -> server-sent events, or one JSON body.

It owns the turn: it awaits the first event before it answers, so that an early failure has its
real status; it ends the turn when the client goes away; and it closes the events on every path.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncGenerator
from typing import Protocol

import anyio
from starlette.responses import Response
from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Scope, Send

import sse
from errors import GatewayError
from events import ChoiceEvent

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5


class Renderer(Protocol):
    """One dialect's answer to one request. `feed` and `fail` give the frames of a stream,
    `body` the JSON without one; both see every event."""

    def feed(self, item: ChoiceEvent) -> bytes: ...

    def fail(self, error: GatewayError) -> bytes: ...

    def finish(self) -> bytes: ...

    def body(self) -> bytes: ...

    def headers(self) -> dict[str, str]:
        """What is known of the answer so far; asked for when the status is sent."""
        ...


class TurnResponse(Response):
    """Runs `events` and writes them as `renderer` says. `heartbeat_seconds` of silence in a stream
    are filled with a comment, which keeps proxies from closing it."""

    def __init__(
        self,
        events: AsyncGenerator[ChoiceEvent, None],
        renderer: Renderer,
        *,
        stream: bool,
        heartbeat_seconds: float,
    ) -> None:
        super().__init__()
        self._events = events
        self._renderer = renderer
        self._stream = stream
        self._heartbeat_seconds = heartbeat_seconds
        self._sent_at = 0.0
        self._failure: GatewayError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises a GatewayError where nothing was sent yet."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_disconnect, receive, tasks.cancel_scope)
                if self._stream:
                    await self._write_stream(send, tasks)
                else:
                    await self._write_body(send)
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS):
                await self._events.aclose()
        if self._failure is not None:
            raise self._failure

    async def _write_body(self, send: Send) -> None:
        try:
            async for item in self._events:
                self._renderer.feed(item)
        except GatewayError as error:
            self._failure = error
            return
        body = self._renderer.body()
        await send(self._start("application/json", {"content-length": str(len(body))}))
        await send({"type": "http.response.body", "body": body})

    async def _write_stream(self, send: Send, tasks: anyio.abc.TaskGroup) -> None:
        try:
            first = await anext(self._events)
        except GatewayError as error:
            self._failure = error
            return
        no_buffering = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        await send(self._start("text/event-stream; charset=utf-8", no_buffering))
        tasks.start_soon(self._keep_alive, send)
        await self._write(send, self._renderer.feed(first))
        try:
            async for item in self._events:
                await self._write(send, self._renderer.feed(item))
            last = self._renderer.finish()
        except GatewayError as error:
            log.warning("a stream ended with %s", error.code)
            last = self._renderer.fail(error)
        await send({"type": "http.response.body", "body": last})

    async def _write(self, send: Send, frames: bytes) -> None:
        if frames:
            self._sent_at = time.monotonic()
            await send({"type": "http.response.body", "body": frames, "more_body": True})

    async def _keep_alive(self, send: Send) -> None:
        self._sent_at = time.monotonic()
        while True:
            silence = time.monotonic() - self._sent_at
            if silence >= self._heartbeat_seconds:
                await self._write(send, sse.HEARTBEAT)
                silence = 0.0
            await anyio.sleep(self._heartbeat_seconds - silence)

    def _start(self, content_type: str, extra: dict[str, str]) -> AsgiMessage:
        headers = {"content-type": content_type, **extra, **self._renderer.headers()}
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        return {"type": "http.response.start", "status": 200, "headers": raw}


async def _until_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    """Ends the turn when the client goes away."""
    with contextlib.suppress(Exception):
        while (await receive())["type"] != "http.disconnect":
            pass
    scope.cancel()
