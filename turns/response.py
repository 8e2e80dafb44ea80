"""The one response that runs turns: events -> server-sent events, or one JSON body.

It owns the turn: it awaits the first event before it answers, so that an early failure has its
real status; it ends the turn when the client goes away; and it closes the events on every path.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable

import anyio
from starlette.responses import Response
from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Scope, Send

from config.logs import current_request_id
from core import sse
from core.errors import GatewayError
from core.events import ChoiceEvent
from dialects.base import Renderer
from turns.choices import CLOSE_SECONDS

log = logging.getLogger(__name__)

NO_BUFFERING = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class TurnResponse(Response):
    """Runs `events` and writes them as `renderer` says. `heartbeat_seconds` of silence in a stream
    are filled with a comment, which keeps proxies from closing it. `extra_headers` is asked when
    the renderer's are. `on_end` is called once all is over, with the failure if there was one."""

    def __init__(
        self,
        events: AsyncGenerator[ChoiceEvent, None],
        renderer: Renderer,
        *,
        stream: bool,
        heartbeat_seconds: float,
        extra_headers: Callable[[], dict[str, str]] = dict,
        on_end: Callable[[GatewayError | None], None] = lambda failure: None,
    ) -> None:
        super().__init__()
        self._events = events
        self._renderer = renderer
        self._stream = stream
        self._heartbeat_seconds = heartbeat_seconds
        self._extra_headers = extra_headers
        self._sent_at = 0.0
        self._failure: GatewayError | None = None
        self._stream_failure: GatewayError | None = None
        self._on_end = on_end

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
        except* OSError as gone:
            log.debug("the client left while it was written to: %r", gone.exceptions[0])
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS):
                await self._events.aclose()
            self._on_end(self._failure or self._stream_failure)
            # the collector may find this response late; what it held is gone now
            del self._events, self._renderer, self._on_end
        if self._failure is not None:
            raise self._failure

    async def _write_body(self, send: Send) -> None:
        try:
            async for item in self._events:
                self._renderer.feed(item)
            body = self._renderer.body()
            start = self._start("application/json", {"content-length": str(len(body))})
        except Exception as error:
            self._failure = as_gateway_error(error)
            return
        await send(start)
        await send({"type": "http.response.body", "body": body})

    async def _write_stream(self, send: Send, tasks: anyio.abc.TaskGroup) -> None:
        try:
            first = self._renderer.feed(await anext(self._events))
            start = self._start("text/event-stream; charset=utf-8", NO_BUFFERING)
        except Exception as error:
            self._failure = as_gateway_error(error)
            return
        await send(start)
        silence = anyio.CancelScope()
        tasks.start_soon(self._keep_alive, send, silence)
        await self._write(send, first)
        async with contextlib.aclosing(self._rest()) as rest:
            async for frames in rest:
                await self._write(send, frames)
        silence.cancel()  # or a comment could come after the end
        await send({"type": "http.response.body", "body": b""})

    async def _rest(self) -> AsyncGenerator[bytes, None]:
        """The frames after the first, with those of the end or of an error."""
        try:
            async for item in self._events:
                yield self._renderer.feed(item)
            yield self._renderer.finish()
        except Exception as error:
            failure = self._stream_failure = as_gateway_error(error)
            log.warning("a stream ended with %s: %s", failure.code, failure.message)
            yield self._renderer.fail(failure)

    async def _write(self, send: Send, frames: bytes) -> None:
        if frames:
            self._sent_at = time.monotonic()
            await send({"type": "http.response.body", "body": frames, "more_body": True})

    async def _keep_alive(self, send: Send, scope: anyio.CancelScope) -> None:
        self._sent_at = time.monotonic()
        with scope:
            while True:
                silence = time.monotonic() - self._sent_at
                if silence >= self._heartbeat_seconds:
                    await self._write(send, sse.HEARTBEAT)
                    silence = 0.0
                await anyio.sleep(self._heartbeat_seconds - silence)

    def _start(self, content_type: str, extra: dict[str, str]) -> AsgiMessage:
        known = self._renderer.headers() | self._extra_headers()
        headers = {"content-type": content_type, **extra, **known}
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        return {"type": "http.response.start", "status": 200, "headers": raw}


async def _until_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    """Ends the turn when the client goes away."""
    with contextlib.suppress(Exception):
        while (await receive())["type"] != "http.disconnect":
            pass
    scope.cancel()


def as_gateway_error(error: Exception) -> GatewayError:
    """A GatewayError as it is, anything else as a 500 without detail, which is logged."""
    if not isinstance(error, GatewayError):
        log.error("unexpected error in a turn", exc_info=error)
        error = GatewayError("The server had an error while processing your request.")
    error.request_id = current_request_id.get()
    return error
