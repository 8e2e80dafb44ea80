"""What a JSON body may hold, seen in its bytes: how many values, and only numbers that JSON has.

A body within its size can still hold millions of values, each of which costs a hundred bytes and
some microseconds once it is parsed. So they are counted before.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

SLICE_BYTES = 64 * 1024
"""Looked at in one go, less than a millisecond; between two slices other threads run."""

NUMBER_BYTES = 320
"""The end of a slice that is looked at again: a number may go on in the next."""

SEPARATORS = (b",", b"[", b"{")
"""Before each value of a list and each member of an object stands one of them."""

ODD_NUMBER = re.compile(rb"NaN|Infinity|[0-9][eE]\+?0*[1-9][0-9]{2}|[0-9]{300}")
"""May be more than a double can hold: only a hint."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known of a JSON text before it is parsed; of one with too many values no more than
    that."""

    values: int
    has_odd_number: bool


def outline(body: bytes, most: int) -> Outline:
    """Ends where there are more than `most` values. What is no JSON has some outline, too."""
    values, is_odd, tail = 1, False, b""
    for text in _outside_of_strings(body):
        values += sum(map(text.count, SEPARATORS))
        if values > most:
            break
        is_odd = is_odd or ODD_NUMBER.search(tail + text) is not None
        tail = (tail + text)[-NUMBER_BYTES:]
    return Outline(values, is_odd)


def _outside_of_strings(body: bytes) -> Iterator[bytes]:
    inside = 0
    for piece in _slices(body):
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = piece.split(b'"')
        yield b"".join(parts[inside::2])
        inside ^= (len(parts) - 1) & 1


def _slices(body: bytes) -> Iterator[bytes]:
    """Never cut within an escape."""
    at = 0
    while at < len(body):
        end = at + SLICE_BYTES
        while body[end - 1 : end] == b"\\":
            end += 1
        yield body[at:end]
        at = end


def odd_number(body: bytes) -> str | None:
    """A number of a JSON text that JSON or a double has not (`NaN`, `1e400`), None where there is
    none, or no JSON."""
    try:
        json.loads(body, parse_constant=_refuse, parse_float=_finite)
    except _OddNumber as odd:
        return odd.text
    except (ValueError, RecursionError):
        return None
    return None


class _OddNumber(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def _refuse(name: str) -> NoReturn:
    raise _OddNumber(name)


def _finite(text: str) -> Any:
    value = float(text)
    if math.isinf(value):
        raise _OddNumber(text[:32])
    return value
