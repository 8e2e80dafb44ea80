"""No principal takes all workers, and none sees those of others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from engine.leases import Lease, PoolLimits
from engine.pool import PREPARING_SECONDS, Pool


class Plain:
    """A worker that starts at once and does nothing."""

    def __init__(self) -> None:
        self.alive = True

    reusable = True
    has_successor = False

    def memory_bytes(self) -> int:
        return 0

    def describe(self) -> dict[str, Any]:
        return {}

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass


@asynccontextmanager
async def pool(
    most: int,
    share: int | None,
    preparing: int = 10,
    clock: Callable[[], float] = time.monotonic,
    principals: int = 1,
) -> AsyncIterator[Pool[str, Plain]]:
    limits = PoolLimits(
        max_processes=most,
        max_per_principal=share,
        warm=most,
        max_preparing=preparing,
        queue_timeout=5.0,
        principals=lambda: principals,
    )
    async with Pool[str, Plain](lambda kind: Plain(), limits, common="p", clock=clock) as running:
        await asyncio.sleep(0)
        yield running


async def leased(stack: AsyncExitStack, pool: Pool[str, Plain], name: str) -> Lease[Plain]:
    return await stack.enter_async_context(pool.lease("p", name))


async def test_a_principal_waits_where_it_has_its_share_and_others_do_not() -> None:
    async with pool(3, 2) as it, AsyncExitStack() as stack:
        first = await leased(stack, it, "alice")
        await leased(stack, it, "alice")
        third = asyncio.create_task(leased(stack, it, "alice"))
        await asyncio.sleep(0.02)
        assert not third.done()
        await asyncio.wait_for(leased(stack, it, "bob"), 2)
        first.park()
        await asyncio.wait_for(third, 2)


async def test_no_worker_is_started_for_whoever_has_its_share() -> None:
    async with pool(3, 1) as it, AsyncExitStack() as stack:
        await leased(stack, it, "alice")
        waiting = [asyncio.create_task(leased(stack, it, "alice")) for _ in range(5)]
        await asyncio.sleep(0.02)
        assert it.counts["started"] == 3  # those that are kept ready
        assert len(it.in_state("busy")) == 1
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_what_dies_is_replaced_while_whoever_has_its_share_waits() -> None:
    async with pool(4, None, principals=2) as it, AsyncExitStack() as stack:
        for _ in range(3):
            await leased(stack, it, "alice")
        waiting = asyncio.create_task(leased(stack, it, "alice"))
        await asyncio.sleep(0.02)
        (left,) = it.in_state("blank")
        left.worker.alive = False
        for _ in range(2):  # it ends, then its place is free
            it.sweep()
            await asyncio.sleep(0.02)
        assert len(it.in_state("blank")) == 1
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_without_a_bound_the_only_principal_may_have_all() -> None:
    async with pool(2, None) as it, AsyncExitStack() as stack:
        for _ in range(2):
            await asyncio.wait_for(leased(stack, it, "alice"), 2)


@pytest.mark.parametrize("principals", [1, 2])
async def test_without_a_bound_one_of_several_leaves_a_quarter_to_the_others(
    principals: int,
) -> None:
    """Of several that have come, or that may come."""
    async with pool(4, None, principals=principals) as it, AsyncExitStack() as stack:
        if principals == 1:
            async with it.lease("p", "bob") as lease:
                lease.park()
        for _ in range(3):
            await asyncio.wait_for(leased(stack, it, "alice"), 2)
        fourth = asyncio.create_task(leased(stack, it, "alice"))
        await asyncio.sleep(0.02)
        assert not fourth.done()
        await asyncio.wait_for(leased(stack, it, "bob"), 2)
        fourth.cancel()
        await asyncio.gather(fourth, return_exceptions=True)


async def test_one_that_has_most_leaves_the_last_free_worker_to_the_others() -> None:
    async with pool(8, None) as it, AsyncExitStack() as stack:
        async with it.lease("p", "bob") as lease:
            lease.park()
        for _ in range(5):
            await asyncio.wait_for(leased(stack, it, "alice"), 2)
        for slot in it.in_state("blank", "idle")[1:]:
            slot.worker.alive = False  # such as by kill -9
        it.sweep()
        [last] = [slot.worker for slot in it.in_state("blank", "idle")]
        sixth = asyncio.create_task(leased(stack, it, "alice"))
        await asyncio.sleep(0)
        assert (await leased(stack, it, "bob")).worker is last
        assert (await asyncio.wait_for(sixth, 2)).worker is not last  # but started for it


async def test_what_the_server_asks_itself_is_no_principal() -> None:
    """A server with one key must not keep a quarter for nobody."""
    async with pool(2, None) as it, AsyncExitStack() as stack:
        async with it.lease("p") as own:
            own.park()
        for _ in range(2):
            await asyncio.wait_for(leased(stack, it, "alice"), 2)


async def test_turns_that_do_not_ask_keep_their_principal_waiting_for_a_second_only() -> None:
    now = [0.0]
    async with pool(8, None, preparing=3, clock=lambda: now[0]) as it, AsyncExitStack() as stack:
        async with it.lease("p", "bob") as lease:
            lease.park()
        for _ in range(2):
            await asyncio.wait_for(leased(stack, it, "alice"), 2)
        third = asyncio.create_task(leased(stack, it, "alice"))
        await asyncio.sleep(0.02)
        assert not third.done()  # one turn that may be prepared is for others
        now[0] += PREPARING_SECONDS
        it.sweep()
        await asyncio.wait_for(third, 2)


async def test_a_principal_sees_only_the_workers_that_serve_it() -> None:
    async with pool(3, None) as it, AsyncExitStack() as stack:
        await leased(stack, it, "alice")
        parked = await leased(stack, it, "bob")
        parked.park()
        assert len(it.snapshot()["workers"]) == 3
        assert [worker["state"] for worker in it.snapshot("alice")["workers"]] == ["busy"]
        assert it.snapshot("bob")["workers"] == []
