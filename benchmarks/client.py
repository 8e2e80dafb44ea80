"""A load generator that costs next to nothing: HTTP/1.1 over one kept connection, raw bytes.

It only looks for the first token and for the end while the clock runs; everything else is read
from the kept bytes afterwards.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from typing import Any

DELTA = re.compile(rb'"content":"[^"]|"type":\s?"text_delta"')
"""A piece of text, in OpenAI's dialect and in the Messages API's."""

WORD = re.compile(rb"word\d+")
FIRST_TOKEN = re.compile(DELTA.pattern + rb'|"arguments":"|"type":\s?"input_json_delta"')
"""The first of an answer that a person or a program would see."""

LAST_CHUNK = b"0\r\n\r\n"
IDLE_SECONDS = 2.0  # uvicorn closes a connection after 5 idle seconds
ANSWER_SECONDS = 90.0


class BenchmarkError(Exception):
    """A server did not do what is being measured, so there is nothing to measure."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer. Times are `time.perf_counter` seconds; `body` is as received,
    chunk sizes included."""

    status: int
    body: bytes
    began_at: float
    first_token_at: float | None
    ended_at: float

    @property
    def first_token_seconds(self) -> float:
        if self.first_token_at is None:
            raise BenchmarkError(f"no token in a {self.status}: {self.body[:400]!r}")
        return self.first_token_at - self.began_at

    @property
    def words(self) -> int:
        """The tokens of a numbered answer: what comes at once is one delta of several."""
        return len(WORD.findall(self.body))

    def events(self) -> list[dict[str, Any]]:
        """The JSON of its server-sent events."""
        lines = [line for line in unchunked(self.body).split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(line[6:]) for line in lines if line != b"data: [DONE]"]


def unchunked(body: bytes) -> bytes:
    """A body out of HTTP/1.1 chunked framing (RFC 9112, section 7.1)."""
    parts, at = [], 0
    while size := int(body[at : (line_end := body.index(b"\r\n", at))], 16):
        parts.append(body[line_end + 2 : line_end + 2 + size])
        at = line_end + 2 + size + 2
    return b"".join(parts)


class Connection:
    """One client: asks, one request after the other. Use as `async with`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._used_at = 0.0

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Drops the connection at once, in mid-answer too."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._reader = self._writer = None

    async def ask(self, path: str, body: dict[str, Any]) -> Exchange:
        """Raises BenchmarkError where the answer is no 200 or never ends."""
        async with asyncio.timeout(ANSWER_SECONDS):
            exchange = await self._exchange(request_bytes(path, body))
        if exchange.status != 200:
            raise BenchmarkError(f"{path} answered {exchange.status}: {exchange.body[:400]!r}")
        return exchange

    async def leave_early(self, path: str, body: dict[str, Any]) -> None:
        """Asks, and is gone at the first byte of the answer."""
        reader, writer = await self._connected()
        writer.write(request_bytes(path, body))
        async with asyncio.timeout(ANSWER_SECONDS):
            await reader.read(1)
        self.close()

    async def status_of(self, path: str, body: dict[str, Any]) -> int:
        """The status of an answer that may be an error."""
        async with asyncio.timeout(ANSWER_SECONDS):
            return (await self._exchange(request_bytes(path, body))).status

    async def _exchange(self, request: bytes) -> Exchange:
        reader, writer = await self._connected()
        began_at = time.perf_counter()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body, first_token_at = await _body(reader, head)
        self._used_at = ended_at = time.perf_counter()
        return Exchange(int(head[9:12]), body, began_at, first_token_at, ended_at)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if time.perf_counter() - self._used_at > IDLE_SECONDS:
            self.close()
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self._reader, self._writer


async def _body(reader: asyncio.StreamReader, head: bytes) -> tuple[bytes, float | None]:
    if length := re.search(rb"content-length: (\d+)", head):
        return await reader.readexactly(int(length[1])), None
    body, first_token_at, searched = bytearray(), None, 0
    while not body.endswith(LAST_CHUNK):
        piece = await reader.read(1 << 18)
        if not piece:
            raise BenchmarkError(f"an answer broke off after {bytes(body[-400:])!r}")
        body += piece
        if first_token_at is None:
            if FIRST_TOKEN.search(body, max(0, searched - 64)):
                first_token_at = time.perf_counter()
            searched = len(body)
    return bytes(body), first_token_at


def request_bytes(path: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"x-api-key: sk-ant-demo\r\nanthropic-version: 2023-06-01\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content
