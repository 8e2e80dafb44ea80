"""Warm processes: lease, continue, reuse, hold, spawn, retire, admit.

The pool knows nothing of Claude or HTTP. A *worker* is started blank, then bound once to a
*profile*, which it keeps for life. Between leases it is parked under a *fingerprint* of what it
remembers, so that a lease that asks for the same fingerprint gets just that worker back.

A lease that ends without `park` costs the worker its life: whatever went wrong, nothing dirty is
ever handed on.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from errors import Overloaded

log = logging.getLogger(__name__)

LeaseKind = Literal["continue", "reuse", "blank", "spawn"]
SWEEP_SECONDS = 1.0


class Worker(Protocol):
    """What the pool asks of a worker."""

    @property
    def alive(self) -> bool: ...

    @property
    def reusable(self) -> bool:
        """Whether it may serve another conversation after this one."""
        ...

    def memory_bytes(self) -> int:
        """Resident memory, 0 where it is unknown."""
        ...

    def describe(self) -> dict[str, Any]:
        """What an operator may see of it: no content."""
        ...

    async def start(self) -> None:
        """Starts it blank. Raises where it can't be."""
        ...

    async def close(self) -> None:
        """Ends it at once. Bounded, never raises."""
        ...


P = TypeVar("P", bound=Hashable)
W = TypeVar("W", bound=Worker)


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of a pool. Times in seconds, memory in bytes."""

    max_processes: int = 4
    warm: int = 1
    idle_seconds: float = 600.0
    hold_seconds: float = 300.0
    max_uses: int = 200
    max_memory_bytes: int = 500 * 1024 * 1024
    queue_size: int = 100
    queue_timeout: float = 30.0


@dataclass(eq=False, slots=True)
class Slot(Generic[P, W]):
    """One worker and what the pool knows of it."""

    worker: W
    born_at: float
    number: int
    profile: P | None = None
    fingerprint: Hashable = None
    held: bool = False
    uses: int = 0
    parked_at: float = 0.0


class _Room:
    """A reserved place: the right to start one more worker."""


@dataclass(slots=True)
class Lease(Generic[W]):
    """A worker for one turn. `kind` says what it remembers: `continue` the conversation that was
    asked for, `reuse` another one of the same profile, `blank` and `spawn` nothing."""

    worker: W
    kind: LeaseKind
    waited_seconds: float
    parked: bool = field(default=False, init=False)
    fingerprint: Hashable = field(default=None, init=False)
    held: bool = field(default=False, init=False)

    def park(self, fingerprint: Hashable, *, held: bool = False) -> None:
        """The turn ended cleanly: keep the worker. `held` means it waits for its caller."""
        self.parked, self.fingerprint, self.held = True, fingerprint, held


class Pool(Generic[P, W]):
    """At most `max_processes` workers, from `make`. An async context manager."""

    def __init__(
        self,
        make: Callable[[], W],
        limits: PoolLimits,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._limits = limits
        self._clock = clock
        self._numbers = itertools.count(1)
        self._blank: deque[Slot[P, W]] = deque()
        self._parked: dict[Slot[P, W], None] = {}  # least recently used first
        self._leased: set[Slot[P, W]] = set()
        self._by_fingerprint: dict[tuple[P, Hashable], Slot[P, W]] = {}
        self._starting = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._waiters: deque[asyncio.Event] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.counts: Counter[str] = Counter()

    async def __aenter__(self) -> Pool[P, W]:
        self._spawn_task(self._sweep_forever())
        self._refill()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Ends every worker, leased ones too, and waits until they are gone."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for slot in [*self._blank, *self._parked, *self._leased]:
            self._retire(slot)
        for wake in self._waiters:
            wake.set()
        await asyncio.gather(*self._closing, return_exceptions=True)

    @property
    def processes(self) -> int:
        """Workers that exist, those that are starting or ending included."""
        return (
            len(self._blank)
            + len(self._parked)
            + len(self._leased)
            + self._starting
            + len(self._closing)
        )

    @property
    def queued(self) -> int:
        return len(self._waiters)

    @asynccontextmanager
    async def lease(self, profile: P, fingerprint: Hashable = None) -> AsyncIterator[Lease[W]]:
        """A worker of this profile; the one that remembers `fingerprint` if it is parked.

        Waits its turn while all are busy. Raises Overloaded (503) when the queue is full or the
        wait takes too long, and whatever the worker's start raises.
        """
        asked_at = self._clock()
        slot, kind = await self._acquire(profile, fingerprint)
        self.counts[kind] += 1
        lease = Lease(slot.worker, kind, self._clock() - asked_at)
        try:
            yield lease
        finally:
            self._give_back(slot, lease)

    async def _acquire(self, profile: P, fingerprint: Hashable) -> tuple[Slot[P, W], LeaseKind]:
        found = None if self._waiters else self._attempt(profile, fingerprint)
        if found is None:
            found = await self._queue_up(profile, fingerprint)
        if not isinstance(found, _Room):
            return found
        slot = await self._started()
        return self._lease_out(slot, profile), "spawn"

    async def _queue_up(
        self, profile: P, fingerprint: Hashable
    ) -> tuple[Slot[P, W], LeaseKind] | _Room:
        """Waits in line, first come first served, until a worker or room for one is there."""
        if len(self._waiters) >= self._limits.queue_size:
            self.counts["refused"] += 1
            raise Overloaded("All processes are busy and the queue is full.", retry_after=5)
        wake = asyncio.Event()
        self._waiters.append(wake)
        try:
            async with asyncio.timeout(self._limits.queue_timeout):
                while True:
                    if self._waiters[0] is wake:
                        found = self._attempt(profile, fingerprint)
                        if found is not None:
                            return found
                    await wake.wait()
                    wake.clear()
        except TimeoutError:
            self.counts["refused"] += 1
            raise Overloaded("All processes stayed busy.", retry_after=5) from None
        finally:
            self._waiters.remove(wake)
            self._wake_first()

    def _attempt(
        self, profile: P, fingerprint: Hashable
    ) -> tuple[Slot[P, W], LeaseKind] | _Room | None:
        if self._closed:
            raise Overloaded("The server is shutting down.", retry_after=5)
        return self._take(profile, fingerprint) or self._make_room()

    def _take(self, profile: P, fingerprint: Hashable) -> tuple[Slot[P, W], LeaseKind] | None:
        """A worker that is there already, or None."""
        slot = self._by_fingerprint.get((profile, fingerprint)) if fingerprint else None
        if slot is not None and self._unpark(slot):
            return self._lease_out(slot, profile), "continue"
        for slot in list(self._parked):
            if slot.profile == profile and not slot.held and self._unpark(slot):
                return self._lease_out(slot, profile), "reuse"
        while self._blank:
            slot = self._blank.popleft()
            if slot.worker.alive:
                leased = self._lease_out(slot, profile)
                self._refill()
                return leased, "blank"
            self._retire(slot)
        return None

    def _lease_out(self, slot: Slot[P, W], profile: P) -> Slot[P, W]:
        slot.profile = profile
        slot.uses += 1
        self._leased.add(slot)
        return slot

    def _unpark(self, slot: Slot[P, W]) -> bool:
        """Takes it out of the parked ones; False (and retired) where it died meanwhile."""
        del self._parked[slot]
        if slot.profile is not None:
            self._by_fingerprint.pop((slot.profile, slot.fingerprint), None)
        if slot.worker.alive:
            return True
        self._retire(slot)
        return False

    def _make_room(self) -> _Room | None:
        """A place for one more worker; where there is none, evicts the least recently used."""
        if self.processes < self._limits.max_processes:
            self._starting += 1
            return _Room()
        if not self._closing:
            idle = next((slot for slot in self._parked if not slot.held), None)
            victim = idle or next(iter(self._parked), None)
            if victim is not None:
                self.counts["evicted"] += 1
                if self._unpark(victim):
                    self._retire(victim)
        return None  # a place is free once somebody is gone: `_retired` wakes the first in line

    async def _started(self) -> Slot[P, W]:
        """Starts a worker in the place that `_make_room` or `_refill` reserved."""
        worker = self._make()
        try:
            await worker.start()
            if self._closed:
                raise Overloaded("The server is shutting down.", retry_after=5)
        except BaseException:
            await worker.close()
            raise
        finally:
            self._starting -= 1
            self._wake_first()
        return Slot(worker, self._clock(), next(self._numbers))

    def _give_back(self, slot: Slot[P, W], lease: Lease[W]) -> None:
        self._leased.discard(slot)
        if not lease.parked or self._closed or not self._may_stay(slot, lease):
            self._retire(slot)
            return
        slot.fingerprint, slot.held = lease.fingerprint, lease.held
        slot.parked_at = self._clock()
        self._parked[slot] = None
        if slot.profile is not None and slot.fingerprint is not None:
            self._by_fingerprint[(slot.profile, slot.fingerprint)] = slot
        self._wake_first()

    def _may_stay(self, slot: Slot[P, W], lease: Lease[W]) -> bool:
        if not slot.worker.alive:
            return False
        if lease.held:
            return True
        return (
            slot.worker.reusable
            and slot.uses < self._limits.max_uses
            and slot.worker.memory_bytes() < self._limits.max_memory_bytes
        )

    def _retire(self, slot: Slot[P, W]) -> None:
        """Ends a worker that is in no collection any more; its place is free when it is gone."""
        self._leased.discard(slot)
        self._parked.pop(slot, None)
        with suppress(ValueError):
            self._blank.remove(slot)
        self.counts["retired"] += 1
        task = asyncio.get_running_loop().create_task(slot.worker.close())
        self._closing.add(task)
        task.add_done_callback(self._retired)

    def _retired(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a worker could not be closed: %s", type(error).__name__)
        self._wake_first()
        self._refill()

    def _wake_first(self) -> None:
        if self._waiters:
            self._waiters[0].set()

    def _refill(self) -> None:
        """Keeps `warm` blank workers ready where there is room and nobody waits for it."""
        if self._closed or self._waiters:
            return
        missing = self._limits.warm - len(self._blank) - self._starting
        room = self._limits.max_processes - self.processes
        for _ in range(min(missing, room)):
            self._starting += 1
            self._spawn_task(self._start_blank())

    async def _start_blank(self) -> None:
        try:
            slot = await self._started()
        except Exception as error:
            log.warning("a warm worker could not be started: %s", type(error).__name__)
            return
        self._blank.append(slot)
        self._wake_first()

    def _spawn_task(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()

    def sweep(self) -> None:
        """Ends what is dead, was idle too long or was held too long."""
        now = self._clock()
        for slot in list(self._parked):
            bound = self._limits.hold_seconds if slot.held else self._limits.idle_seconds
            stale = now - slot.parked_at > bound
            if (stale or not slot.worker.alive) and self._unpark(slot):
                self._retire(slot)
        for slot in [slot for slot in self._blank if not slot.worker.alive]:
            self._retire(slot)
        self._refill()

    def snapshot(self) -> dict[str, Any]:
        """Counts by state and kind, and each worker without its content. Ages in seconds."""
        now = self._clock()
        groups: dict[str, list[Slot[P, W]]] = {
            "blank": list(self._blank),
            "idle": [slot for slot in self._parked if not slot.held],
            "held": [slot for slot in self._parked if slot.held],
            "busy": list(self._leased),
        }
        return {
            "limits": {
                "max_processes": self._limits.max_processes,
                "queue_size": self._limits.queue_size,
            },
            "processes": self.processes,
            "queued": self.queued,
            "states": {state: len(slots) for state, slots in groups.items()},
            "counts": dict(self.counts),
            "workers": [
                {
                    "number": slot.number,
                    "state": state,
                    "age_seconds": round(now - slot.born_at, 1),
                    "uses": slot.uses,
                    "memory_bytes": slot.worker.memory_bytes(),
                    **slot.worker.describe(),
                }
                for state, slots in groups.items()
                for slot in slots
            ],
        }
