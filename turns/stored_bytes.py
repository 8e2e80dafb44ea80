"""How much a key may store."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from core.errors import StoreFull
from stores.protocols import SessionStore
from stores.response_store import ResponseStore

FRESH_SECONDS = 30.0
MOST_KEYS = 1_000


class StoredBytes:
    """Bounds what one key's sessions, responses and conversations take together, in bytes. The sum
    is looked up every 30 seconds; what this server lets pass meanwhile is added to it."""

    def __init__(
        self,
        sessions: SessionStore,
        responses: ResponseStore,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._responses = responses
        self._most = most
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def check(self, owner: str, added: int) -> None:
        """Raises StoreFull where so many more bytes are too many."""
        looked_up_at, total = self._known.get(owner, (float("-inf"), 0))
        if self._clock() - looked_up_at > FRESH_SECONDS or total + added > self._most:
            total = await self._sessions.stored_bytes(owner)
            total += await self._responses.stored_bytes(owner)
            looked_up_at = self._clock()
        if total + added > self._most:
            raise StoreFull(
                f"This API key would store more than {self._most} bytes (MAX_STORED_BYTES): delete "
                "sessions, responses or conversations, or send `store: false`."
            )
        self._known[owner] = looked_up_at, total + added
        self._known.move_to_end(owner)
        if len(self._known) > MOST_KEYS:
            self._known.popitem(last=False)
