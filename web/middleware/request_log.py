"""Request ids, one access line for each request, and 500 for a bug."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import perf_counter
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.logs import begin_notes, current_request_id
from core.errors import GatewayError
from rate_limiter import group_of
from web.anthropic import is_anthropics
from web.errors import error_response

CLIENT_REQUEST_ID_LENGTH = 512
CLIENT_LEFT = 499
"""Logged where the client left before the answer began, as nginx writes it."""
PROBED = frozenset({"/health", "/health/ready"})
"""Asked every few seconds by whatever watches the server: logged at DEBUG while all is well. So is
what the page at / reads."""

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
        exchange.notes = begin_notes()
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
        self.notes: dict[str, Any] = {}
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
        principal = self._state.get("principal")
        fields = {
            "method": self.method,
            "path": self.path,
            "status": status,
            "duration_ms": duration_ms,
            "request_id": self.request_id,
            "client_request_id": self.client_request_id,
            "key": getattr(principal, "key_id", None),
            "key_name": getattr(principal, "name", None),
            **self.notes,
        }
        is_read = self.method == "GET" and group_of(self.path) == "page"
        is_routine = self.path in PROBED or is_read
        level = logging.DEBUG if is_routine and status < 400 else logging.INFO
        access_log.log(level, "%s", described(fields), extra={"fields": fields})


def described(fields: Mapping[str, Any]) -> str:
    """`POST /v1/chat/completions 200 1.24 s, alice, claude-sonnet-5-5, 812 + 40 tokens, $0.0031,
    first token 312 ms`: what is not known is left out."""
    milliseconds = fields["duration_ms"]
    took = f"{milliseconds:g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.2f} s"
    parts = [f"{fields['method']} {fields['path']} {fields['status']} {took}"]
    if fields.get("key"):
        parts.append(fields["key_name"])
    if model := fields.get("model"):
        parts.append(model)
    if "prompt_tokens" in fields:
        parts.append(f"{fields['prompt_tokens']} + {fields['completion_tokens']} tokens")
    if (cost := fields.get("cost_usd")) is not None:
        parts.append(f"${cost:.4f}")
    if "first_token_ms" in fields:
        parts.append(f"first token {fields['first_token_ms']} ms")
    return ", ".join(parts)


def client_request_id(headers: Headers) -> str | None:
    """The caller's `X-Client-Request-Id`, where it is safe to echo: printable ASCII, 512 at most
    (https://platform.openai.com/docs/api-reference/debugging-requests)."""
    value = headers.get("x-client-request-id", "")
    safe = value.isascii() and value.isprintable() and len(value) <= CLIENT_REQUEST_ID_LENGTH
    return value if value and safe else None
