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
