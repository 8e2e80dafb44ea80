"""Request ids, one access line for each request, and 500 for a bug."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.logs import current_request_id
from core.errors import GatewayError
from web.anthropic import is_anthropics
from web.errors import error_response

CLIENT_REQUEST_ID_LENGTH = 512
CLIENT_LEFT = 499
"""Logged where the client left before the answer began, as nginx writes it."""
access_log = logging.getLogger("access")
log = logging.getLogger(__name__)


class RequestLog:
    """Pure ASGI: `x-request-id` on every answer, one access line per request, 500 for a bug.

    It is the outermost middleware, and it answers what no handler caught itself: Starlette's own
    catch-all stands outside every middleware, where an answer would get no request id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, send)
        token = current_request_id.set(exchange.request_id)
        try:
            await self.app(scope, receive, exchange.send)
        except Exception:
            log.exception("Unexpected error in %s %s", scope["method"], exchange.path)
            if exchange.status is None:
                error = GatewayError("The server had an error while processing your request.")
                await error_response(error, scope)(scope, receive, exchange.send)
        finally:
            exchange.log()
            current_request_id.reset(token)


class Exchange:
    """One request and what is known of its answer so far."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.request_id = f"req_{uuid4().hex}"
        self.client_request_id = client_request_id(Headers(scope=scope))
        self.is_anthropics = is_anthropics(scope)
        self.status: int | None = None
        self.method: str = scope["method"]
        self.path = quote(scope["path"])  # no line breaks in the log; the query may hold keys
        self._send = send
        self._started = perf_counter()
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._state["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            if self.is_anthropics:
                headers["request-id"] = self.request_id
            if self.client_request_id:
                headers["x-client-request-id"] = self.client_request_id
        await self._send(message)

    def log(self) -> None:
        duration_ms = round((perf_counter() - self._started) * 1000, 1)
        status = self.status or CLIENT_LEFT
        fields = {
            "method": self.method,
            "path": self.path,
            "status": status,
            "duration_ms": duration_ms,
            "request_id": self.request_id,
            "client_request_id": self.client_request_id,
            "key": getattr(self._state.get("principal"), "key_id", None),
        }
        line = (self.method, self.path, status, duration_ms)
        access_log.info("%s %s %s %s ms", *line, extra={"fields": fields})


def client_request_id(headers: Headers) -> str | None:
    """The caller's `X-Client-Request-Id`, where it is safe to echo: printable ASCII, 512 at most
    (https://platform.openai.com/docs/api-reference/debugging-requests)."""
    value = headers.get("x-client-request-id", "")
    safe = value.isascii() and value.isprintable() and len(value) <= CLIENT_REQUEST_ID_LENGTH
    return value if value and safe else None
