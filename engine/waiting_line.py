"""Who waits for a worker: principals take turns, each principal's requests keep their order."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic

from engine.leases import P, W, Waiter


class WaitingLine(Generic[P, W]):
    """Iterating gives those who still wait, in the order in which they are to be served."""

    def __init__(self) -> None:
        self._waiters: OrderedDict[str, list[Waiter[P, W]]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._waiters.values()))

    def __iter__(self) -> Iterator[Waiter[P, W]]:
        queues = [[w for w in own if not w.found.done()] for own in self._waiters.values()]
        for rank in itertools.zip_longest(*queues):
            yield from (waiter for waiter in rank if waiter is not None)

    def add(self, waiter: Waiter[P, W]) -> None:
        self._waiters.setdefault(waiter.principal, []).append(waiter)

    def discard(self, waiter: Waiter[P, W]) -> None:
        own = self._waiters.get(waiter.principal, [])
        if waiter in own:
            own.remove(waiter)
            if not own:
                del self._waiters[waiter.principal]

    def served(self, waiter: Waiter[P, W]) -> None:
        """Takes it out; its principal's next one comes after everybody else's."""
        self.discard(waiter)
        if waiter.principal in self._waiters:
            self._waiters.move_to_end(waiter.principal)

    def one_too_many(self, latest: Waiter[P, W]) -> Waiter[P, W]:
        """Who has to leave a full line that `latest` has joined: the last of the principal that
        fills it."""
        longest = max(self._waiters.values(), key=len)
        return longest[-1] if len(longest) > len(self._waiters[latest.principal]) else latest
