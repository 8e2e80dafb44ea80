"""Pure ASGI: how large, how deep and how slow a request may be.

A body is read here, whole and within a time, before the app sees the request: what is too large or
too slow never reaches a parser, with or without a Content-Length. Compressed bodies are refused, so
that none can swell. The size of a request's head, and connections that never send one, are the
concern of web/http_protocol.py, too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.settings import Settings
from core.errors import (
    GatewayError,
    HeadersTooLarge,
    InvalidRequest,
    Overloaded,
    RequestTimeout,
    RequestTooLarge,
    UnsupportedEncoding,
)
from web.errors import error_response

BODIES_AT_ONCE = 8
"""All bodies that are being read together may take as much memory as this many of the largest."""

DRAIN_SECONDS = 2.0
"""How long a refused body is read on, so that a client which only listens after it has sent all
learns why."""

HALF_ESCAPES = (b"\\ud", b"\\uD")
"""How each half of a surrogate pair begins. An emoji is such a pair too, so this is only a hint."""

LISTS = {"messages": "max_messages", "input": "max_messages"} | dict.fromkeys(
    ("tools", "functions"), "max_tools"
)


class Bounds:
    """Answers 408, 413, 415, 431 and 503 itself; everything else goes on to `app`."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._settings = settings
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            if self._has_body(scope):
                await self._with_body(scope, receive, send)
            else:
                await self.app(scope, receive, send)
        except Refused as refused:
            await _refuse(refused.error, scope, receive, send)

    def _has_body(self, scope: Scope) -> bool:
        """Raises Refused for what its head already rules out."""
        size, declared, has_body = len(scope.get("raw_path") or b""), 0, False
        size += len(scope.get("query_string") or b"")
        for name, value in scope["headers"]:
            size += len(name) + len(value) + len(b": \r\n")
            if name == b"content-length":
                declared = int(value) if value.isdigit() else 0
                has_body = has_body or declared > 0
            elif name == b"transfer-encoding":
                has_body = True
            elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                raise Refused(
                    UnsupportedEncoding(
                        "Content-Encoding is not supported: send the body uncompressed."
                    )
                )
        if size > self._settings.max_header_bytes:
            most = self._settings.max_header_bytes
            raise Refused(HeadersTooLarge(f"URL and headers exceed {most} bytes."))
        if declared > self._settings.max_request_bytes:
            raise Refused(self._too_large())
        return has_body

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("state", {}).get("principal", self) is None:
            # Without a key the answer is a 401, and the body is not read.
            await self.app(scope, Replay(b"", receive), send)
            return
        body = Body()
        try:
            await self._read(body, receive)
            if body.is_complete:
                await self.app(scope, Replay(body.taken(), receive), send)
        finally:
            self._held_bytes -= body.size

    async def _read(self, body: Body, receive: Receive) -> None:
        """Leaves the body incomplete where the client went away."""
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                while not body.is_complete:
                    message = await receive()
                    if message["type"] != "http.request":
                        return
                    self._held_bytes += body.add(message)
                    self._check(body)
        except TimeoutError:
            seconds = self._settings.request_timeout
            raise Refused(
                RequestTimeout(f"Timed out after {seconds:g} s while reading the request body.")
            ) from None

    def _check(self, body: Body) -> None:
        if body.size > self._settings.max_request_bytes:
            raise Refused(self._too_large())
        if self._held_bytes > BODIES_AT_ONCE * self._settings.max_request_bytes:
            raise Refused(Overloaded("Too many large requests at once.", retry_after=1))

    def _too_large(self) -> RequestTooLarge:
        most = self._settings.max_request_bytes
        return RequestTooLarge(f"The request body exceeds {most} bytes.")


class Refused(Exception):
    """Carries the answer to a request that the app shall not see."""

    def __init__(self, error: GatewayError) -> None:
        super().__init__(error.message)
        self.error = error


class Body:
    """A body that is being read; `size` in bytes stays when it is handed on."""

    def __init__(self) -> None:
        self.size = 0
        self.is_complete = False
        self._chunks: list[bytes] = []

    def add(self, message: Message) -> int:
        chunk: bytes = message.get("body", b"")
        self._chunks.append(chunk)
        self.size += len(chunk)
        self.is_complete = not message.get("more_body", False)
        return len(chunk)

    def taken(self) -> bytes:
        whole = b"".join(self._chunks)
        self._chunks.clear()
        return whole


class Replay:
    """A `receive` that gives the body in one piece, then what comes after it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _refuse(error: GatewayError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers, reads on for a while, and closes the connection."""
    answer = error_response(error, scope["path"])
    answer.headers["connection"] = "close"
    status, headers = answer.status_code, answer.raw_headers
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    patience = 0 if isinstance(error, RequestTimeout) else DRAIN_SECONDS
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while (await receive()).get("more_body", False):
                pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def check_shape(request: Request) -> None:
    """A dependency of every route: raises InvalidRequest for a JSON body that is nested too deeply,
    has too long lists of messages or tools, or text that is not Unicode. Reads what FastAPI parsed
    already, if it did."""
    body = getattr(request, "_json", None)
    if body is None:
        return
    settings = request.app.state.gateway.settings
    if is_deeper_than(settings.max_nesting, body):
        raise InvalidRequest(f"The body is nested deeper than {settings.max_nesting} levels.")
    if isinstance(body, dict):
        for name, setting in LISTS.items():
            most = getattr(settings, setting)
            if isinstance(body.get(name), list) and len(body[name]) > most:
                raise InvalidRequest(f"'{name}' has more than {most} entries.", param=name)
    raw = await request.body()
    if any(escape in raw for escape in HALF_ESCAPES) and not is_unicode(body):
        raise InvalidRequest("The request body contains an unpaired surrogate.")


def is_unicode(value: Any) -> bool:
    """Whether all texts can be encoded: JSON's escapes can write half of a character."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_deeper_than(levels: int, value: Any) -> bool:
    """Level by level, since a recursive walk would be the accident that this prevents."""
    level = [value]
    for _ in range(levels):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return any(isinstance(node, dict | list) for node in level)


def _children(node: Any) -> Iterable[Any]:
    found = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [child for child in found if isinstance(child, dict | list)]
