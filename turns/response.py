"""The one response that runs turns: events -> server-sent events, or one JSON body.

It owns the turn: it awaits the first event before it answers, so that an early failure has its
real status, unless a stream is silent for so long that a proxy would close it; it ends the turn
when the client goes away or does not read; and it closes the events on every path.
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

from config.logs import current_request_id, note
from core import sse
from core.errors import GatewayError
from core.events import ChoiceEvent, Finished, Started, Usage
from dialects.base import Renderer
from turns.choices import CLOSE_SECONDS

log = logging.getLogger(__name__)

NO_BUFFERING = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class TurnResponse(Response):
    """Runs `events` and writes them as `renderer` says. `heartbeat_seconds` of silence in a stream
    are filled with a comment, which keeps proxies from closing it; before the first event it brings
    the status with it, and an error after that is a frame. A client that makes this server wait
    for `reader_seconds` altogether, because it reads too slowly, is cut off. `extra_headers` is
    asked when the renderer's are. `on_end` is called once all is over, with the failure if any."""

    def __init__(
        self,
        events: AsyncGenerator[ChoiceEvent, None],
        renderer: Renderer,
        *,
        stream: bool,
        heartbeat_seconds: float,
        reader_seconds: float = 600.0,
        extra_headers: Callable[[], dict[str, str]] = dict,
        on_end: Callable[[GatewayError | None], None] = lambda failure: None,
    ) -> None:
        super().__init__()
        self._events = events
        self._renderer = renderer
        self._stream = stream
        self._heartbeat_seconds = heartbeat_seconds
        self._reader_seconds = reader_seconds
        self._extra_headers = extra_headers
        self._sent_at = 0.0
        self._sending_since: float | None = None
        self._has_started = self._is_over = False
        self._failure: GatewayError | None = None
        self._noted = TurnNote()
        self._stream_failure: GatewayError | None = None
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises a GatewayError where nothing was sent yet."""
        abort = scope.get("state", {}).get("abort")
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_disconnect, receive, tasks.cancel_scope)
                tasks.start_soon(self._watch_reader, tasks.cancel_scope, abort)
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

    def _feed(self, item: ChoiceEvent) -> bytes:
        """The frames of an event. What the log says of the turn is noted on the way."""
        self._noted.see(item)
        return self._renderer.feed(item)

    async def _write_body(self, send: Send) -> None:
        try:
            async for item in self._events:
                self._feed(item)
            body = self._renderer.body()
            start = self._start("application/json", {"content-length": str(len(body))})
        except Exception as error:
            self._failure = as_gateway_error(error)
            return
        await send(start)
        await self._send(send, {"type": "http.response.body", "body": body})

    async def _write_stream(self, send: Send, tasks: anyio.abc.TaskGroup) -> None:
        silence = anyio.CancelScope()
        tasks.start_soon(self._keep_alive, send, silence)
        try:
            first = self._feed(await anext(self._events))
        except Exception as error:
            failure = as_gateway_error(error)
            if not self._has_started:
                self._failure = failure
                return
            first = self._failed(failure)
        await self._start_stream(send)
        await self._write(send, first)
        async with contextlib.aclosing(self._rest()) as rest:
            async for frames in rest:
                await self._write(send, frames)
        silence.cancel()  # or a comment could come after the end
        await self._send(send, {"type": "http.response.body", "body": b""})

    async def _start_stream(self, send: Send) -> None:
        if not self._has_started:
            start = self._start("text/event-stream; charset=utf-8", NO_BUFFERING)
            self._has_started = True
            await send(start)

    async def _rest(self) -> AsyncGenerator[bytes, None]:
        """The frames after the first, with those of the end or of an error."""
        if self._is_over:
            return
        try:
            async for item in self._events:
                yield self._feed(item)
            yield self._renderer.finish()
        except Exception as error:
            yield self._failed(as_gateway_error(error))

    def _failed(self, failure: GatewayError) -> bytes:
        self._is_over = True
        self._stream_failure = failure
        log.warning("a stream ended with %s: %s", failure.code, failure.message)
        return self._renderer.fail(failure)

    async def _write(self, send: Send, frames: bytes) -> None:
        if frames:
            message = {"type": "http.response.body", "body": frames, "more_body": True}
            await self._send(send, message)

    async def _send(self, send: Send, message: AsgiMessage) -> None:
        self._sent_at = self._sending_since = began = time.monotonic()
        await send(message)
        self._reader_seconds -= time.monotonic() - began
        self._sending_since = None

    async def _watch_reader(
        self, scope: anyio.CancelScope, abort: Callable[[], None] | None
    ) -> None:
        """Ends the turn of a client that has not read for too long, and its connection."""
        while True:
            left = self._seconds_left()
            if left <= 0:
                break
            await anyio.sleep(left)
        log.info("a client read its answer too slowly and was cut off")
        if abort is not None:
            abort()
        scope.cancel()

    def _seconds_left(self) -> float:
        since = self._sending_since
        return self._reader_seconds - (0.0 if since is None else time.monotonic() - since)

    async def _keep_alive(self, send: Send, scope: anyio.CancelScope) -> None:
        self._sent_at = time.monotonic()
        with scope:
            while True:
                silence = time.monotonic() - self._sent_at
                if silence >= self._heartbeat_seconds:
                    await self._start_stream(send)
                    await self._write(send, sse.HEARTBEAT)
                    silence = 0.0
                await anyio.sleep(self._heartbeat_seconds - silence)

    def _start(self, content_type: str, extra: dict[str, str]) -> AsgiMessage:
        known = self._renderer.headers() | self._extra_headers()
        headers = {"content-type": content_type, **extra, **known}
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        return {"type": "http.response.start", "status": 200, "headers": raw}


class TurnNote:
    """What a request's line in the log says of its turn: model, tokens, cost, first token."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._usage = Usage()
        self._cost_usd: float | None = None

    def see(self, item: ChoiceEvent) -> None:
        kind = type(item.event)
        if kind is not Started and kind is not Finished:
            return
        if isinstance(item.event, Started) and item.choice == 0:
            elapsed_ms = round((time.monotonic() - self._since) * 1000)
            note(model=item.event.model, first_token_ms=elapsed_ms)
        elif isinstance(item.event, Finished):
            self._add(item.event)

    def _add(self, end: Finished) -> None:
        """`n` answers are one line."""
        self._usage += end.usage
        if end.cost_usd is not None:
            self._cost_usd = round((self._cost_usd or 0.0) + end.cost_usd, 10)
        note(
            prompt_tokens=self._usage.prompt_tokens,
            completion_tokens=self._usage.output_tokens,
            cost_usd=self._cost_usd,
        )


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
