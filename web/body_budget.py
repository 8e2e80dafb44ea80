"""How much memory the bodies that are being read and answered may take, together and by key."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.errors import Overloaded

SMALL_BYTES = 128 * 1024
"""Bodies up to this size are always taken: what they need is bounded by the connections."""

WAIT_SECONDS = 10.0


class BodyBudget:
    """Bytes of large bodies: `total`, and half of it for one key, so that no key keeps the others
    out. Who finds no room waits a while, unread: that costs the client's own memory."""

    def __init__(self, total: int, wait_seconds: float = WAIT_SECONDS) -> None:
        self._total, self._of_one = total, max(1, total // 2)
        self._wait_seconds = wait_seconds
        self._held: Counter[str] = Counter()
        self._changed = asyncio.Condition()

    @property
    def held(self) -> int:
        return self._held.total()

    @asynccontextmanager
    async def room(self, key: str, size: int) -> AsyncIterator[Room]:
        """Room for a body of `size` bytes. Raises Overloaded where there is none in time."""
        room = Room(self, key)
        try:
            await room.resize(size)
            yield room
        finally:
            await room.resize(0)

    async def take(self, key: str, size: int) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds), self._changed:
                await self._changed.wait_for(lambda: self._fits(key, size))
                self._held[key] += size
        except TimeoutError:
            raise Overloaded("Too many large requests at once.", retry_after=1) from None

    def _fits(self, key: str, size: int) -> bool:
        """One alone always does, however large."""
        own = self._held[key]
        fits_own = not own or own + size <= self._of_one
        return fits_own and (not self.held or self.held + size <= self._total)

    async def give(self, key: str, size: int) -> None:
        async with self._changed:
            self._held[key] -= size
            if not self._held[key]:
                del self._held[key]
            self._changed.notify_all()


class Room:
    """What one body holds of the budget: `size` bytes, 0 while it is small."""

    def __init__(self, budget: BodyBudget, key: str) -> None:
        self._budget = budget
        self._key = key
        self.size = 0

    async def resize(self, size: int) -> None:
        """Raises Overloaded where it grows and there is no room in time."""
        size = 0 if size <= SMALL_BYTES else size
        if size > self.size:
            await self._budget.take(self._key, size - self.size)
        elif size < self.size:
            await self._budget.give(self._key, self.size - size)
        self.size = size
