"""The pool alone: what it keeps, hands out, ends and refuses. Its workers are plain objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.errors import Overloaded, UpstreamError
from engine.pool import GRACE_SECONDS, OVERTAKING_SECONDS, SPARE_SECONDS, Lease, Pool, PoolLimits


@dataclass(eq=False)
class Fake:
    """A worker whose start can be held up, and that can die."""

    gate: asyncio.Event
    failure: Exception | None = None
    alive: bool = False
    reusable: bool = True
    kind: str | None = None
    closed: int = 0
    size: int = 1000
    served: list[str] = field(default_factory=list)

    def memory_bytes(self) -> int:
        return self.size

    def describe(self) -> dict[str, Any]:
        return {"served": len(self.served)}

    async def start(self) -> None:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.alive = True

    async def close(self) -> None:
        self.alive = False
        self.closed += 1
        for _ in range(5):
            await asyncio.sleep(0)


class World:
    """A pool, its workers and its clock. `hold_starts` keeps new workers starting."""

    def __init__(self, **limits: Any) -> None:
        self.now = 0.0
        self.made: list[Fake] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.reusable = True
        self.pool: Pool[str, Fake] = Pool(
            self.make,
            PoolLimits(**{"warm": 0, "queue_timeout": 5, **limits}),
            kind_of=lambda profile: profile if profile.isupper() else None,
            clock=lambda: self.now,
        )

    def make(self, kind: str | None) -> Fake:
        self.made.append(Fake(self.gate, self.failure, reusable=self.reusable, kind=kind))
        return self.made[-1]

    @property
    def living(self) -> int:
        return sum(fake.alive for fake in self.made)

    async def serve(
        self, profile: str = "a", fingerprint: str | None = None, *, asks: str | None = None
    ) -> tuple[str, Fake]:
        """One clean turn, parked under `fingerprint`: the lease's kind and worker."""
        async with self.pool.lease(profile, asks) as lease:
            lease.worker.served.append(profile)
            lease.park(fingerprint)
            return lease.kind, lease.worker

    async def hold(self, profile: str, fingerprint: str) -> Fake:
        async with self.pool.lease(profile) as lease:
            lease.park(fingerprint, held=True)
            return lease.worker

    def states(self) -> dict[str, int]:
        counted = self.pool.snapshot()["states"]
        return {state: count for state, count in counted.items() if count}


@asynccontextmanager
async def world(**limits: Any) -> AsyncIterator[World]:
    made = World(**limits)
    async with made.pool:
        await settle()
        yield made
    assert made.living == 0
    assert all(fake.closed == 1 for fake in made.made)
    assert made.pool.processes == 0
    assert made.pool.queued == 0


