"""Which conversation a request means: what is stored, and what the client sent.

Most clients send only what is new; many send all that they show. Both are understood by comparing
what a client can send back of a message: role, text, media, calls and results. Pure functions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from core.conversation import Message, merged
from core.transcript import comparable


@dataclass(frozen=True, slots=True)
class History:
    """The conversation with the request's messages at its end. The first `keep` of the stored
    messages stay as they are; `rewritten`: some stored ones do not stay."""

    messages: tuple[Message, ...]
    keep: int
    rewritten: bool = False

    @property
    def new(self) -> tuple[Message, ...]:
        return self.messages[self.keep :]


def reconcile(stored: Sequence[Message], asked: Sequence[Message]) -> History:
    """`asked` ends with the user's message; both are without neighbours of one role.

    A request without any answer in it is new as a whole. One that repeats the stored history, or
    the end of it, adds what comes after. One that begins as the stored history does and goes on
    otherwise was edited there: the client's version wins from that place on. One that shares
    nothing replaces everything.
    """
    if not any(message.role == "assistant" for message in asked):
        return _appended(stored, asked)
    before, now = [comparable(m) for m in stored], [comparable(m) for m in asked]
    same = _common_start(before, now)
    if same == len(stored) and same < len(asked):
        return _appended(stored, asked[same:])
    if same:
        keep = min(same, len(asked) - 1)
        return History((*stored[:keep], *asked[keep:]), keep, rewritten=True)
    overlap = _overlap(before, now)
    if any(message.role == "assistant" for message in asked[:overlap]):
        return _appended(stored, asked[overlap:])
    return History(tuple(asked), 0, rewritten=bool(stored))


def digest(messages: Sequence[Message]) -> str:
    """Identifies what a client sent, to recognise a repeated request."""
    text = "\n".join(comparable(message) for message in messages)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _appended(stored: Sequence[Message], new: Sequence[Message]) -> History:
    """A history that ends with the user's words (a fork can) goes on in the same message."""
    keep = len(stored) - (bool(stored) and stored[-1].role == new[0].role)
    return History(merged((*stored, *new)), keep)


def _common_start(before: Sequence[str], now: Sequence[str]) -> int:
    pairs = zip(before, now, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(before), len(now)))


def _overlap(before: Sequence[str], now: Sequence[str]) -> int:
    """How many messages at the end of `before` begin `now`, which has more than those."""
    longest = min(len(before), len(now) - 1)
    return next((n for n in range(longest, 0, -1) if before[-n:] == now[:n]), 0)
