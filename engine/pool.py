"""Warm processes: lease, continue, reuse, hold, start, retire, admit.

The pool knows nothing of Claude or HTTP. A *worker* starts blank, then is bound once to a
*profile*, which it keeps for life. Between leases it is parked under a *fingerprint* of what it
remembers, so that a lease that asks for the same fingerprint gets just that worker back.

    starting -> blank -> busy <-> idle      what nobody asked for yet, or what was parked clean
                           |  <-> held      waits for its caller in the middle of a turn
                           v
                        closing -> gone     from every state; its place is free when it is gone

A lease that ends without `park` costs the worker its life: whatever went wrong, nothing dirty is
ever handed on. Workers start in the background, never for one lease alone: a lease takes whatever
is free first, and one that is cancelled leaves the worker to the next.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, get_args

from core.errors import Overloaded
from engine.leases import Lease, LeaseKind, P, PoolLimits, Slot, State, W, Worker

__all__ = ["Lease", "LeaseKind", "Pool", "PoolLimits", "Worker"]

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
OVERTAKING_SECONDS = 1.0
"""Up to this wait the first in line lets others take what it could not use without ending it."""

SPARE_SECONDS = 5.0
"""An idle worker that was not used for so long may be ended for a blank one."""

GRACE_SECONDS = 60.0
"""A worker held for longer makes way like an idle one: many callers never come back, and a few such
would leave all others to share what is left."""

MAX_BACKOFF_SECONDS = 30.0
RECENT_WAITS = 100


@dataclass(eq=False, slots=True)
class _Waiter(Generic[P, W]):
    profile: P
    fingerprint: Hashable
    asked_at: float
    found: asyncio.Future[tuple[Slot[P, W], LeaseKind]]


class Pool(Generic[P, W]):
    """At most `max_processes` workers, from `make`. An async context manager.

    Some profiles need workers that are started for them: `kind_of` a profile is what `make` is
    given, and a blank worker serves profiles of its kind only. None is the ordinary kind, of which
    blank ones are kept ready.
    """

    def __init__(
        self,
        make: Callable[[Any], W],
        limits: PoolLimits,
        *,
        kind_of: Callable[[P], Hashable] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.counts: Counter[str] = Counter()
        self.waits: deque[float] = deque(maxlen=RECENT_WAITS)
        self._make = make
        self._kind_of = kind_of
        self._clock = clock
        self._numbers = itertools.count(1)
        self._slots: dict[Slot[P, W], None] = {}  # the longest in its state first
        self._waiters: list[_Waiter[P, W]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._start_again_at = 0.0
        self._closed = False

    async def __aenter__(self) -> Pool[P, W]:
        self._background(self._sweep_forever())
        self._serve()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Ends every worker, leased ones too, and waits until they are gone."""
        self._closed = True
        for waiter in list(self._waiters):
            self._refuse(waiter, "The server is shutting down.")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for slot in list(self._slots):
            self._retire(slot)
        await asyncio.gather(*self._ending, return_exceptions=True)

    @property
    def processes(self) -> int:
        """Workers that exist, those that are starting or ending included."""
        return len(self._slots)

    @property
    def queued(self) -> int:
        return len(self._waiters)

    def in_state(self, *states: State) -> list[Slot[P, W]]:
        """The workers in these states, the longest in it first."""
        return [slot for slot in self._slots if slot.state in states]

    @asynccontextmanager
    async def lease(self, profile: P, fingerprint: Hashable = None) -> AsyncIterator[Lease[W]]:
        """A worker of this profile; the one that remembers `fingerprint` if it is parked.

        Waits its turn while all are busy. Raises Overloaded (503) when the queue is full or the
        wait takes too long, and what a worker's start raises where none is left to wait for.
        """
        asked_at = self._clock()
        found = None if self._waiters or self._closed else self._take(profile, fingerprint)
        slot, kind = found or await self._queue_up(profile, fingerprint)
        now = self._clock()
        lease = Lease(slot.worker, kind, now - asked_at, now, slot.fingerprint)
        slot.profile = profile
        slot.uses += 1
        self.counts[kind] += 1
        self.waits.append(lease.waited_seconds)
        try:
            yield lease  # a blank one is replaced later: a start would slow this turn down
        finally:
            self._give_back(slot, lease)

    async def _queue_up(self, profile: P, fingerprint: Hashable) -> tuple[Slot[P, W], LeaseKind]:
        loop = asyncio.get_running_loop()
        waiter = _Waiter[P, W](profile, fingerprint, self._clock(), loop.create_future())
        timer = loop.call_later(
            self.limits.queue_timeout, self._refuse, waiter, "No process was free in time."
        )
        self._line_up(waiter)
        try:
            return await waiter.found
        except asyncio.CancelledError:
            self._put_back(waiter)
            raise
        finally:
            timer.cancel()
            self._leave(waiter)

    def _line_up(self, waiter: _Waiter[P, W]) -> None:
        """Takes its place in line; refused where that would make the line too long."""
        self._waiters.append(waiter)
        if self._closed:
            self._refuse(waiter, "The server is shutting down.")
        elif self._excess() > self.limits.queue_size:
            self._refuse(waiter, "All processes are busy and the queue is full.")
        else:
            self._serve()

    def _excess(self) -> int:
        """How many wait although neither a place nor a worker that will be free is left."""
        return len(self._waiters) - (self.limits.max_processes - len(self.in_state("busy")))

    def _refuse(self, waiter: _Waiter[P, W], reason: str) -> None:
        if not waiter.found.done():
            self.counts["refused"] += 1
            waiter.found.set_exception(Overloaded(reason, retry_after=5))
        self._leave(waiter)

    def _leave(self, waiter: _Waiter[P, W]) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            self._serve()  # it may have been the one that held up the line

    def _put_back(self, waiter: _Waiter[P, W]) -> None:
        """Returns, untouched, what was handed over in the moment in which its taker left."""
        if waiter.found.cancelled() or waiter.found.exception() is not None:
            return
        slot, kind = waiter.found.result()
        if slot.state == "busy":
            self._move(slot, "blank" if kind == "blank" else "held" if slot.held else "idle")
            self._serve()

    def _take(self, profile: P, fingerprint: Hashable) -> tuple[Slot[P, W], LeaseKind] | None:
        """A worker that is there already, or None."""
        parked = [slot for slot in self._slots if slot.profile == profile and self._is_free(slot)]
        for slot in parked:
            if fingerprint is not None and slot.fingerprint == fingerprint:
                return self._move(slot, "busy"), "continue"
        for slot in parked:
            if slot.state == "idle" and slot.worker.reusable:
                return self._move(slot, "busy"), "reuse"
        kind = self._kind_of(profile)
        for slot in self._slots:
            if slot.state == "blank" and slot.kind == kind and self._is_free(slot):
                return self._move(slot, "busy"), "blank"
        return None

    def _is_free(self, slot: Slot[P, W]) -> bool:
        return slot.state in ("idle", "held", "blank") and slot.worker.alive

    def _move(self, slot: Slot[P, W], state: State) -> Slot[P, W]:
        slot.state, slot.since = state, self._clock()
        self._slots.pop(slot, None)
        self._slots[slot] = None
        return slot

    def _give_back(self, slot: Slot[P, W], lease: Lease[W]) -> None:
        if slot.state != "busy":  # the pool was closed meanwhile
            return
        if lease.parked and self._may_stay(slot, held=lease.held):
            slot.fingerprint, slot.held = lease.fingerprint, lease.held
            self._move(slot, "held" if lease.held else "idle")
        else:
            self._retire(slot)
        self._serve()

    def _may_stay(self, slot: Slot[P, W], *, held: bool) -> bool:
        if self._closed or not slot.worker.alive:
            return False
        return held or (
            slot.uses < self.limits.max_uses
            and slot.memory_bytes < self.limits.max_memory_bytes
            and self._clock() - slot.born_at < self.limits.max_age_seconds
        )

    def _retire(self, slot: Slot[P, W]) -> None:
        """Ends a worker; its place is free when it is gone."""
        if slot.state == "closing":
            return
        self._move(slot, "closing")
        self.counts["retired"] += 1
        task = asyncio.get_running_loop().create_task(self._end(slot))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, slot: Slot[P, W]) -> None:
        try:
            await slot.worker.close()
        except Exception:
            log.exception("a worker could not be closed")
        finally:
            del self._slots[slot]
            self._serve()

    def _serve(self) -> None:
        """Hands out what is free, in line; then makes more for those who still wait.

        One that cannot use what is free is overtaken by those who can, for a short while: ending
        a worker of another profile costs more than the wait.
        """
        coming = len(self.in_state("starting", "closing"))
        for waiter in [waiter for waiter in self._waiters if not waiter.found.done()]:
            if not any(map(self._is_free, self._slots)):
                break
            found = self._take(waiter.profile, waiter.fingerprint)
            if found is not None:
                self._waiters.remove(waiter)
                waiter.found.set_result(found)
            elif self._clock() - waiter.asked_at > OVERTAKING_SECONDS:
                coming -= 1
                if coming < 0:  # nothing is on its way to it: what is free makes way for it
                    break
        self._grow()

    def _grow(self) -> None:
        """Starts a worker for each who waits, or keeps `warm` blank ones ready. Where all places
        are taken, the longest idle make way."""
        if self._closed:
            return
        for slot in self.in_state("blank", "idle", "held"):
            if not slot.worker.alive:
                self._retire(slot)
        state = Counter(slot.state for slot in self._slots)
        waiting = [self._kind_of(waiter.profile) for waiter in self._waiting()]
        if self._backs_off(len(waiting), state["busy"]):
            return
        wanted = self._wanted(waiting)[: max(0, self.limits.max_starting - state["starting"])]
        room = max(0, self.limits.max_processes - len(self._slots))
        for kind in wanted[:room]:
            self._start(kind)
        self._evict(len(wanted) - room - state["closing"], waiting)

    def _waiting(self) -> list[_Waiter[P, W]]:
        return [waiter for waiter in self._waiters if not waiter.found.done()]

    def _wanted(self, waiting: Sequence[Hashable]) -> list[Hashable]:
        """The kinds of the workers to start: for all who wait, less those that start already."""
        coming = Counter(slot.kind for slot in self.in_state("starting"))
        if not waiting:
            ready = coming[None] + sum(slot.kind is None for slot in self.in_state("blank"))
            return [None] * (self.limits.warm - ready)
        missing = []
        for kind in waiting:
            coming[kind] -= 1
            if coming[kind] < 0:
                missing.append(kind)
        return missing

    def _backs_off(self, waiting: int, busy: int) -> bool:
        """After a failed start: the next may wait where nobody does, or somebody gets ready."""
        return self._clock() < self._start_again_at and (busy > 0 or waiting == 0)

    def _evict(self, count: int, waiting: Sequence[Hashable]) -> None:
        """Makes room. A blank worker is worth an idle one only where places are not scarce and
        that one was left alone for a while."""
        if waiting:
            useless = [slot for slot in self.in_state("blank") if slot.kind not in waiting]
            in_grace = self._clock() - GRACE_SECONDS
            parked = self.in_state("idle", "held")
            parked.sort(key=lambda slot: slot.state == "held" and slot.since >= in_grace)
            victims = [*useless, *parked]
        elif self.limits.warm * 2 > self.limits.max_processes:
            return
        else:
            left_alone = self._clock() - SPARE_SECONDS
            victims = [slot for slot in self.in_state("idle") if slot.since < left_alone]
        for slot in victims[: max(0, count)]:
            self.counts["evicted"] += 1
            self._retire(slot)

    def _start(self, kind: Hashable) -> None:
        now = self._clock()
        slot = Slot[P, W](self._make(kind), next(self._numbers), kind, now, now)
        self._slots[slot] = None
        self.counts["started"] += 1
        self._background(self._started(slot))

    async def _started(self, slot: Slot[P, W]) -> None:
        try:
            await slot.worker.start()
        except Exception as error:
            self._not_started(slot, error)
            return
        self._failures = 0
        self._move(slot, "blank")
        self._serve()

    def _not_started(self, slot: Slot[P, W], error: Exception) -> None:
        """Tells the first in line, unless somebody's worker will be free for it."""
        log.warning("a worker could not be started: %s: %s", type(error).__name__, error)
        self.counts["failed"] += 1
        if slot.kind is None:
            self._failures += 1
            pause_seconds = min(MAX_BACKOFF_SECONDS, 0.5 * 2**self._failures)
            self._start_again_at = self._clock() + pause_seconds
        same = (w for w in self._waiting() if self._kind_of(w.profile) == slot.kind)
        waiter = next(same, None)
        if waiter is not None and not (slot.kind is None and self.in_state("busy")):
            waiter.found.set_exception(error)
        self._retire(slot)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()

    def sweep(self) -> None:
        """Ends what is dead, too big, or was idle or held for too long; measures all others."""
        for slot in self.in_state("blank", "idle", "held", "busy"):
            slot.memory_bytes = slot.worker.memory_bytes()
            if slot.state != "busy" and self._is_stale(slot):
                self._retire(slot)
        self._serve()

    def _is_stale(self, slot: Slot[P, W]) -> bool:
        seconds = self._clock() - slot.since
        if not slot.worker.alive:
            return True
        match slot.state:
            case "held":
                return seconds > self.limits.hold_seconds
            case "blank" if slot.kind is not None:  # whoever wanted it has left
                return True
            case "blank":
                spare = len(self.in_state("blank")) > self.limits.warm
                return spare and seconds > self.limits.idle_seconds
            case _:
                return seconds > self.limits.idle_seconds or not self._may_stay(slot, held=False)

    def snapshot(self) -> dict[str, Any]:
        """What `GET /v1/pool` shows: counts, and each worker without its content. Seconds."""
        now = self._clock()
        waits = sorted(self.waits)
        states: Counter[str] = Counter(slot.state for slot in self._slots)
        return {
            "max_processes": self.limits.max_processes,
            "processes": self.processes,
            "states": {state: states[state] for state in get_args(State)},
            "counts": dict(self.counts),
            "queue": {
                "length": self.queued,
                "size": self.limits.queue_size,
                "wait_p50_seconds": waits[len(waits) // 2] if waits else 0.0,
                "wait_max_seconds": waits[-1] if waits else 0.0,
            },
            "workers": [
                {
                    "number": slot.number,
                    "state": slot.state,
                    "age_seconds": now - slot.born_at,
                    "in_state_seconds": now - slot.since,
                    "uses": slot.uses,
                    "memory_bytes": slot.worker.memory_bytes(),
                    **slot.worker.describe(),
                }
                for slot in self._slots
            ],
        }
