"""Answers to requests with a `seed`: the same request gets the recorded answer again.

Claude takes no seed, so this is what a seed can honestly promise: within the cache's time, the
same principal's same turn with the same seed (and `n`) is answered with the events that were
recorded the first time, at no cost. `system_fingerprint` stays the same with model and CLI version.
Nothing is written to disk; only answers that reached their end are kept.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace

from core.events import ChoiceEvent, Finished, TextDelta, ThinkingDelta, ToolCallDelta
from core.turn import Turn

MAX_BYTES = 32 * 1024 * 1024
EVENT_BYTES = 200


@dataclass(frozen=True, slots=True)
class _Recorded:
    events: tuple[ChoiceEvent, ...]
    until: float
    size: int


class SeedCache:
    """Recorded answers for `seconds`, the least recently used out first. 0 seconds keep none."""

    def __init__(
        self,
        seconds: float,
        *,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[bytes, _Recorded] = OrderedDict()
        self.size = 0
        """Bytes in use, about."""

    async def answer(
        self, turn: Turn, seed: int, n: int, fresh: AsyncGenerator[ChoiceEvent, None]
    ) -> AsyncGenerator[ChoiceEvent, None]:
        """The recorded events of this turn; else those of `fresh`, which are recorded."""
        key = _key(turn, seed, n)
        async with aclosing(fresh):
            if recorded := self._find(key):
                for item in recorded:
                    yield item
                return
            seen = []
            async for item in fresh:
                seen.append(item)
                yield item
            self._keep(key, tuple(_at_no_cost(item) for item in seen))

    def _find(self, key: bytes) -> tuple[ChoiceEvent, ...] | None:
        found = self._entries.get(key)
        if found is None:
            return None
        if found.until <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return found.events

    def _keep(self, key: bytes, events: tuple[ChoiceEvent, ...]) -> None:
        if key in self._entries or self._seconds <= 0:
            return
        size = sum(map(_size, events))
        self._entries[key] = _Recorded(events, self._clock() + self._seconds, size)
        self.size += size
        while self.size > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        self.size -= self._entries.pop(key).size


def _key(turn: Turn, seed: int, n: int) -> bytes:
    """Whom the answer is for changes nothing of it."""
    request = json.dumps([asdict(replace(turn, user=None)), seed, n], sort_keys=True)
    return hashlib.blake2b(request.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _at_no_cost(item: ChoiceEvent) -> ChoiceEvent:
    if isinstance(item.event, Finished):
        return ChoiceEvent(item.choice, replace(item.event, cost_usd=0.0))
    return item


def _size(item: ChoiceEvent) -> int:
    match item.event:
        case TextDelta(text) | ThinkingDelta(text):
            return EVENT_BYTES + 4 * len(text)
        case ToolCallDelta(_, text):
            return EVENT_BYTES + 4 * len(text)
        case _:
            return EVENT_BYTES
