"""Pure ASGI: a client that is answered before its body was read still gets the answer.

A connection that is closed while its client sends is reset, and the answer is lost with it. So the
end of such an answer waits until the rest has been read, or for a while.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRAIN_SECONDS = 2.0
REQUEST_TIMEOUT = 408
"""The error for a client that sends too slowly."""


class UnreadBodies:
    """Reads on, for DRAIN_SECONDS at most, what the app left unread of a request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _announces_body(scope):
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        await self.app(scope, exchange.receive, exchange.send)


def _announces_body(scope: Scope) -> bool:
    """One that waits for a `100 Continue` is never sent, where the answer comes first."""
    names = dict(scope["headers"])
    if b"expect" in names:
        return False
    return b"transfer-encoding" in names or names.get(b"content-length", b"0") != b"0"


class _Exchange:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._is_read = False
        self._status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not is_last or self._is_read or self._status == REQUEST_TIMEOUT:
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._is_read:
                    await self.receive()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
