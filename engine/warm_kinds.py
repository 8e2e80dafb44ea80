"""Which workers are started ahead beside the ordinary ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from engine.leases import PoolLimits


class WarmKinds:
    """Kinds whose workers serve one turn: of each that was used lately another is kept ready, so
    that the next turn need not wait for its start. As many kinds as `warm` says."""

    def __init__(self, limits: PoolLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._used_at: OrderedDict[Hashable, float] = OrderedDict()

    def note(self, kind: Hashable) -> None:
        """A worker of this kind has served its turn, and ends."""
        self._used_at[kind] = self._clock()
        self._used_at.move_to_end(kind)
        while len(self._used_at) > self._limits.warm:
            self._used_at.popitem(last=False)

    def forget(self, kind: Hashable) -> None:
        """It cannot be started."""
        self._used_at.pop(kind, None)

    def now(self) -> list[Hashable]:
        after = self._clock() - self._limits.idle_seconds
        return [kind for kind, used_at in self._used_at.items() if used_at > after]
