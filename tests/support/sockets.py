"""Plain connections, for clients that do what no library would."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

TINY_BUFFER_BYTES = 4096


@asynccontextmanager
async def connections(
    url: str, count: int = 1, *, tiny: bool = False
) -> AsyncIterator[list[Connection]]:
    """So many connections to a server, dropped in the end. With `tiny` buffers a client that does
    not read is noticed at once."""
    parts = urlsplit(url)
    opened: list[Connection] = []
    try:
        for _ in range(count):
            plain = socket.socket()
            if tiny:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TINY_BUFFER_BYTES)
            plain.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(plain, (parts.hostname, parts.port))
            opened.append(await asyncio.open_connection(sock=plain, limit=TINY_BUFFER_BYTES))
        yield opened
    finally:
        for _, writer in opened:
            writer.transport.abort()


def head(path: str, length: int | None, *headers: str, version: str = "1.1") -> bytes:
    """The head of a POST of JSON; without a length it is chunked."""
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    lines = [f"POST {path} HTTP/{version}", "host: localhost", "content-type: application/json"]
    return "\r\n".join([*lines, size, *headers, "", ""]).encode()


def request(path: str, body: Any, *headers: str, version: str = "1.1") -> bytes:
    """A whole POST of JSON."""
    content = json.dumps(body).encode()
    return head(path, len(content), *headers, version=version) + content
