"""Workers that are started for a profile of their own. A profile in capitals needs one."""

from __future__ import annotations

import asyncio

import pytest

from core.errors import UpstreamError
from tests.support.pool_world import settle, world


async def test_a_profile_that_needs_its_own_start_gets_no_other_worker() -> None:
    async with world(warm=1, max_processes=3) as it:
        await settle()
        assert (await it.serve("A"))[1].kind == "A"
        assert (await it.serve("B"))[1].kind == "B"
        assert (await it.serve("a"))[1].kind is None
        assert (await it.serve("A"))[0] == "reuse"


async def test_blank_workers_make_way_for_a_kind_they_cannot_serve() -> None:
    async with world(warm=1, max_processes=1) as it:
        await settle()
        assert it.states() == {"blank": 1}
        assert (await it.serve("A"))[1].kind == "A"
        assert (await it.serve("a"))[1].kind is None


async def test_a_worker_of_a_kind_that_nobody_wants_any_more_ends() -> None:
    async with world(warm=0) as it:
        it.gate.clear()
        lease = asyncio.create_task(it.serve("A"))
        await settle()
        lease.cancel()
        it.gate.set()
        await settle()
        assert it.states() == {"blank": 1}
        it.pool.sweep()
        await settle()
        assert it.states() == {}


async def test_a_kind_that_cannot_start_holds_up_nobody_else() -> None:
    async with world(warm=0) as it, it.pool.lease("a"):
        it.failure = UpstreamError("no sandbox")
        with pytest.raises(UpstreamError):
            await it.serve("A")
        it.failure = None
        assert (await it.serve("b"))[0] == "blank"


async def test_of_a_kind_whose_workers_serve_once_another_is_kept_ready() -> None:
    async with world(warm=1, max_processes=4) as it:
        it.reusable = False
        first = (await it.serve("A"))[1]
        await settle()
        [ready] = [fake for fake in it.made if fake.kind == "A" and fake.alive]
        assert ready is not first
        it.gate.clear()  # what starts from now on never comes
        assert (await it.serve("A"))[1] is ready


async def test_such_workers_end_when_they_were_not_wanted_for_long() -> None:
    async with world(warm=1, max_processes=4, idle_seconds=600) as it:
        it.reusable = False
        await it.serve("A")
        await settle()
        it.now += 599
        it.pool.sweep()
        await settle()
        assert any(fake.kind == "A" and fake.alive for fake in it.made)
        it.now += 2
        it.pool.sweep()
        await settle()
        assert not any(fake.kind == "A" and fake.alive for fake in it.made)


async def test_only_the_kinds_that_were_used_last_are_kept_ready() -> None:
    async with world(warm=1, max_processes=9) as it:
        it.reusable = False
        for kind in ("A", "B", "C"):
            await it.serve(kind)
        await settle()
        it.pool.sweep()
        await settle()
        assert {fake.kind for fake in it.made if fake.alive} == {None, "C"}


async def test_a_kind_that_failed_to_start_is_not_tried_again_by_itself() -> None:
    async with world(warm=1, max_processes=4) as it:
        it.reusable = False
        await settle()
        async with it.pool.lease("A") as lease:
            it.failure = UpstreamError("no sandbox")
            lease.park()
        await settle()
        it.failure = None
        for _ in range(5):
            it.pool.sweep()
            await settle()
        assert len([fake for fake in it.made if fake.kind == "A"]) == 2


async def test_a_worker_that_is_kept_ready_makes_way() -> None:
    async with world(warm=1, max_processes=2) as it:
        it.reusable = False
        await it.serve("A")
        await settle()
        async with it.pool.lease("a"), it.pool.lease("b"):
            assert it.states() == {"busy": 2}


async def test_a_turn_that_ended_badly_keeps_nothing_ready() -> None:
    async with world(warm=1, max_processes=4) as it:
        async with it.pool.lease("A"):
            pass  # not parked
        await settle()
        it.pool.sweep()
        await settle()
        assert {fake.kind for fake in it.made if fake.alive} == {None}


async def test_a_worker_without_a_successor_has_none() -> None:
    async with world(warm=1, max_processes=4) as it:
        it.reusable = False
        async with it.pool.lease("A") as lease:
            lease.worker.has_successor = False
            lease.park()
        await settle()
        assert {fake.kind for fake in it.made if fake.alive} == {None}
