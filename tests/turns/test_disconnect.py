"""When a client leaves, nothing goes on spending, and its process is free. Real CLI."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
from contextlib import suppress

import httpx
import pytest

from tests.conftest import MakeGateway
from tests.support.harness import Gateway, cli_processes
from tests.support.wire import URL, asking, streaming, until

GONE_SECONDS = 1.0
"""The promise: within this time of the client's leaving, its process serves others, or is gone."""

LONG = "!demo tokens=500 rate=100"


def live() -> set[int]:
    return {process.pid for process in cli_processes()}


def busy(gateway: Gateway) -> list[int]:
    """The processes that work for somebody."""
    workers = gateway.engine.pool.snapshot()["workers"]
    return [worker["pid"] for worker in workers if worker["state"] == "busy"]


async def released(gateway: Gateway, pids: list[int]) -> None:
    await until(lambda: not {*busy(gateway)} & {*pids}, GONE_SECONDS)


async def outcomes(gateway: Gateway) -> list[str]:
    await gateway.upstream.wait_until_idle()
    return [request.outcome for request in gateway.upstream.requests]


@pytest.fixture
def noise(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def complaints(noise: pytest.LogCaptureFixture) -> list[str]:
    gc.collect()  # a task whose exception nobody read complains when it is collected
    return [record.getMessage() for record in noise.records if record.levelno >= logging.WARNING]


async def left_after(gateway: Gateway, text: str, *, stream: bool) -> list[int]:
    """Leaves when the model has been asked; the process that worked for it."""
    body = asking(text, stream=stream)
    task = asyncio.create_task(gateway.http.post(URL, json=body))
    await gateway.upstream.wait_for_requests(1)
    pids = busy(gateway)
    assert pids
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return pids


@pytest.mark.parametrize(
    ("text", "stream"),
    [
        ("!demo silent", False),
        ("!demo silent", True),
        ("!demo hang", False),
        ("!demo hang", True),
        (LONG, False),  # streamed, it is left in the middle: see below
    ],
)
async def test_a_client_that_leaves_ends_its_question(
    gateway: Gateway, text: str, stream: bool, noise: pytest.LogCaptureFixture
) -> None:
    await released(gateway, await left_after(gateway, text, stream=stream))
    assert await outcomes(gateway) == ["disconnected"]
    assert complaints(noise) == []


async def test_a_client_that_leaves_in_the_middle_ends_its_question(
    gateway: Gateway, noise: pytest.LogCaptureFixture
) -> None:
    async with streaming(gateway.http, LONG) as lines:
        async for line in lines:
            if "word3" in line:
                break
        pids = busy(gateway)
        assert pids
    await released(gateway, pids)
    assert await outcomes(gateway) == ["disconnected"]
    assert complaints(noise) == []


async def test_a_client_that_leaves_after_the_end_costs_nothing(gateway: Gateway) -> None:
    async with streaming(gateway.http, "!demo tokens=3") as lines:
        async for line in lines:
            if line == "data: [DONE]":
                break
    await until(lambda: not busy(gateway))
    assert await outcomes(gateway) == ["answered"]


async def test_a_client_that_leaves_the_queue_is_never_asked_for(
    make_gateway: MakeGateway, noise: pytest.LogCaptureFixture
) -> None:
    async with make_gateway(max_processes=1) as gateway:
        await gateway.http.get("/health/ready")
        async with streaming(gateway.http, "!demo tokens=9 delay_after=2:60") as lines:
            async for line in lines:
                if "word2" in line:
                    break
            waiting = [
                asyncio.create_task(gateway.http.post(URL, json=asking("late", stream=stream)))
                for stream in (False, True)
            ]
            await until(lambda: gateway.engine.pool.queued == 2)
            for task in waiting:
                task.cancel()
            await until(lambda: gateway.engine.pool.queued == 0)
            assert len(busy(gateway)) == 1  # who was there first is not disturbed
        answer = await gateway.http.post(URL, json=asking("next"))
        assert answer.status_code == 200
        asked = [request.messages[-1]["content"] for request in gateway.upstream.requests]
    assert len(asked) == 2
    assert "late" not in str(asked)
    await asyncio.gather(*waiting, return_exceptions=True)
    assert complaints(noise) == []


async def test_twenty_clients_that_leave_at_random_moments_leave_nothing_behind(
    make_gateway: MakeGateway, noise: pytest.LogCaptureFixture
) -> None:
    others = live()
    chance = random.Random(7)
    async with make_gateway(max_processes=2, pool_warm=1) as gateway:
        await gateway.http.post(URL, json=asking("hi"))

        async def visit(stay_seconds: float, stream: bool) -> None:
            with suppress(TimeoutError, httpx.HTTPError):
                async with asyncio.timeout(stay_seconds):
                    await gateway.http.post(URL, json=asking(LONG, stream=stream))

        await asyncio.gather(
            *(visit(chance.uniform(0, 1.2), chance.random() < 0.5) for _ in range(20))
        )
        pool = gateway.engine.pool
        await until(lambda: not busy(gateway) and pool.queued == 0, GONE_SECONDS)
        await gateway.upstream.wait_until_idle()
        known = {"blank", "idle", "starting"}
        await until(lambda: {w["state"] for w in pool.snapshot()["workers"]} <= known)
        mine = {worker["pid"] for worker in pool.snapshot()["workers"]}
        await until(lambda: live() - others <= mine, GONE_SECONDS)
        assert "disconnected" in await outcomes(gateway)
        asked = len(gateway.upstream.requests)
        answer = await gateway.http.post(URL, json=asking("!demo recall"))
        received = json.loads(answer.json()["choices"][0]["message"]["content"])
        assert received == [["user", "!demo recall"]]  # nothing of those who left
        assert len(gateway.upstream.requests) == asked + 1
    assert live() <= others
    assert complaints(noise) == []
