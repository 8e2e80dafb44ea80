"""What a process writes is seen at once and waits as text, up to a bound."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from engine.read_ahead import LineTooLong, ReadAhead

from engine import read_ahead


def lines(numbers: range) -> bytes:
    return b"".join(json.dumps({"n": number}).encode() + b"\n" for number in numbers)


@asynccontextmanager
async def reading(
    *pieces: bytes, ends: bool = True
) -> AsyncIterator[tuple[ReadAhead, list[dict[str, Any]], asyncio.StreamReader]]:
    """A reader of these pieces, each read on its own, and what it has seen so far."""
    stream, seen = asyncio.StreamReader(), list[dict[str, Any]]()
    ahead = ReadAhead(stream, seen.append)
    task = asyncio.create_task(ahead.run())
    for piece in pieces:
        stream.feed_data(piece)
        await settled()
    if ends:
        stream.feed_eof()
        await settled()
    yield ahead, seen, stream
    task.cancel()


async def settled() -> None:
    """Every task has gone as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def taken(ahead: ReadAhead) -> list[dict[str, Any]]:
    found = []
    while (message := await ahead.take()) is not None:
        found.append(message)
    return found


async def test_lines_are_seen_before_anybody_takes_them_and_come_in_order() -> None:
    wanted = [{"n": number} for number in range(100)]
    async with reading(lines(range(60)), lines(range(60, 100))) as (ahead, seen, _):
        assert seen == wanted
        assert await taken(ahead) == wanted
        assert await ahead.take() is None


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_lines_may_come_in_pieces_of_any_size(size: int) -> None:
    text = lines(range(20)) + b'{"n": "no line"}'
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    async with reading(*pieces) as (ahead, seen, _):
        assert await taken(ahead) == seen == [{"n": number} for number in range(20)]


async def test_what_is_no_protocol_is_left_out_and_does_not_wait() -> None:
    garbage = b"Warning\n\n[1]\nnull\n\x00\xff\n{broken\n"
    async with reading(garbage, garbage + lines(range(1)) + garbage) as (ahead, seen, _):
        assert await taken(ahead) == seen == [{"n": 0}]


async def test_it_stops_reading_at_its_bound_until_something_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(read_ahead, "AHEAD_BYTES", 50)
    pieces = [lines(range(n, n + 5)) for n in range(0, 40, 5)]  # 44 bytes each and more
    async with reading(*pieces) as (ahead, seen, _):
        assert len(seen) == 10
        assert await taken(ahead) == [{"n": number} for number in range(40)]


async def test_what_a_dead_process_left_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "AHEAD_BYTES", 0)
    async with reading(lines(range(1)), lines(range(1, 3))) as (ahead, seen, stream):
        assert (len(seen), stream.at_eof()) == (1, False)
        ahead.release()
        await settled()
        assert (len(seen), stream.at_eof()) == (3, True)


async def test_a_line_without_an_end_is_an_error_after_what_came_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(read_ahead, "LINE_LIMIT_BYTES", 1000)
    async with reading(lines(range(1)), b"x" * 1001, ends=False) as (ahead, _, _):
        assert await ahead.take() == {"n": 0}
        for _ in range(2):
            with pytest.raises(LineTooLong):
                await ahead.take()
