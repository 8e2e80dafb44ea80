"""Pure ASGI: how large, how deep and how slow a request may be.

A body is read here, whole and within a time, before the app sees the request: what is too large or
too slow never reaches a parser, with or without a Content-Length. Compressed bodies are refused, so
that none can swell. The size of a request's head, and connections that never send one, are the
concern of web/http_protocol.py, too.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.large_work import in_turn
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
from web.body_budget import SMALL_BYTES, BodyBudget, Room
from web.errors import error_response
from web.json_bounds import odd_number, outline

BODIES_AT_ONCE = 4
"""All large bodies that are held together may take as much memory as this many of the largest."""

INLINE_BYTES = 64 * 1024
"""A larger body is checked in a thread, so that the event loop does not wait."""

HALF_ESCAPE = re.compile(rb"\\u[dD]")
"""How each half of a surrogate pair begins. An emoji is such a pair too, so this is only a hint."""

UNTYPED = frozenset(
    {"", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream"}
)
"""What programs send JSON as that do not say what it is; curl's `-d` is one."""

LISTS = {"messages": "max_messages", "input": "max_messages"} | dict.fromkeys(
    ("tools", "functions"), "max_tools"
)


class Bounds:
    """Answers 400, 408, 413, 415, 431 and 503 itself; everything else goes on to `app`."""

    def __init__(self, app: ASGIApp, settings: Settings, budget: BodyBudget | None = None) -> None:
        self.app = app
        self._settings = settings
        self._budget = budget or BodyBudget(BODIES_AT_ONCE * settings.max_request_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            declared = self._declared(scope)
            if declared == 0:
                await self.app(scope, receive, send)
            elif scope.get("state", {}).get("principal", self) is None:
                # Without a key it is a 401, before anything is read.
                await self.app(scope, Replay(b"", receive), send)
            else:
                await self._with_body(declared, scope, receive, send)
        except Refused as refused:
            await _refuse(refused.error, scope, receive, send)

    def _declared(self, scope: Scope) -> int | None:
        """The body's length, None where it is not said. Raises Refused for what the head already
        rules out."""
        size, declared = len(scope.get("raw_path") or b""), 0
        is_chunked = False
        size += len(scope.get("query_string") or b"")
        for name, value in scope["headers"]:
            size += len(name) + len(value) + len(b": \r\n")
            if name == b"content-length":
                declared = int(value) if value.isdigit() else 0
            elif name == b"transfer-encoding":
                is_chunked = True
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
        return None if is_chunked else declared

    async def _with_body(
        self, declared: int | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        principal = scope.get("state", {}).get("principal")
        body = Body()
        try:
            async with self._budget.room(getattr(principal, "name", ""), declared or 0) as room:
                await self._read(body, room, receive)
                if not body.is_complete:
                    return
                await room.resize(body.size)
                replay = await self._checked(body.taken(), scope, receive)
                await self.app(scope, replay, send)
        except Overloaded as error:
            raise Refused(error) from None

    async def _read(self, body: Body, room: Room, receive: Receive) -> None:
        """Leaves the body incomplete where the client went away."""
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                while not body.is_complete:
                    message = await receive()
                    if message["type"] != "http.request":
                        return
                    body.add(message)
                    if body.size > self._settings.max_request_bytes:
                        raise Refused(self._too_large())
                    if body.size > room.size > 0 or body.size > SMALL_BYTES > room.size:
                        # of unsaid length: it may become as large as any
                        await room.resize(self._settings.max_request_bytes)
        except TimeoutError:
            seconds = self._settings.request_timeout
            late = RequestTimeout(f"Timed out after {seconds:g} s while reading the request body.")
            raise Refused(late) from None

    async def _checked(self, raw: bytes, scope: Scope, receive: Receive) -> Replay:
        """The body for the app, which lets go of it. Raises Refused for more values, or other
        numbers, than JSON may have here."""
        _name_json(scope, raw)
        if is_json(scope):
            await self._check_json(raw)
        return Replay(raw, receive)

    async def _check_json(self, raw: bytes) -> None:
        if len(raw) <= INLINE_BYTES:
            error = self._json_error(raw)
        else:
            error = await in_turn(self._json_error, raw)
        if error is not None:
            raise Refused(error)

    def _json_error(self, raw: bytes) -> InvalidRequest | None:
        most = self._settings.max_json_values
        found = outline(raw, most)
        if found.values > most:
            return InvalidRequest(f"The body may hold {most} JSON values at most.")
        if found.has_odd_number and (number := odd_number(raw)) is not None:
            message = f"We could not parse the JSON body of your request: {number} is not JSON."
            return InvalidRequest(message, code="invalid_json")
        return None

    def _too_large(self) -> RequestTooLarge:
        most = self._settings.max_request_bytes
        return RequestTooLarge(f"The request body exceeds {most} bytes.")


def is_json(scope: Scope) -> bool:
    """Whether the body says that it is JSON."""
    kind = _content_type(scope)
    return kind.startswith("application/") and kind.endswith(("/json", "+json"))


def _content_type(scope: Scope) -> str:
    return Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()


def _name_json(scope: Scope, raw: bytes) -> None:
    """Gives a body that looks like JSON its type, where a program left it out or its HTTP client
    put in a form's. A browser's request keeps its own: a page may send a form anywhere without
    asking, and must not be able to send JSON so."""
    headers = Headers(scope=scope)
    is_browser = "origin" in headers or "sec-fetch-site" in headers
    if scope["method"] != "POST" or is_browser or _content_type(scope) not in UNTYPED:
        return
    if raw.lstrip()[:1] in (b"{", b"["):
        others = [header for header in scope["headers"] if header[0] != b"content-type"]
        scope["headers"] = [*others, (b"content-type", b"application/json")]


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
    """Answers and closes the connection."""
    answer = error_response(error, scope)
    answer.headers["connection"] = "close"
    await answer(scope, receive, send)


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
    if HALF_ESCAPE.search(raw) and not is_unicode(body):
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
