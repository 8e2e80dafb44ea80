"""uvicorn's HTTP protocol with an end to what a client may do before its request is known.

uvicorn itself waits for a request's head indefinitely and buffers whatever arrives in memory.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import uuid4

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from config.settings import Settings
from core.errors import GatewayError, HeadersTooLarge, Overloaded, RequestTimeout
from web.errors import error_response
from web.middleware.request_log import RequestLog

log = logging.getLogger(__name__)

HEAD_SECONDS = 20.0
KEEP_ALIVE_SECONDS = 75
"""Longer than the idle time of usual proxies' connections, which otherwise lose requests."""


def server_options(settings: Settings) -> dict[str, Any]:
    """What `uvicorn.Config` gets. The protocol takes its bounds from uvicorn's own fields,
    because the reloader hands the configuration to another process."""
    return {
        "http": BoundedProtocol,
        "ws": "none",
        "h11_max_incomplete_event_size": settings.max_header_bytes,
        "limit_concurrency": settings.max_connections,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": settings.shutdown_grace_seconds,
        "lifespan": "on",
        "proxy_headers": False,  # TRUSTED_PROXIES says whom to believe
        "server_header": False,
        "access_log": False,
        "log_config": None,
    }


STALLED_SECONDS = 120.0
"""A client that takes nothing of a waiting answer for so long is gone, or as good as."""


class Unbounded(int):
    """How much may come of an answer to HTTP/1.0, which knows no chunks: its end is that of the
    connection. uvicorn counts down a length, and this one never changes."""

    def __lt__(self, other: int) -> bool:
        return False

    def __sub__(self, other: int) -> Unbounded:
        return self

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


class BoundedProtocol(HttpToolsProtocol):
    """A request's head must come within HEAD_SECONDS and `max_header_bytes`. Over
    `max_connections` the one that has waited longest without a request makes room; where all are
    in use, the new one gets a 503 and is closed. A reader that stalls is cut off."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._most_connections = self.limit_concurrency
        self.limit_concurrency = None  # uvicorn's own answer is plain text
        self._most_head_bytes = self.config.h11_max_incomplete_event_size or 65536
        self._head_bytes = 0
        self._in_head = True
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        # of all connections of this server, the longest without a request first
        self._idle: dict[BoundedProtocol, None] = vars(self.server_state).setdefault("idle", {})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._most_connections and len(self.connections) > self._most_connections:
            self._make_room()
        self._idle[self] = None
        self._start_timer()

    def _make_room(self) -> None:
        longest = next(iter(self._idle), None)
        if longest is None:
            self.app = too_many_connections
        else:
            del self._idle[longest]
            longest.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._idle.pop(self, None)
        self._stop_timer()
        self._moves()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._moves()
        super().resume_writing()

    def _moves(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            self._start_timer()
        super().data_received(data)
        if self._in_head and self._head_bytes > self._most_head_bytes:
            most = self._most_head_bytes
            self._refuse(HeadersTooLarge(f"URL and headers exceed {most} bytes."))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._idle.pop(self, None)
        self._stop_timer()
        self.scope["state"]["abort"] = self.transport.abort
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            self.cycle.chunked_encoding = False
            self.cycle.expected_content_length = Unbounded()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0
        self._stop_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self._idle[self] = None
        if not self._in_head:  # the rest of a body that is not read
            self._start_timer()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._is_answering():  # early bytes of the next request: a stray line break
            self._start_timer()
            return
        message = f"Timed out after {HEAD_SECONDS:g} s while reading the request."
        self._refuse(RequestTimeout(message))

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: GatewayError) -> None:
        """Nothing of the request is known, so the answer is written by hand."""
        if self.transport.is_closing() or self._is_answering():
            self.transport.close()
            return
        log.info("a connection was closed: %s", error.code)
        answer = error_response(error)
        headers = [b": ".join(header) for header in answer.raw_headers]
        headers += [f"x-request-id: req_{uuid4().hex}".encode(), b"connection: close"]
        lines = [f"HTTP/1.1 {answer.status_code} Refused".encode(), *headers, b"", b""]
        self.transport.write(b"\r\n".join(lines) + bytes(answer.body))
        self.transport.close()


async def _too_many_connections(scope: Scope, receive: Receive, send: Send) -> None:
    error = Overloaded("Too many open connections.", retry_after=1)
    answer = error_response(error, scope)
    answer.headers["connection"] = "close"
    await answer(scope, receive, send)


too_many_connections = RequestLog(_too_many_connections)
