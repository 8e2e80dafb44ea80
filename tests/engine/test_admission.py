"""More than the server can carry: everything is answered, in order or with a 503 that says when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from core.conversation import Message, text_block
from core.turn import Turn
from demo import FakeAnthropic
from tests.conftest import MakeGateway
from tests.support.harness import Gateway, gateway_at
from tests.support.wire import MODEL, URL, asking, streaming

PROCESSES, QUEUE = 2, 6


async def load(gateway: Gateway, requests: int) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=requests + 1)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=50, limits=limits) as http:
        bodies = [asking(f"{number}\n!demo first_delay=0.1") for number in range(requests)]
        return await asyncio.gather(*(http.post(URL, json=body) for body in bodies))


async def probe(gateway: Gateway, until_done: asyncio.Future[list[httpx.Response]]) -> list[int]:
    """Asks for `/health` again and again; the statuses."""
    statuses = []
    while not until_done.done():
        statuses.append((await gateway.http.get("/health")).status_code)
        await asyncio.sleep(0.02)
    return statuses


async def test_four_times_the_load_is_answered_and_leaves_no_trace(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(max_processes=PROCESSES, queue_size=QUEUE) as gateway:
        await load(gateway, PROCESSES)
        loaded = asyncio.ensure_future(load(gateway, 4 * (PROCESSES + QUEUE)))
        health = await probe(gateway, loaded)
        answers = await loaded
        served = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert len(served) + len(refused) == len(answers)
        assert len(served) >= PROCESSES + QUEUE
        assert refused
        for answer in refused:
            assert answer.json()["error"]["code"] == "overloaded"
            assert int(answer.headers["retry-after"]) >= 1
        assert len(health) > 3
        assert set(health) == {200}

        pool = gateway.engine.pool
        assert pool.queued == 0
        assert pool.in_state("busy") == []
        assert pool.processes <= PROCESSES
        pool.counts.clear()
        await load(gateway, 1)
        assert pool.counts["reuse"] == 1
        assert pool.waits[-1] < min(pool.limits.queue_timeout, 1)


@pytest.fixture(scope="module")
async def single(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A server of one process."""
    home = tmp_path_factory.mktemp("home")
    async with gateway_at(shared_upstream, home, max_processes=1, pool_warm=0) as gateway:
        yield gateway


async def test_requests_reach_the_model_in_the_order_in_which_they_came(
    single: Gateway, upstream: FakeAnthropic
) -> None:
    async def ask(number: int) -> None:
        turn = Turn(MODEL, (Message("user", (text_block(f"number {number}"),)),))
        async for _ in single.engine.run(turn):
            pass

    await asyncio.gather(*(ask(number) for number in range(12)))
    texts = [request.messages[0]["content"][0]["text"] for request in upstream.requests]
    assert texts == [f"number {number}" for number in range(12)]


async def test_a_busy_server_refuses_after_the_queue_timeout_or_at_once_without_a_queue(
    single: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = single.engine.pool
    async with streaming(single.http, "!demo tokens=100000 rate=20") as lines:
        await anext(lines)
        for limits in (
            replace(pool.limits, queue_timeout=0.1),
            replace(pool.limits, queue_size=0),
        ):
            monkeypatch.setattr(pool, "limits", limits)
            answer = await single.http.post(URL, json=asking("hi"))
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "overloaded"
            assert "retry-after" in answer.headers
            assert pool.queued == 0
