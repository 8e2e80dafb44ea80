"""Whom the pool serves next, when it starts another worker, and whom it refuses: with a clock that
the test moves."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from core.errors import Overloaded
from engine.leases import Lease
from engine.pool import PREPARING_SECONDS
from tests.support.pool_world import Fake, World, settle, world


@pytest.fixture(autouse=True)
def _no_sweeper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes only where the test says so."""
    monkeypatch.setattr("engine.pool.SWEEP_SECONDS", 3600)


async def used_to(it: World, seconds: float, *, workers: int = 1) -> None:
    """The pool has seen turns of `seconds`, and has so many idle workers. A start takes 0.4 s."""
    async with AsyncExitStack() as stack:
        leases = []
        for _ in range(workers):
            it.now += 10  # those in use take too long
            leases.append(await stack.enter_async_context(it.pool.lease("a")))
            leases[-1].asked()
        for lease in leases:
            lease.park()
    it.pool._start_seconds = 0.4
    for _ in range(60):
        await it.serve("a", seconds=seconds)
    assert len(it.made) == workers


# --- Starting another worker --------------------------------------------------------------------


async def test_nothing_is_started_while_a_worker_will_be_free_sooner_than_a_start_takes() -> None:
    async with world(max_processes=8) as it:
        await used_to(it, 0.05)
        async with it.pool.lease("a") as lease:
            waiting = [it.asks() for _ in range(7)]  # 0.35 s for the last
            await settle()
            assert it.states() == {"busy": 1}
            lease.park()
        assert {kind for kind, _ in await asyncio.gather(*waiting)} == {"reuse"}
        assert len(it.made) == 1


async def test_those_who_would_wait_longer_than_a_start_get_workers_of_their_own() -> None:
    async with world(max_processes=8) as it:
        await used_to(it, 0.05)
        it.gate.clear()
        async with it.pool.lease("a") as lease:
            waiting = [it.asks() for _ in range(8)]  # a little more than 0.4 s for the last
            await settle()
            assert it.states() == {"busy": 1, "starting": 1}
            lease.park()
        it.gate.set()
        await asyncio.gather(*waiting)


async def test_slow_turns_are_not_waited_for() -> None:
    async with world(max_processes=4) as it:
        await used_to(it, 3.0)
        async with it.pool.lease("a") as lease:
            assert (await it.asks())[0] == "blank"
            lease.park()


async def test_a_turn_that_hangs_does_not_keep_others_waiting() -> None:
    async with world(max_processes=4) as it:
        await used_to(it, 0.05)
        async with it.pool.lease("a"):
            waiting = it.asks()
            await settle()
            assert it.states() == {"busy": 1}
            it.now += 0.6  # longer than a start; as long again is what is left of it
            it.pool.sweep()
            assert (await waiting)[0] == "blank"


async def test_a_start_is_worth_what_starts_took_lately() -> None:
    async with world(max_processes=9) as it:
        for _ in range(20):  # each start takes 10 s
            it.gate.clear()
            starting = it.asks("b")
            await settle()
            it.now += 10
            it.gate.set()
            _, worker = await starting
            worker.alive = False
        it.pool.sweep()
        await settle()
        await it.serve("a", seconds=0)
        made = len(it.made)
        async with it.pool.lease("a") as lease:
            waiting = it.asks()
            it.now += 5
            it.pool.sweep()
            await settle()
            assert len(it.made) == made
            lease.park()
        assert (await waiting)[0] == "reuse"


async def test_who_waits_for_a_worker_of_another_profile_does_not_wait_for_one_in_use() -> None:
    async with world(max_processes=4) as it:
        await used_to(it, 0.05)
        async with it.pool.lease("a") as lease:
            assert (await it.asks("b"))[0] == "blank"
            lease.park()


async def test_a_profiles_idle_worker_is_evicted_for_another_the_longest_idle_first() -> None:
    async with world(max_processes=2) as it:
        (_, old), (_, young) = await it.serve("b"), await it.serve("c")
        assert (await it.serve("d"))[0] == "blank"
        assert (old.closed, young.closed) == (1, 0)
        assert await it.serve("c") == ("reuse", young)
        assert it.pool.counts["evicted"] == 1


async def test_a_thousand_principals_grow_nothing() -> None:
    async with world(max_processes=8, max_uses=10_000) as it:
        await used_to(it, 0.01)
        for number in range(1000):
            await it.serve("a", f"principal {number}")
        assert len(it.made) == 1
        await settle()
        kept = (it.pool._line, it.pool._preparing, it.pool._tasks, it.pool._ending)
        assert [len(each) for each in kept] == [0, 0, 1, 0]  # one task: the sweeper


