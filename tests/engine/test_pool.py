"""The pool alone: what it keeps, hands out, ends and refuses. Its workers are plain objects."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from core.errors import Overloaded, UpstreamError
from engine.leases import Lease, PoolLimits
from tests.support.pool_world import Fake, World, settle, world


@pytest.fixture(autouse=True)
def _no_sweeper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything must happen by itself, not because the sweeper came along."""
    monkeypatch.setattr("engine.pool.SWEEP_SECONDS", 3600)


async def test_an_idle_worker_serves_its_profile_again() -> None:
    async with world() as it:
        _, first = await it.serve("a")
        kind, second = await it.serve("a")
        assert (kind, second) == ("reuse", first)


async def test_a_worker_never_serves_two_profiles() -> None:
    async with world() as it:
        _, first = await it.serve("a")
        kind, second = await it.serve("b")
        assert kind == "blank"
        assert second is not first


async def test_the_worker_that_was_used_last_is_used_first() -> None:
    async with world() as it:
        async with it.pool.lease("a") as one, it.pool.lease("a") as two:
            one.park()
            two.park()
        assert await it.serve("a") == ("reuse", two.worker)
        async with it.pool.lease("a") as again:
            assert again.worker is two.worker
            assert await it.serve("a") == ("reuse", one.worker)
            again.park()


async def test_a_worker_that_served_is_used_before_one_that_never_did() -> None:
    async with world(warm=2) as it:
        _, first = await it.serve("a")
        assert await it.serve("a") == ("reuse", first)


async def test_a_lease_that_parks_early_frees_the_worker_at_once_and_ends_once() -> None:
    async with world(max_processes=1) as it:
        async with it.pool.lease("a") as early:
            early.park()
            assert it.states() == {"idle": 1}
            async with it.pool.lease("a") as late:
                assert late.worker is early.worker
                early.end()  # it is another's now
                early.park()
                assert it.states() == {"busy": 1}
                late.park()
        assert it.states() == {"idle": 1}
        assert early.worker.closed == 0


async def test_a_worker_of_an_untested_version_serves_once() -> None:
    async with world() as it:
        it.reusable = False
        _, first = await it.serve("a")
        kind, second = await it.serve("a")
        assert (kind, first.closed) == ("blank", 1)
        assert second is not first


async def test_warm_workers_are_there_before_anybody_asks() -> None:
    async with world(warm=2) as it:
        assert it.states() == {"blank": 2}
        async with it.pool.lease("a") as lease:
            assert lease.kind == "blank"
            it.pool.sweep()
            await settle()
            assert it.states() == {"blank": 2, "busy": 1}
            lease.park()


async def test_an_idle_worker_of_the_common_profile_is_a_warm_one() -> None:
    async with world(warm=1) as it:
        await it.serve("a")
        it.pool.sweep()
        await settle()
        assert it.states() == {"idle": 1}
        await it.serve("b")
        it.pool.sweep()
        await settle()
        assert it.states() == {"idle": 2}


async def test_a_turn_that_did_not_end_cleanly_costs_the_worker_its_life() -> None:
    async with world() as it:
        with pytest.raises(ValueError, match="turn"):
            async with it.pool.lease("a") as lease:
                raise ValueError("turn")
        await settle()
        assert lease.worker.closed == 1
        assert it.states() == {}


async def test_a_lease_takes_what_is_free_first_rather_than_the_worker_started_for_it() -> None:
    async with world(max_processes=2) as it:
        async with it.pool.lease("a") as lease:
            it.gate.clear()
            waiting = asyncio.create_task(it.serve("a"))
            await settle()
            assert it.states() == {"busy": 1, "starting": 1}
            lease.park()
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
            lease.park()
        leaving.cancel()  # it was handed the worker, but did not run since
        assert (await staying)[0] == "reuse"
        assert leaving.cancelled()
        assert len(it.made) == 1
        assert lease.worker.served == ["a"]


async def test_a_dead_worker_is_replaced_not_handed_out() -> None:
    async with world(max_processes=2) as it:
        await it.serve("a")
        it.made[0].alive = False
        kind, worker = await it.serve("a")
        assert kind == "blank"
        assert worker is it.made[1]


async def test_a_worker_that_died_during_its_turn_is_not_parked() -> None:
    async with world() as it:
        async with it.pool.lease("a") as lease:
            lease.worker.alive = False
            lease.park()
        assert (await it.serve("a"))[0] == "blank"


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
            lease.park()
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


async def test_what_was_idle_too_long_ends() -> None:
    async with world(idle_seconds=600) as it:
        await it.serve("a")
        it.now = 600
        it.pool.sweep()
        assert it.pool.processes == 1
        it.now = 601
        it.pool.sweep()
        await settle()
        assert it.pool.processes == 0


async def test_spare_blank_workers_end_when_nobody_wants_them() -> None:
    async with world(max_processes=5, max_starting=3, idle_seconds=10) as it:
        it.gate.clear()
        leaving = [it.asks("b") for _ in range(3)]
        await settle()
        for task in leaving:
            task.cancel()
        it.gate.set()
        await settle()
        assert it.states() == {"blank": 3}
        it.pool.limits = PoolLimits(warm=1, idle_seconds=10)
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
        lease.park()
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
        await it.serve("secret profile")
        await settle()
        it.now = 5
        snapshot = it.pool.snapshot()
        assert snapshot["counts"] == {"started": 1, "blank": 1}
        assert snapshot["queue"]["length"] == 0
        assert "secret" not in repr(snapshot)
        ages = {worker["state"]: worker["age_seconds"] for worker in snapshot["workers"]}
        assert ages == {"idle": 5}
