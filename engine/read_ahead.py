"""What a process wrote and nobody took yet: read at once, kept as text, bounded in bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

Inspector = Callable[[dict[str, Any]], None]

CHUNK_BYTES = 64 * 1024
"""As much as a pipe holds."""

LINE_LIMIT_BYTES = 64 * 1024 * 1024
AHEAD_BYTES = 64 * 1024 * 1024
"""More than the longest answer of any model. Beyond it the pipe slows the process down."""


class LineTooLong(Exception):
    """The process wrote a line over LINE_LIMIT_BYTES."""


class ReadAhead:
    """The JSON objects of a stream's lines, inspected when they are read, taken whenever.

    A client that reads slowly must not keep us from stopping a process in time, so `run` reads on
    up to AHEAD_BYTES. What waits stays the text that it came in, which is a tenth of its size as
    objects, and is parsed once more when its turn comes.
    """

    def __init__(self, stream: asyncio.StreamReader, inspect: Inspector) -> None:
        self._stream = stream
        self._inspect = inspect
        self._blocks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting_bytes = 0
        self._room = asyncio.Event()
        self._released = False
        self._lines: Iterator[bytes] = iter(())
        self._failure: LineTooLong | None = None

    async def run(self) -> None:
        """Reads to the end of the stream."""
        try:
            async for block in _whole_lines(self._stream):
                kept = b"\n".join([line for line in block.split(b"\n") if self._is_message(line)])
                self._waiting_bytes += len(kept)
                self._blocks.put_nowait(kept)
                await self._has_room()
        except LineTooLong as error:
            self._failure = error
        finally:
            self._blocks.put_nowait(None)

    def _is_message(self, line: bytes) -> bool:
        """Whether it is part of the protocol, which the CLI's own notices are not."""
        try:
            message = json.loads(line)
        except ValueError:
            return False
        if not isinstance(message, dict):
            return False
        self._inspect(message)
        return True

    async def _has_room(self) -> None:
        while self._waiting_bytes > AHEAD_BYTES and not self._released:
            self._room.clear()
            await self._room.wait()

    def release(self) -> None:
        """The process is gone: reads the little that it left, whatever waits."""
        self._released = True
        self._room.set()

    async def take(self) -> dict[str, Any] | None:
        """The next object; None, again and again, after the last. Raises LineTooLong."""
        while True:
            for line in self._lines:
                message: dict[str, Any] = json.loads(line)
                return message
            block = await self._blocks.get()
            if block is None:
                self._blocks.put_nowait(None)
                if self._failure is not None:
                    raise self._failure
                return None
            self._waiting_bytes -= len(block)
            self._room.set()
            self._lines = iter(block.split(b"\n") if block else ())


async def _whole_lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """What was read, cut behind its last line break. Raises LineTooLong."""
    pending = bytearray()
    while chunk := await stream.read(CHUNK_BYTES):
        begun, newline, rest = chunk.rpartition(b"\n")
        if newline:
            yield bytes(pending + begun)
            pending = bytearray(rest)
        else:
            pending += chunk
        if len(pending) > LINE_LIMIT_BYTES:
            raise LineTooLong
