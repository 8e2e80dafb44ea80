"""The pool under whatever order of events Hypothesis thinks of."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.errors import Overloaded, UpstreamError
from engine.leases import Lease, PoolLimits
from engine.pool import Pool

PROFILES = st.sampled_from(["a", "b", "C", "D"])
PRINCIPALS = st.sampled_from(["x", "y", "z"])
ENDS = st.sampled_from(["park", "park early", "drop", "raise"])
WHICH = st.integers(0, 50)
ROUNDS = 1000
"""Of the event loop until every lease has ended: counted, so that a failure shows at once."""


def kind_of(profile: str) -> str | None:
    """Capitals need a worker that was started for them."""
    return profile if profile.isupper() else None


class Fake:
    """A worker that knows what was done with it, and fails the test where that was wrong."""

    def __init__(self, machine: PoolMachine, kind: str | None) -> None:
        self.machine = machine
        self.kind = kind
        self.alive = False
        self.reusable = machine.reusable
        self.has_successor = True
        self.closed = 0
        self.gone = False
        self.in_hand = False
        self.dirty = False
        self.profile: str | None = None

    def memory_bytes(self) -> int:
        return 1

    def describe(self) -> dict[str, Any]:
        return {}

    async def start(self) -> None:
        await self.machine.gate.wait()
        if self.machine.starts_fail:
            raise UpstreamError("no start")
        self.alive = True

    async def close(self) -> None:
        self.closed += 1
        assert self.closed == 1
        self.alive = False
        await asyncio.sleep(0)
        self.gone = True


class PoolMachine(RuleBasedStateMachine):
    """Leases that wait, hold a worker and end in every way; workers that die or never start."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.now = 0.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.starts_fail = False
        self.reusable = True
        self.made: list[Fake] = []
        self.leases: list[tuple[asyncio.Task[None], asyncio.Future[str]]] = []
        self.held: list[Lease[Fake]] = []
        self.wrongs: list[str] = []

    @initialize(
        most=st.integers(1, 4),
        warm=st.integers(0, 2),
        queue=st.integers(0, 4),
        preparing=st.integers(1, 4),
    )
    def open(self, most: int, warm: int, queue: int, preparing: int) -> None:
        limits = PoolLimits(
            most,
            warm=warm,
            queue_size=queue,
            max_preparing=preparing,
            max_uses=5,
            idle_seconds=20,
        )
        self.pool: Pool[str, Fake] = Pool(
            self.make, limits, common="a", kind_of=kind_of, clock=lambda: self.now
        )
        self.loop.run_until_complete(self.stack.enter_async_context(self.pool))

    def make(self, kind: str | None) -> Fake:
        self.made.append(Fake(self, kind))
        return self.made[-1]

    @rule(profile=PROFILES, principal=PRINCIPALS)
    def ask(self, profile: str, principal: str) -> None:
        how = self.loop.create_future()
        self.leases.append((self.loop.create_task(self.use(profile, principal, how)), how))

    async def use(self, profile: str, principal: str, how: asyncio.Future[str]) -> None:
        with suppress(Overloaded, UpstreamError, ValueError):
            async with self.pool.lease(profile, principal) as lease:
                worker = lease.worker
                self.check_handed_out(worker, profile, lease.kind)
                worker.in_hand, worker.dirty, worker.profile = True, True, profile
                self.held.append(lease)
                try:
                    await self.end(await how, lease)
                finally:
                    self.held.remove(lease)
                    if not lease.is_over:
                        worker.in_hand = False

    async def end(self, how: str, lease: Lease[Fake]) -> None:
        if how == "raise":
            raise ValueError("a bad turn")
        if how in ("park", "park early"):
            lease.worker.dirty = lease.worker.in_hand = False
            lease.park()
        if how == "park early":
            await asyncio.sleep(0)

    def check_handed_out(self, worker: Fake, profile: str, kind: str) -> None:
        wrong = {
            "in two hands": worker.in_hand,
            "dirty": worker.dirty,
            "closed": worker.closed > 0,
            "of another kind": worker.kind != kind_of(profile),
            "of another profile": worker.profile not in (None, profile),
            "used, but called blank": kind == "blank" and worker.profile is not None,
            "blank, but called used": kind == "reuse" and worker.profile is None,
            "not reusable": kind == "reuse" and not worker.reusable,
        }
        self.wrongs += [name for name, is_wrong in wrong.items() if is_wrong]

    @rule(which=WHICH)
    def asks_the_api(self, which: int) -> None:
        if self.held:
            self.loop.call_soon(self.held[which % len(self.held)].asked)
            self.run(1)

    @rule(which=WHICH, how=ENDS)
    def finish(self, which: int, how: str) -> None:
        if self.leases:
            _, future = self.leases[which % len(self.leases)]
            if not future.done():
                future.set_result(how)

    @rule(which=WHICH)
    def leave(self, which: int) -> None:
        """A client goes away, in whatever its lease is doing."""
        if self.leases:
            self.leases[which % len(self.leases)][0].cancel()

    @rule(which=WHICH)
    def kill(self, which: int) -> None:
        started = [worker for worker in self.made if worker.alive]
        if started:
            started[which % len(started)].alive = False

    @rule(opens=st.booleans())
    def slow_starts(self, opens: bool) -> None:
        self.gate.set() if opens else self.gate.clear()

    @rule(fail=st.booleans(), reusable=st.booleans())
    def change_starts(self, fail: bool, reusable: bool) -> None:
        self.starts_fail, self.reusable = fail, reusable

    @rule(seconds=st.sampled_from([0, 2, 10, 400]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.loop.call_soon(self.pool.sweep)
        self.run(1)

    @rule(steps=st.integers(0, 3))
    def run(self, steps: int) -> None:
        """Not always until all is settled: the races are in between."""

        async def ticks() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)

        self.loop.run_until_complete(ticks())

    @invariant()
    def nothing_went_wrong(self) -> None:
        assert self.wrongs == []

    @invariant()
    def there_are_never_too_many(self) -> None:
        if hasattr(self, "pool"):
            assert sum(not worker.gone for worker in self.made) <= self.pool.limits.max_processes
            assert self.pool.processes <= self.pool.limits.max_processes
            held_back = self.pool.limits.queue_size + self.pool.limits.max_processes
            assert self.pool.queued <= held_back

    def teardown(self) -> None:
        if hasattr(self, "pool"):
            self.loop.run_until_complete(self.everybody_is_served())
            self.loop.run_until_complete(self.stack.aclose())
            self.nothing_went_wrong()
            assert all(worker.closed == 1 and worker.gone for worker in self.made)
            assert self.pool.processes == 0
        self.loop.close()

    async def everybody_is_served(self) -> None:
        """No lease waits indefinitely once starts succeed and the others end."""
        self.gate.set()
        self.starts_fail = False
        self.now += 100
        for _, how in self.leases:
            if not how.done():
                how.set_result("park")
        for _ in range(ROUNDS):
            if all(task.done() for task, _ in self.leases):
                return
            self.pool.sweep()
            await asyncio.sleep(0)
        raise AssertionError("a lease is still waiting")


PoolMachine.TestCase.settings = settings(
    max_examples=500, stateful_step_count=40, deadline=None, report_multiple_bugs=False
)
test_the_pool_keeps_its_promises = pytest.mark.timeout(180)(PoolMachine.TestCase)
