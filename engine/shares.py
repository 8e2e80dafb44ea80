"""What one principal may have of a pool that several use: a flood leaves room to the others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeAlias

from engine.leases import PoolLimits, Slot

Slots: TypeAlias = Collection[Slot[Any, Any]]


class Shares:
    """The rules hold where several principals may come, and from the moment in which a second one
    did; one that is alone may have all. What the server itself asks, "", is none."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._seen: set[str] = set()  # two at most
        self._are_several = False

    def note(self, principal: str) -> None:
        if principal and not self._are_several:
            self._seen.add(principal)
            self._are_several = len(self._seen) > 1 or self._limits.principals() > 1

    def allow(self, principal: str, busy: Slots, preparing: Slots) -> bool:
        """Whether it may have another worker: three quarters of all, unless the limits say
        otherwise, and all but one of the turns that are prepared at a time."""
        places, most = self._limits.max_processes, self._limits.max_per_principal
        if self._are_several:
            most = most or max(1, places - max(1, places // 4))
            if _used_by(principal, preparing) >= max(1, self._limits.max_preparing - 1):
                return False
        return _used_by(principal, busy) < (most or places)

    def allow_last(self, principal: str, busy: Slots) -> bool:
        """Whether it may take the only free worker, where another can be started: one that has half
        of those in use leaves it to the others."""
        used = _used_by(principal, busy)
        return not self._are_several or not used or used * 2 < len(busy)


def _used_by(principal: str, slots: Slots) -> int:
    return sum(slot.principal == principal for slot in slots)