@pytest.fixture(autouse=True)
def _no_sweeper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything must happen by itself, not because the sweeper came along."""
    monkeypatch.setattr("engine.pool.SWEEP_SECONDS", 3600)


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_idle_worker_serves_its_profile_again() -> None:
    async with world() as it:
        _, first = await it.serve("a")
        kind, second = await it.serve("a")
        assert (kind, second) == ("reuse", first)


async def test_a_worker_never_serves_two_profiles() -> None:
    async with world() as it:
        _, first = await it.serve("a", "talk")
        kind, second = await it.serve("b", asks="talk")
        assert kind == "blank"
        assert second is not first


async def test_a_conversation_goes_on_in_the_worker_that_remembers_it() -> None:
    async with world() as it:
        async with it.pool.lease("a") as one, it.pool.lease("a") as two:
            one.park("first talk")
            two.park("second talk")
        assert await it.serve("a", asks="second talk") == ("continue", two.worker)
        assert (await it.serve("a", asks="second talk"))[0] == "reuse"  # it said more meanwhile


async def test_the_one_that_rested_longest_is_reused_so_that_fresh_memories_stay() -> None:
    async with world() as it:
        async with it.pool.lease("a") as young:
            _, old = await it.serve("a", "old talk")
            young.park("young talk")
        assert await it.serve("a", "another talk") == ("reuse", old)
        assert await it.serve("a", asks="young talk") == ("continue", young.worker)


async def test_a_turn_that_did_not_end_cleanly_costs_the_worker_its_life() -> None:
    async with world() as it:
        with pytest.raises(ValueError, match="turn"):
            async with it.pool.lease("a") as lease:
                raise ValueError("turn")
        await settle()
        assert lease.worker.closed == 1
        assert it.states() == {}


async def test_a_worker_of_an_untested_version_goes_on_but_is_never_reused() -> None:
    async with world() as it:
        it.reusable = False
        _, first = await it.serve("a", "talk")
        kind, second = await it.serve("a", "other")
        assert kind == "blank"
        assert second is not first
        assert await it.serve("a", "more", asks="talk") == ("continue", first)


async def test_a_held_worker_waits_for_its_own_continuation_only() -> None:
    async with world() as it:
        held = await it.hold("a", "calls")
        kind, other = await it.serve("a")
        assert kind == "blank"
        assert other is not held
        assert await it.serve("a", asks="calls") == ("continue", held)


async def test_warm_workers_are_there_before_anybody_asks() -> None:
    async with world(warm=2) as it:
        assert it.states() == {"blank": 2}
        assert (await it.serve())[0] == "blank"
        await settle()
        assert it.states() == {"blank": 2, "idle": 1}


async def test_a_lease_takes_what_is_free_first_rather_than_the_worker_started_for_it() -> None:
    async with world(max_processes=2) as it:
        async with it.pool.lease("a") as lease:
            it.gate.clear()
            waiting = asyncio.create_task(it.serve("a"))
            await settle()
            assert it.states() == {"busy": 1, "starting": 1}
            lease.park(None)
        assert await waiting == ("reuse", lease.worker)
        it.gate.set()
        await settle()
        assert it.states() == {"idle": 1, "blank": 1}


async def test_a_cancelled_lease_leaves_the_starting_worker_to_the_next() -> None:
    async with world() as it:
        it.gate.clear()
        leaving = asyncio.create_task(it.serve("a"))
        await settle()
        leaving.cancel()
        await settle()
        it.gate.set()
        await it.serve("b")
        assert len(it.made) == 1


async def test_a_lease_cancelled_in_the_moment_it_is_handed_over_loses_nothing() -> None:
    async with world(max_processes=1) as it:
        async with it.pool.lease("a") as lease:
            leaving = asyncio.create_task(it.serve("a"))
            staying = asyncio.create_task(it.serve("a"))
            await settle()
            lease.park("talk")
        leaving.cancel()  # it was handed the worker, but did not run since
        assert (await staying)[0] == "reuse"
        assert leaving.cancelled()
        assert len(it.made) == 1
        assert lease.worker.served == ["a"]


async def test_a_worker_returned_untouched_still_remembers() -> None:
    async with world(max_processes=1) as it:
        async with it.pool.lease("a") as lease:
            leaving = asyncio.create_task(it.serve("a"))
            await settle()
            lease.park("talk")
        leaving.cancel()
        await settle()
        assert (await it.serve("a", asks="talk"))[0] == "continue"


async def test_requests_are_served_in_order() -> None:
    order: list[int] = []

    async def serve(it: World, number: int) -> None:
        async with it.pool.lease("a") as lease:
            order.append(number)
            await asyncio.sleep(0)
            lease.park(None)

    async with world(max_processes=2) as it:
        await asyncio.gather(*(serve(it, number) for number in range(30)))
        assert order == list(range(30))
        assert len(it.made) == 2


async def test_a_full_queue_refuses_at_once() -> None:
    async with world(max_processes=1, queue_size=1) as it:
        async with it.pool.lease("a") as lease:
            waiting = asyncio.create_task(it.serve("a"))
            await settle()
            with pytest.raises(Overloaded) as refused:
                await it.serve("a")
            assert refused.value.retry_after == 5
            lease.park(None)
        assert (await waiting)[0] == "reuse"


async def test_who_waits_for_a_start_does_not_count_as_queued() -> None:
    async with world(max_processes=2, queue_size=0) as it:
        assert await asyncio.gather(it.serve("a"), it.serve("b"))
        async with it.pool.lease("a"), it.pool.lease("b"):
            with pytest.raises(Overloaded):
                await it.serve("a")


async def test_a_wait_that_is_too_long_is_refused() -> None:
    async with world(max_processes=1, queue_timeout=0.01) as it, it.pool.lease("a"):
        with pytest.raises(Overloaded, match="in time"):
            await it.serve("a")
        assert it.pool.queued == 0


async def test_the_longest_idle_makes_way_and_one_that_was_held_for_long() -> None:
    async with world(max_processes=3) as it:
        held = await it.hold("a", "calls")
        (_, old), (_, young) = await it.serve("b"), await it.serve("c")
        await it.serve("d")
        assert (old.closed, young.closed, held.closed) == (1, 0, 0)
        it.now = GRACE_SECONDS + 1
        await it.serve("e")
        assert (young.closed, held.closed) == (0, 1)


async def test_held_workers_make_way_where_all_are_held() -> None:
    async with world(max_processes=2) as it:
        first = await it.hold("a", "calls 1")
        second = await it.hold("a", "calls 2")
        assert (await it.serve("a"))[0] == "blank"
        assert (first.closed, second.closed) == (1, 0)


async def test_others_overtake_one_that_would_end_a_worker_but_not_for_long() -> None:
    async with world(max_processes=1) as it:
        order: list[str] = []

        async def serve(profile: str) -> None:
            async with it.pool.lease(profile) as lease:
                order.append(profile)
                lease.park(None)

        async def busy_lease(*profiles: str, later: float) -> None:
            async with it.pool.lease("a") as lease:
                tasks = [asyncio.create_task(serve(profile)) for profile in profiles]
                await settle()
                it.now += later
                lease.park(None)
            await asyncio.gather(*tasks)

        await busy_lease("b", "a", later=0)
        await busy_lease("b", "a", later=OVERTAKING_SECONDS + 1)
        assert order == ["a", "b", "b", "a"]


async def test_a_dead_worker_is_replaced_not_handed_out() -> None:
    async with world(max_processes=2, warm=1) as it:
        await it.serve("a", "talk")
        await settle()
        for fake in it.made:
            fake.alive = False
        kind, worker = await it.serve("a", asks="talk")
        assert kind == "blank"
        assert worker is it.made[2]


async def test_a_worker_that_died_during_its_turn_is_not_parked() -> None:
    async with world() as it:
        async with it.pool.lease("a") as lease:
            lease.worker.alive = False
            lease.park("talk")
        assert (await it.serve("a", asks="talk"))[0] == "blank"


async def test_a_start_that_fails_is_told_to_who_waits() -> None:
    async with world() as it:
        it.failure = UpstreamError("no memory")
        with pytest.raises(UpstreamError, match="no memory"):
            await it.serve("a")
        it.failure = None
        assert (await it.serve("a"))[0] == "blank"


async def test_a_start_that_fails_is_not_told_where_a_busy_worker_will_be_free() -> None:
    async with world(max_processes=2) as it:
        async with it.pool.lease("a") as lease:
            it.failure = UpstreamError("no memory")
            waiting = asyncio.create_task(it.serve("a"))
            await settle()
            assert not waiting.done()
            lease.park(None)
        assert await waiting == ("reuse", lease.worker)


async def test_warm_starts_that_fail_are_tried_again_later_and_later() -> None:
    async with world() as it:
        it.pool.limits = PoolLimits(warm=1)
        it.failure = UpstreamError("no memory")
        tries = []
        for second in range(64):
            it.now = second
            it.pool.sweep()
            await settle()
            tries.append(len(it.made))
        assert tries[0] == 1
        assert tries[-1] <= 7
        it.failure, it.now = None, 200
        it.pool.sweep()
        await settle()
        assert it.states() == {"blank": 1}


@pytest.mark.parametrize(
    ("held", "limit", "seconds"), [(False, "idle_seconds", 600), (True, "hold_seconds", 300)]
)
async def test_what_was_parked_too_long_ends(held: bool, limit: str, seconds: int) -> None:
    async with world(**{limit: seconds}) as it:
        async with it.pool.lease("a") as lease:
            lease.park("talk", held=held)
        it.now = seconds
        it.pool.sweep()
        assert it.pool.processes == 1
        it.now = seconds + 1
        it.pool.sweep()
        await settle()
        assert it.pool.processes == 0


async def test_spare_blank_workers_end_when_nobody_wants_them() -> None:
    async with world(warm=1, idle_seconds=10) as it:
        async with it.pool.lease("a") as lease:
            waiting = [asyncio.create_task(it.serve("a")) for _ in range(3)]
            await asyncio.gather(*waiting)
            lease.park(None)
        await settle()
        it.now = 11
        it.pool.sweep()
        await settle()
        assert it.states() == {"blank": 1}


@pytest.mark.parametrize("reason", ["uses", "age", "size"])
async def test_a_worn_worker_retires(reason: str) -> None:
    async with world(max_uses=2, max_age_seconds=100, max_memory_bytes=5000) as it:
        _, first = await it.serve()
        if reason == "uses":
            await it.serve()
        elif reason == "age":
            it.now = 101
        else:
            first.size = 6000
        it.pool.sweep()
        await settle()
        assert first.closed == 1
        assert (await it.serve())[0] == "blank"


async def test_a_blank_worker_replaces_one_that_was_left_alone_where_places_are_not_scarce() -> (
    None
):
    async with world(warm=1, max_processes=3) as it:
        for profile in ("a", "b", "c"):
            await it.serve(profile)
            await settle()
        assert it.states() == {"idle": 3}
        it.now = SPARE_SECONDS + 1
        it.pool.sweep()
        await settle()
        assert it.states() == {"idle": 2, "blank": 1}
        assert it.made[0].closed == 1


async def test_at_most_so_many_start_at_once() -> None:
    async with world(max_processes=5, max_starting=2) as it:
        it.gate.clear()
        waiting = [asyncio.create_task(it.serve(profile)) for profile in "abcd"]
        await settle()
        assert it.states() == {"starting": 2}
        it.gate.set()
        await asyncio.gather(*waiting)


async def test_leaving_refuses_who_waits_and_ends_what_is_busy_or_starting() -> None:
    made = World(max_processes=2)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(made.pool)
        lease: Lease[Fake] = await stack.enter_async_context(made.pool.lease("a"))
        made.gate.clear()
        waiting = asyncio.create_task(made.serve("b"))
        await settle()
        await made.pool.__aexit__(None, None, None)
        with pytest.raises(Overloaded, match="shutting down"):
            await waiting
        with pytest.raises(Overloaded, match="shutting down"):
            await made.serve("a")
        assert made.pool.processes == 0
        lease.park("talk")
    assert [fake.closed for fake in made.made] == [1, 1]


async def test_leaving_waits_for_what_is_ending_and_does_not_end_it_twice() -> None:
    async with world() as it:
        async with it.pool.lease("a") as lease:
            pass
        assert lease.worker.closed == 0  # it is about to be


async def test_a_worker_that_cannot_be_closed_gives_its_place_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world(max_processes=1) as it:
        _, first = await it.serve("a")

        async def close() -> None:
            first.closed += 1
            first.alive = False
            raise OSError("stuck")

        first.close = close  # type: ignore[method-assign]
        assert (await it.serve("b"))[0] == "blank"
    assert "a worker could not be closed" in caplog.text


async def test_the_snapshot_counts_and_shows_no_content() -> None:
    async with world(warm=1) as it:
        await it.serve("secret profile", "secret talk")
        await settle()
        it.now = 5
        snapshot = it.pool.snapshot()
        assert snapshot["counts"] == {"started": 2, "blank": 1}
        assert snapshot["queue"]["length"] == 0
        assert "secret" not in repr(snapshot)
        ages = {worker["state"]: worker["age_seconds"] for worker in snapshot["workers"]}
        assert ages == {"idle": 5, "blank": 5}