# --- How many prepare their turn at once --------------------------------------------------------


async def test_so_many_turns_at_most_are_between_their_lease_and_their_question() -> None:
    async with world(max_processes=4, max_preparing=2) as it:
        await used_to(it, 0.05, workers=3)
        async with it.pool.lease("a") as one, it.pool.lease("a") as two:
            waiting = it.asks()
            await settle()
            assert it.states() == {"busy": 2, "idle": 1}  # it is free, but the processor is not
            assert not waiting.done()
            one.asked()
            assert (await waiting)[0] == "reuse"
            one.park()
            two.park()


async def test_what_waits_for_the_processor_starts_nothing() -> None:
    async with world(max_processes=8, max_preparing=1) as it:
        await used_to(it, 3.0)
        async with it.pool.lease("a") as lease:
            waiting = [it.asks() for _ in range(5)]
            await settle()
            assert it.states() == {"busy": 1}
            lease.asked()
            await settle()
            assert it.states() != {"busy": 1}
            lease.park()
        await asyncio.gather(*waiting)


@pytest.mark.parametrize("ends_well", [True, False])
async def test_a_turn_that_ends_without_having_asked_lets_the_next_prepare(ends_well: bool) -> None:
    async with world(max_processes=2, max_preparing=1) as it:
        await used_to(it, 0.05, workers=2)
        async with it.pool.lease("a") as lease:
            waiting = it.asks()
            await settle()
            assert not waiting.done()
            lease.end(clean=ends_well)
            assert (await waiting)[0] == "reuse"


async def test_a_turn_that_does_not_ask_keeps_others_for_a_second_at_most() -> None:
    async with world(max_processes=2, max_preparing=1) as it:
        await used_to(it, 0.05, workers=2)
        async with it.pool.lease("a") as lease:
            waiting = it.asks()
            it.now += PREPARING_SECONDS / 2
            it.pool.sweep()
            await settle()
            assert not waiting.done()
            it.now += PREPARING_SECONDS
            it.pool.sweep()
            assert (await waiting)[0] == "reuse"
            lease.park()


# --- The queue ----------------------------------------------------------------------------------


async def in_turn(it: World, *principals: str) -> list[str]:
    """Who was served in which order, of those who came to a busy pool in this one."""
    order: list[str] = []

    async def serve(principal: str) -> None:
        async with it.pool.lease("a", principal[0]) as lease:
            order.append(principal)
            await asyncio.sleep(0)
            lease.park()

    async with it.pool.lease("a") as lease:
        tasks = []
        for principal in principals:
            tasks.append(asyncio.create_task(serve(principal)))
            await settle()
        lease.park()
    await asyncio.gather(*tasks)
    return order


async def test_a_principals_requests_are_served_in_their_order() -> None:
    async with world(max_processes=1) as it:
        asked = [f"x{number}" for number in range(30)]
        assert await in_turn(it, *asked) == asked


async def test_one_who_floods_does_not_starve_the_others() -> None:
    async with world(max_processes=1) as it:
        flood = [f"x{number}" for number in range(20)]
        order = await in_turn(it, *flood, "y0", "z0", "y1")
        assert order[:6] == ["x0", "y0", "z0", "x1", "y1", "x2"]
        assert [each for each in order if each[0] == "x"] == flood


async def test_a_full_queue_refuses_at_once() -> None:
    async with world(max_processes=1, queue_size=1) as it:
        async with it.pool.lease("a") as lease:
            waiting = it.asks()
            await settle()
            with pytest.raises(Overloaded) as refused:
                await it.serve("a")
            assert refused.value.retry_after == 5
            lease.park()
        assert (await waiting)[0] == "reuse"


async def test_a_full_queue_refuses_the_one_who_filled_it() -> None:
    async with world(max_processes=1, queue_size=2) as it:
        async with it.pool.lease("a", "x") as lease:
            first, second = it.asks("a", "x"), it.asks("a", "x")
            await settle()
            other = it.asks("a", "y")
            with pytest.raises(Overloaded, match="queue is full"):
                await second
            with pytest.raises(Overloaded, match="queue is full"):
                await it.serve("a", "x")
            lease.park()
        assert [(await task)[0] for task in (first, other)] == ["reuse", "reuse"]
        assert it.pool.counts["refused"] == 2


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


async def test_one_who_leaves_the_queue_takes_nobodys_turn() -> None:
    async with world(max_processes=1) as it:
        lease: Lease[Fake]
        async with it.pool.lease("a") as lease:
            leaving, staying = it.asks("a", "x"), it.asks("a", "y")
            await settle()
            leaving.cancel()
            await settle()
            assert it.pool.queued == 1
            lease.park()
        assert (await staying)[0] == "reuse"
