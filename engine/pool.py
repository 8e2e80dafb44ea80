"""Warm processes: lease, reuse, start, retire, admit.

The pool knows nothing of Claude or HTTP. A *worker* serves one turn at a time, and any worker that
is free serves any turn of its *profile*; most turns have the same one.

    starting -> blank -> busy <-> idle      not used yet, or parked clean
                           v
                        closing -> gone     from every state; its place is free when it is gone

A lease that ends without `park` terminates its worker, so a worker in an unknown state is never
reused. Workers start in the background, never for one lease alone: a lease takes whatever is free
first, and one that is cancelled leaves the worker to the next.

Admission: the worker that was used last is used first, since a hot process is twice as fast as a
cold one, and one that is not needed gets old and ends. Another is started only where the wait for
those in use is longer than a start. What keeps the processor sane is the number of turns that are
*preparing*, between their lease and the question to the API: at an API's pace they pass in
milliseconds, and where they do not, more processes would only slow each other down.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Generic, get_args

from core.errors import Overloaded
from engine.leases import Lease, LeaseKind, P, PoolLimits, Slot, State, W, Waiter, expected_waits
from engine.shares import Shares
from engine.tasks import finished
from engine.waiting_line import WaitingLine
from engine.warm_kinds import WarmKinds

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
PREPARING_SECONDS = 1.0
"""A turn that has not asked the API by then no longer keeps others from preparing theirs."""

MAX_BACKOFF_SECONDS = 30.0
RECENT_WAITS = 100
WEIGHT = 0.2
"""Of the latest figure in a running average."""


class Pool(Generic[P, W]):
    """At most `max_processes` workers, from `make`. An async context manager.

    Some profiles need workers that are started for them: `kind_of` a profile is what `make` is
    given, and a blank worker serves profiles of its kind only. None is the ordinary kind, of which
    `warm` are kept ready; `common` is the profile that most turns have.
    """

    def __init__(
        self,
        make: Callable[[Any], W],
        limits: PoolLimits,
        *,
        common: P,
        kind_of: Callable[[P], Hashable] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.counts: Counter[str] = Counter()
        self.waits: deque[float] = deque(maxlen=RECENT_WAITS)
        self._make = make
        self._common = common
        self._kind_of = kind_of
        self._clock = clock
        self._numbers = itertools.count(1)
        self._slots: dict[Slot[P, W], None] = {}  # the longest in its state first
        self._line: WaitingLine[P, W] = WaitingLine()
        self._preparing: dict[Slot[P, W], float] = {}
        self._shares = Shares(limits)
        self._warm_kinds = WarmKinds(limits, clock)
        self._looked_at = clock()
        self._short_of = 0  # how many wait for a worker, since then
        self._waited_seconds = 0.0  # by all of them, since the last start
        self._turn_seconds = 1.0
        self._start_seconds = 0.5
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._start_again_at = 0.0
        self._closed = False

    async def __aenter__(self) -> Pool[P, W]:
        self._background(self._sweep_periodically())
        self.sweep()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Ends every worker, leased ones too, and waits until they are gone, even if cancelled."""
        self._closed = True
        for waiter in list(self._line):
            self._refuse(waiter, "The server is shutting down.")
        for task in list(self._tasks):
            task.cancel()
        try:
            await finished(self._tasks)
        finally:
            for slot in list(self._slots):
                self._retire(slot)
            await finished(self._ending)

    @property
    def processes(self) -> int:
        """Workers that exist, those that are starting or ending included."""
        return len(self._slots)

    @property
    def queued(self) -> int:
        return len(self._line)

    def in_state(self, *states: State) -> list[Slot[P, W]]:
        """The workers in these states, the longest in it first."""
        return [slot for slot in self._slots if slot.state in states]

    @asynccontextmanager
    async def lease(self, profile: P, principal: str = "") -> AsyncIterator[Lease[W]]:
        """A worker of this profile. Those who wait are served in turn by principal, each
        principal's own requests in their order.

        Raises Overloaded (503) when the queue is full or the wait takes too long, and what a
        worker's start raises where none is left to wait for.
        """
        asked_at = self._clock()
        self._shares.note(principal)
        must_wait = self._line or self._closed or not self._has_share(principal)
        found = None if must_wait else self._take(profile, principal)
        slot, kind = found or await self._queue_up(profile, principal)
        lease = self._leased(slot, profile, kind, asked_at)
        try:
            yield lease
        finally:
            lease.end()

    def _leased(self, slot: Slot[P, W], profile: P, kind: LeaseKind, asked_at: float) -> Lease[W]:
        now = self._clock()
        slot.profile = profile
        slot.uses += 1
        self.counts[kind] += 1
        self.waits.append(now - asked_at)
        return Lease(
            slot.worker,
            kind,
            now - asked_at,
            now,
            _asked=lambda: self._asked(slot),
            _release=lambda clean: self._give_back(slot, clean=clean),
        )

    async def _queue_up(self, profile: P, principal: str) -> tuple[Slot[P, W], LeaseKind]:
        loop = asyncio.get_running_loop()
        kind = self._kind_of(profile)
        waiter = Waiter[P, W](profile, kind, principal, self._clock(), loop.create_future())
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
            self._line.discard(waiter)

    def _line_up(self, waiter: Waiter[P, W]) -> None:
        self._line.add(waiter)
        if self._closed:
            self._refuse(waiter, "The server is shutting down.")
            return
        if self._excess() > self.limits.queue_size:
            crowded = self._line.one_too_many(waiter)
            self._refuse(crowded, "All processes are busy and the queue is full.")
        self._serve()

    def _excess(self) -> int:
        """How many wait although neither a place nor a worker that will be free is left."""
        return self.queued - (self.limits.max_processes - len(self.in_state("busy")))

    def _refuse(self, waiter: Waiter[P, W], reason: str) -> None:
        if not waiter.found.done():
            self.counts["refused"] += 1
            waiter.found.set_exception(Overloaded(reason, retry_after=5))
        self._line.discard(waiter)

    def _put_back(self, waiter: Waiter[P, W]) -> None:
        """Returns, untouched, what was handed over in the moment in which its taker left."""
        if waiter.found.cancelled() or waiter.found.exception() is not None:
            return
        slot, kind = waiter.found.result()
        self._preparing.pop(slot, None)
        if slot.state == "busy":
            self._move(slot, "blank" if kind == "blank" else "idle")
            self._serve()

    def _has_share(self, principal: str) -> bool:
        return self._shares.allow(principal, self.in_state("busy"), self._now_preparing())

    def _free_for(self, principal: str) -> list[Slot[P, W]]:
        """What it may take of what is free, the one used last first."""
        free = [slot for slot in reversed(self._slots) if self._is_free(slot)]
        living = len(self._slots) - len(self.in_state("closing"))
        is_last = len(free) == 1 and living < self.limits.max_processes
        if is_last and not self._shares.allow_last(principal, self.in_state("busy")):
            return []
        return free

    def _take(self, profile: P, principal: str) -> tuple[Slot[P, W], LeaseKind] | None:
        """A free worker, the one used last; None while the processor has enough to do."""
        if not self._room_to_prepare():
            return None
        free = self._free_for(principal)
        for slot in free:
            if slot.state == "idle" and slot.profile == profile:
                return self._hand_over(slot, principal), "reuse"
        kind = self._kind_of(profile)
        for slot in free:
            if slot.state == "blank" and slot.kind == kind:
                return self._hand_over(slot, principal), "blank"
        return None

    def _hand_over(self, slot: Slot[P, W], principal: str) -> Slot[P, W]:
        self._preparing[slot] = self._clock()
        slot.principal = principal
        return self._move(slot, "busy")

    def _now_preparing(self) -> list[Slot[P, W]]:
        after = self._clock() - PREPARING_SECONDS
        return [slot for slot, since in self._preparing.items() if since > after]

    def _room_to_prepare(self) -> int:
        """How many more turns may be prepared now."""
        return max(0, self.limits.max_preparing - len(self._now_preparing()))

    def _asked(self, slot: Slot[P, W]) -> None:
        if self._preparing.pop(slot, None) is not None and self._line:
            self._serve()

    def _is_free(self, slot: Slot[P, W]) -> bool:
        return slot.state in ("idle", "blank") and slot.worker.alive

    def _move(self, slot: Slot[P, W], state: State) -> Slot[P, W]:
        slot.state, slot.since = state, self._clock()
        self._slots.pop(slot, None)
        self._slots[slot] = None
        return slot

    def _give_back(self, slot: Slot[P, W], *, clean: bool) -> None:
        self._preparing.pop(slot, None)
        if slot.state != "busy":  # the pool was closed meanwhile
            return
        self._turn_seconds += WEIGHT * (self._clock() - slot.since - self._turn_seconds)
        if clean and self._may_stay(slot):
            self._move(slot, "idle")
        else:
            if clean and slot.worker.has_successor:
                self._warm_kinds.note(slot.kind)
            self._retire(slot)
        self._serve()
        if slot.kind is not None:
            self._keep_ready()

    def _may_stay(self, slot: Slot[P, W]) -> bool:
        return (
            not self._closed
            and slot.worker.alive
            and slot.worker.reusable
            and slot.uses < self.limits.max_uses
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
        """Hands out what is free, in turn; then starts more for those who still wait."""
        self._add_up_waits()
        for waiter in list(self._line):
            if not self._room_to_prepare() or not any(map(self._is_free, self._slots)):
                break
            if not self._has_share(waiter.principal):
                continue
            found = self._take(waiter.profile, waiter.principal)
            if found is not None:
                self._line.served(waiter)
                waiter.found.set_result(found)
        if self._line:
            self._grow()

    def _add_up_waits(self) -> None:
        """Counts what was waited for a worker in use since the last look."""
        now = self._clock()
        self._waited_seconds += self._short_of * (now - self._looked_at)
        self._looked_at, self._short_of = now, 0

    def _grow(self) -> None:
        """Starts workers where waiting for those in use costs more than a start: what will be
        waited, and what was since the last start. Turns shorter than a start are the processor's
        work, which more workers do no faster. Where there is no room, idle ones are evicted."""
        if self._closed or self._backs_off():
            return
        for slot in self.in_state("blank", "idle"):
            if not slot.worker.alive:
                self._retire(slot)
        may_start = self.limits.max_starting - len(self.in_state("starting"))
        waited_seconds = self._waited_seconds
        if self._turn_seconds < self._start_seconds:
            waited_seconds = self._waited_seconds = 0.0
        missing, room = 0, self._room_to_prepare()
        for waiter, wait_seconds in self._short():
            if wait_seconds < math.inf and self._short_of < room:  # all others wait anyway
                self._short_of += 1
            if waited_seconds + wait_seconds <= self._start_seconds or missing >= may_start:
                continue
            if len(self._slots) < self.limits.max_processes:
                self._start(waiter.kind)
                may_start, waited_seconds = may_start - 1, 0.0
            else:
                missing += 1
        self._evict(missing - len(self.in_state("closing")))

    def _short(self) -> Iterator[tuple[Waiter[P, W], float]]:
        """Those for whom no worker is free or starting, and how long they will wait for one in use;
        others wait for the processor."""
        coming = Counter(slot.kind for slot in self.in_state("starting"))
        has_room = self._room_to_prepare() > 0
        waits: dict[P, Iterator[float]] = {}
        for waiter in self._line:
            if not self._has_share(waiter.principal):
                continue
            coming[waiter.kind] -= 1
            free = self._free_for(waiter.principal)
            if coming[waiter.kind] >= 0 or any(slot.serves(waiter) for slot in free):
                continue
            if waiter.profile not in waits:
                running = self._running_seconds(waiter.profile)
                waits[waiter.profile] = expected_waits(running, self._turn_seconds)
            wait_seconds = next(waits[waiter.profile])
            if has_room or wait_seconds == math.inf:
                yield waiter, wait_seconds

    def _running_seconds(self, profile: P) -> list[float]:
        """How long the turns have run whose workers will serve this profile again."""
        now = self._clock()
        return [
            now - slot.since
            for slot in self.in_state("busy")
            if slot.profile == profile and slot.worker.reusable
        ]

    def _backs_off(self) -> bool:
        """After a failed start: the next may wait while a worker will be free anyway, or while
        nothing waits for it."""
        is_not_urgent = bool(self.in_state("busy")) or not self._line
        return self._clock() < self._start_again_at and is_not_urgent

    def _evict(self, count: int) -> None:
        """Makes room for those whom nothing that is free can serve."""
        wanted = [(waiter.profile, waiter.kind) for waiter in self._line]
        profiles, kinds = [p for p, _ in wanted], [k for _, k in wanted]
        useless = [slot for slot in self.in_state("blank") if slot.kind not in kinds]
        useless += [slot for slot in self.in_state("idle") if slot.profile not in profiles]
        for slot in useless[: max(0, count)]:
            self.counts["evicted"] += 1
            self._retire(slot)

    def _start(self, kind: Hashable) -> None:
        now = self._clock()
        self._waited_seconds = 0.0
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
        self._start_seconds += WEIGHT * (self._clock() - slot.born_at - self._start_seconds)
        self._move(slot, "blank")
        self._serve()

    def _not_started(self, slot: Slot[P, W], error: Exception) -> None:
        """Fails the first in line, unless a busy worker will be free for it."""
        log.warning("a worker could not be started: %s: %s", type(error).__name__, error)
        self.counts["failed"] += 1
        self._warm_kinds.forget(slot.kind)
        if slot.kind is None:
            self._failures += 1
            pause_seconds = min(MAX_BACKOFF_SECONDS, 0.5 * 2**self._failures)
            self._start_again_at = self._clock() + pause_seconds
        waiter = next((w for w in self._line if w.kind == slot.kind), None)
        if waiter is not None and not (slot.kind is None and self.in_state("busy")):
            waiter.found.set_exception(error)
        self._retire(slot)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sweep_periodically(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()

    def sweep(self) -> None:
        """Ends what is dead, too big, or was idle for too long; measures all others; keeps `warm`
        ready."""
        for slot in self.in_state("blank", "idle", "busy"):
            slot.memory_bytes = slot.worker.memory_bytes()
            if slot.state != "busy" and self._is_stale(slot):
                self._retire(slot)
        self._serve()
        self._keep_ready()

    def _keep_ready(self) -> None:
        """Starts what is missing, unless somebody in line comes first. Whoever has its share does
        not: a flood would leave the others no worker ahead."""
        somebody_is_first = any(self._has_share(waiter.principal) for waiter in self._line)
        if somebody_is_first or self._closed or self._backs_off():
            return
        ready = self.in_state("starting", "blank", "idle")
        plain = [s for s in ready if s.kind is None and s.profile in (None, self._common)]
        missing: list[Hashable] = [None] * (self.limits.warm - len(plain))
        blank = [slot.kind for slot in ready if slot.state != "idle"]
        missing += [kind for kind in self._warm_kinds.now() if kind not in blank]
        for kind in missing[: max(0, self.limits.max_processes - len(self._slots))]:
            self._start(kind)

    def _is_stale(self, slot: Slot[P, W]) -> bool:
        seconds = self._clock() - slot.since
        if not slot.worker.alive:
            return True
        if slot.state == "blank":
            if slot.kind is not None:  # what wanted it has left
                wanted = [*self._warm_kinds.now(), *(waiter.kind for waiter in self._line)]
                return slot.kind not in wanted
            spare = len(self.in_state("blank")) > self.limits.warm
            return spare and seconds > self.limits.idle_seconds
        return seconds > self.limits.idle_seconds or not self._may_stay(slot)

    def snapshot(self, principal: str | None = None) -> dict[str, Any]:
        """What `GET /v1/pool` shows: counts, and each worker without its content; only those that
        serve a `principal`, where one is named. Seconds."""
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
                slot.shown(now)
                for slot in self._slots
                if principal is None or (slot.state == "busy" and slot.principal == principal)
            ],
        }
