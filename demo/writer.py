"""Writes an answer to its client at the pace, and with the injected faults, that were asked for."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.types import Receive, Send

from demo import answer as answers
from demo.answer import Answer
from demo.directives import Directive
from demo.errors import ERROR_TYPES, ApiError, error_json

Encoder = Callable[[str, str], bytes]
Headers = list[tuple[bytes, bytes]]

_CHUNK_BYTES: Final = 16_384
_STATUSES: Final = {kind: status for status, kind in reversed(ERROR_TYPES.items())}


class ClientLeft(Exception):
    """The client closed the connection, or the fake upstream is closing."""


class Line:
    """One client's connection: sends bytes, and waits in a way that ends when the client leaves."""

    def __init__(self, receive: Receive, send: Send, closing: asyncio.Event) -> None:
        self._receive, self._send, self._closing = receive, send, closing
        self._watcher: asyncio.Task[None] | None = None
        self._left = False
        self._waiting: asyncio.Future[None] | None = None

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status line and the headers."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, last: bool = False) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def wait(self, seconds: float | None) -> None:
        """Be silent for a time, or indefinitely; raise `ClientLeft` as soon as nobody listens."""
        loop = asyncio.get_running_loop()
        if self._watcher is None:
            self._watcher = asyncio.ensure_future(self._watch())
        if self._left:
            raise ClientLeft
        # a future and a timer: at a model's pace a task for each delta would cost more than it
        waiting = self._waiting = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _wake, waiting)
        try:
            await waiting
        finally:
            self._waiting = None
            if timer is not None:
                timer.cancel()
        if self._left:
            raise ClientLeft

    async def end(self) -> None:
        """Stop watching the client."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])

    async def _watch(self) -> None:
        gone = asyncio.ensure_future(self._gone())
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait([gone, closing], return_when="FIRST_COMPLETED")
        finally:
            gone.cancel()
            closing.cancel()
        self._left = True
        if self._waiting is not None:
            _wake(self._waiting)

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one answer is to be written. `outcome` of the methods: see RecordedRequest."""

    line: Line
    asks: Directive
    request_id: str
    report: Callable[[dict[str, int]], None] = lambda usage: None

    async def stream(self, answer: Answer, encode: Encoder, headers: Headers) -> str:
        """Write the answer as a stream of frames; return how it ended."""
        await self._be_silent()
        await self.line.start(200, headers)
        if self.asks.hang:
            await self.line.write(b"")
            await self.line.wait(None)
        if self.asks.first_delay:
            await self.line.wait(self.asks.first_delay)
        return await self._write_events(answer, encode)

    async def body(self, answer: Answer, headers: Headers) -> str:
        """Write the answer as one JSON body after the time that its stream would take."""
        asks = self.asks
        await self._be_silent()
        if asks.hang:
            await self.line.wait(None)
        if asks.error_midstream:
            status = _STATUSES.get(asks.error_midstream, 500)
            raise ApiError(status, asks.message or asks.error_midstream)
        pause = asks.first_delay + sum(seconds for _, seconds in asks.delay_after)
        pause += answer.delta_count / asks.rate if asks.rate else 0
        if pause:
            await self.line.wait(pause)
        data = answers.body(answer)
        await self.line.start(200, [*headers, (b"content-length", b"%d" % len(data))])
        self._report("message_delta", answer)
        if asks.cut is None:
            await self.line.write(data, last=True)
        return "answered"

    async def _be_silent(self) -> None:
        if self.asks.silent:
            await self.line.wait(None)

    async def _write_events(self, answer: Answer, encode: Encoder) -> str:
        asks, pending, written = self.asks, bytearray(), 0
        failing_at = min(asks.error_after, answer.delta_count) if asks.error_midstream else -1
        cut_at = -1 if asks.cut is None else min(asks.cut, answer.delta_count)
        pauses, began = dict(asks.delay_after), time.monotonic()
        for event in answers.events(answer):
            counts = event.is_delta or event.type == "message_delta"
            if counts and written in (cut_at, failing_at):
                break
            self._report(event.type, answer)
            if event.is_delta:
                due = began + written / asks.rate if asks.rate else 0.0
                pause = pauses.pop(written, 0.0)
                began += pause
                wait = max(due - time.monotonic(), 0.0) + pause
                if wait:
                    await self._flush(pending)
                    await self.line.wait(wait)
                written += 1
            pending += encode(event.type, event.data)
            if len(pending) > _CHUNK_BYTES:
                await self._flush(pending)
        return await self._finish(pending, encode, written, failing_at, cut_at)

    async def _finish(
        self, pending: bytearray, encode: Encoder, written: int, failing_at: int, cut_at: int
    ) -> str:
        if written == cut_at:
            await self._flush(pending)
            return "answered"
        if written == failing_at:
            kind = self.asks.error_midstream or ""
            message = self.asks.message or "Overloaded"
            pending += encode("error", error_json(kind, message, self.request_id))
        await self.line.write(bytes(pending), last=True)
        if written == failing_at:
            return f"error {_STATUSES.get(self.asks.error_midstream or '', 500)}"
        return "answered"

    def _report(self, event_type: str, answer: Answer) -> None:
        if event_type == "message_start":
            self.report(answer.usage.total(1))
        elif event_type == "message_delta":
            self.report(answer.usage.total(max(1, answer.delta_count)))

    async def _flush(self, pending: bytearray) -> None:
        if pending:
            await self.line.write(bytes(pending))
            pending.clear()


def error_headers(error: ApiError, request_id: str) -> Headers:
    """The headers of a refusal."""
    headers = [
        (b"content-type", b"application/json"),
        (b"request-id", request_id.encode()),
        (
            b"x-should-retry",
            b"true" if error.status in (408, 409, 429) or error.status >= 500 else b"false",
        ),
    ]
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", f"{error.retry_after_seconds:g}".encode()))
    return headers
