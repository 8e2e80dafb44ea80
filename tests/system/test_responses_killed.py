"""Two servers on one database, one of them killed: every response is whole, or it has failed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from demo import FakeAnthropic
from tests.support.harness import cli_environ, openai_client
from tests.support.responses_wire import OPEN, asking, until_over
from tests.support.server_process import ServerProcess, server_process

RESPONSES = 100
WORDS = " ".join(f"word{number}" for number in range(1, 9))

pytestmark = [pytest.mark.wire, pytest.mark.timeout(180)]


@dataclass(slots=True)
class Pair:
    servers: list[ServerProcess]
    clients: list[AsyncOpenAI]
    upstream: FakeAnthropic


@pytest.fixture(scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(FakeAnthropic())
        environ = {
            **cli_environ(upstream, folder),
            "DATABASE_URL": f"sqlite:///{folder}/r.db",
            "MAX_PROCESSES": "3",
            "POOL_WARM": "0",
            "SESSION_LEASE_SECONDS": "5",
            "SESSION_SWEEP_SECONDS": "1",
            "RATE_LIMIT_ENABLED": "false",
            "LOG_LEVEL": "WARNING",
        }
        starting = [stack.enter_async_context(server_process(folder, environ)) for _ in range(2)]
        servers = list(await asyncio.gather(*starting))
        clients = [await stack.enter_async_context(openai_client(server.url)) for server in servers]
        yield Pair(servers, clients, upstream)


async def test_another_server_shows_the_stream_of_a_background_response(pair: Pair) -> None:
    worker, other = pair.clients
    asked = asking("!demo tokens=30 rate=15", background=True, stream=True)
    numbers, id = [], ""
    async for event in await worker.responses.create(**asked):
        if event.type == "response.created":
            id = event.response.id
        numbers.append(event.sequence_number)
        if len(numbers) == 6:
            break
    rest = await other.responses.retrieve(id, stream=True, starting_after=numbers[-1])
    last: Any = None
    async for last in rest:
        numbers.append(last.sequence_number)
    assert numbers == list(range(len(numbers)))
    assert last.type == "response.completed"
    assert last.response.output_text.endswith("word30")


async def test_another_server_cancels_a_background_response(pair: Pair) -> None:
    worker, other = pair.clients
    pair.upstream.clear()
    begun = await worker.responses.create(**asking("!demo tokens=900 rate=15", background=True))
    await pair.upstream.wait_for_requests(1)
    assert (await other.responses.cancel(begun.id)).status == "cancelled"
    async with asyncio.timeout(20):
        while pair.upstream.requests[-1].outcome == "open":  # noqa: ASYNC110  # the upstream has no event for it
            await asyncio.sleep(0.05)
    assert pair.upstream.requests[-1].outcome == "disconnected"


async def test_no_response_is_half_after_a_kill(pair: Pair) -> None:
    worker, other = pair.clients
    done: list[str] = []

    async def ask(number: int) -> str | None:
        background = number % 4 == 0
        with suppress(openai.APIError, httpx.HTTPError):
            asked = asking("!demo tokens=8 rate=60", background=background)
            response = await worker.responses.create(**asked)
            done.append(response.id)
            return str(response.id)
        return None

    asking_all = [asyncio.create_task(ask(number)) for number in range(RESPONSES)]
    async with asyncio.timeout(120):
        while len(done) < RESPONSES // 2:  # noqa: ASYNC110  # half of them is what it waits for
            await asyncio.sleep(0.01)
    await pair.servers[0].kill()
    told = [id for id in await asyncio.gather(*asking_all) if id]
    assert len(told) >= RESPONSES // 2
    outcomes: Counter[str] = Counter()
    for id in told:
        response = await until_over(other, id)
        outcomes[response.status] += 1
        if response.status == "completed":
            assert response.output_text == WORDS
        else:
            assert response.error.message == "The server that worked on this response was stopped."
            assert response.output == []
    assert set(outcomes) <= {"completed", "failed"}
    assert outcomes["completed"] > 0
    assert not OPEN & outcomes.keys()
