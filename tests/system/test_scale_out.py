"""Two servers behind a real nginx, on one PostgreSQL and one Redis: together they are one, and when
one is killed nothing that was stored is lost."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from openai import AsyncOpenAI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from demo import FakeAnthropic
from tests.support.harness import cli_environ, said
from tests.support.nginx import nginx
from tests.support.postgres import Postgres
from tests.support.redis_server import redis_server
from tests.support.server_process import ServerProcess, server_process
from tests.support.session_clients import (
    Client,
    agrees,
    asked_conversations,
    database,
    stored_turns,
    until_answered,
)
from tests.support.wire import URL, asking

OPERATOR, LIMITED = "sk-operator", "sk-limited"
KEYS = {"operator": {"key": OPERATOR}, "limited": {"key": LIMITED, "requests_per_minute": 3}}
UNLIMITED = ("CHAT", "HEALTH", "SESSION", "GENERAL")
SLOW = "!demo tokens=20 rate=20"
PATIENCE_SECONDS = 20.0
TURNS = 3

Answer = TypeVar("Answer")

pytestmark = [pytest.mark.wire, pytest.mark.timeout(120)]


@dataclass(slots=True)
class Cluster:
    """`http` and `client` go through nginx, and have the operator's key."""

    servers: list[ServerProcess]
    upstream: FakeAnthropic
    database: str
    http: httpx.AsyncClient
    client: AsyncOpenAI

    async def at(self, server: ServerProcess, session: str, words: str) -> httpx.Response:
        """Asks one of the servers itself."""
        return await self.http.post(server.url + URL, json=asking(words, session_id=session))

    async def turns(self, server: ServerProcess) -> int:
        counts = (await self.http.get(f"{server.url}/v1/pool")).json()["counts"]
        return sum(counts.get(kind, 0) for kind in ("reuse", "blank"))


@pytest.fixture(scope="module")
async def running(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "keys.json").write_text(json.dumps(KEYS))
    async with AsyncExitStack() as stack:
        short = stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-"))
        redis = stack.enter_context(redis_server(Path(short) / "s"))
        upstream = await stack.enter_async_context(FakeAnthropic())
        environ = {
            **cli_environ(upstream, folder),
            "DATABASE_URL": postgres.new_database(),
            "REDIS_URL": redis,
            "API_KEYS_FILE": str(folder / "keys.json"),
            "MAX_PROCESSES": "4",  # of which one key may take three
            "POOL_WARM": "0",
            "RATE_LIMIT_ENABLED": "true",
            "RATE_LIMIT_DEBUG_PER_MINUTE": "4",
            **{f"RATE_LIMIT_{group}_PER_MINUTE": "10000" for group in UNLIMITED},
            "SESSION_LEASE_SECONDS": "1",
            "SESSION_SWEEP_SECONDS": "1",
            "LOG_LEVEL": "WARNING",
        }
        starting = [stack.enter_async_context(server_process(folder, environ)) for _ in range(2)]
        servers = list(await asyncio.gather(*starting))
        hosts = [server.url.removeprefix("http://") for server in servers]
        url = await stack.enter_async_context(nginx(folder, hosts))
        headers = {"Authorization": f"Bearer {OPERATOR}"}
        http = httpx.AsyncClient(base_url=url, headers=headers, timeout=30)
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key=OPERATOR, max_retries=4)
        await stack.enter_async_context(http)
        await stack.enter_async_context(client)
        yield Cluster(servers, upstream, environ["DATABASE_URL"], http, client)


@pytest.fixture
async def cluster(running: Cluster) -> Cluster:
    """Both servers run when a test begins, and nothing is recorded yet."""
    await asyncio.gather(*(server.start() for server in running.servers if not server.is_running))
    running.upstream.clear()
    return running


async def test_a_session_goes_on_at_whichever_server_is_asked(cluster: Cluster) -> None:
    first, second = cluster.servers
    assert (await cluster.at(first, "shared", "one")).status_code == 200
    assert (await cluster.at(second, "shared", "two")).headers["x-session-status"] == "continued"
    answer = await cluster.http.post(URL, json=asking("three", session_id="shared"))
    assert answer.status_code == 200
    texts = [said(message)[1][0]["text"] for message in cluster.upstream.requests[-1].messages]
    assert texts[::2] == ["one", "two", "three"]
    assert (await cluster.http.get("/v1/sessions/shared")).json()["message_count"] == 6


async def test_the_proxy_gives_work_to_both(cluster: Cluster) -> None:
    before = [await cluster.turns(server) for server in cluster.servers]
    answers = await asyncio.gather(*(cluster.http.post(URL, json=asking(SLOW)) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    after = [await cluster.turns(server) for server in cluster.servers]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 2]


async def test_a_limit_is_counted_over_both(cluster: Cluster) -> None:
    first, second = cluster.servers
    headers = {"Authorization": f"Bearer {LIMITED}"}
    statuses: list[int] = []
    remaining: list[str] = []
    for server in (first, second, first, second, first):
        body = asking("hi") if not remaining else {}  # a wrong request counts too
        answer = await cluster.http.post(server.url + URL, json=body, headers=headers)
        statuses.append(answer.status_code)
        remaining.append(answer.headers["x-ratelimit-remaining-requests"])
    assert (statuses, remaining) == ([200, 400, 400, 429, 429], ["2", "1", "0", "0", "0"])
    refused = await cluster.http.post(URL, json=asking("hi"), headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_requests")
    assert int(refused.headers["retry-after"]) <= 60


async def test_an_address_without_a_key_is_counted_over_both(cluster: Cluster) -> None:
    async with httpx.AsyncClient() as http:
        urls = [f"{server.url}/v1/debug/nothing" for server in cluster.servers]
        statuses = [(await http.get(urls[turn % 2])).status_code for turn in range(6)]
    assert statuses == [404, 404, 404, 404, 429, 429]


async def test_a_stream_comes_as_it_is_written_and_ends_when_its_reader_leaves(
    cluster: Cluster,
) -> None:
    body = asking("!demo tokens=9 delay_after=2:50", stream=True)
    async with cluster.http.stream("POST", URL, json=body) as response:
        async for line in response.aiter_lines():
            if "word2" in line:
                break
        assert cluster.upstream.open_streams == 1  # it has seven more words
    await cluster.upstream.wait_until_idle(PATIENCE_SECONDS)
    assert cluster.upstream.requests[-1].outcome == "disconnected"


async def test_a_killed_server_is_told_of_and_the_other_answers_and_sweeps_for_it(
    cluster: Cluster,
) -> None:
    killed = cluster.servers[0]
    await cluster.http.post(f"{killed.url}/v1/sessions", json={"id": "left"})
    assert (await cluster.at(killed, "left", "hello")).status_code == 200
    raw = [asyncio.create_task(cluster.http.post(URL, json=asking("!demo hang"))) for _ in range(2)]
    await cluster.upstream.wait_for_requests(3, PATIENCE_SECONDS)
    streams = [asyncio.create_task(_streamed(cluster)) for _ in range(2)]
    await cluster.upstream.wait_for_requests(5, PATIENCE_SECONDS)
    official = [asyncio.create_task(_officially(cluster)) for _ in range(2)]
    await cluster.upstream.wait_for_requests(7, PATIENCE_SECONDS)
    await killed.kill()
    assert await _stored(cluster, "left") == 2
    await _expire(cluster, "left")

    [answer] = [task.result() for task in await _ended(raw)]
    assert (answer.status_code, answer.headers["retry-after"]) == (502, "1")
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "upstream_error")
    assert "again" in error["message"]
    [broken] = [task.exception() for task in await _ended(streams)]
    assert type(broken) is httpx.RemoteProtocolError
    assert [words.endswith("word40") for words in await asyncio.gather(*official)] == [True] * 2
    assert len(cluster.upstream.requests) == 8  # the official client repeated one by itself
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await _stored(cluster, "left"):  # noqa: ASYNC110  # another process does it
            await asyncio.sleep(0.1)


async def _officially(cluster: Cluster) -> str:
    answer = await cluster.client.chat.completions.create(
        model="sonnet", messages=[{"role": "user", "content": "!demo tokens=40 rate=20"}]
    )
    return answer.choices[0].message.content or ""


async def _ended(tasks: list[asyncio.Task[Answer]]) -> set[asyncio.Task[Answer]]:
    """Those that end with the server; the others, which would wait on, are cancelled."""
    ended, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.wait(tasks)
    return ended


async def _streamed(cluster: Cluster) -> str:
    body = asking("!demo tokens=9 delay_after=2:50", stream=True)
    async with cluster.http.stream("POST", URL, json=body) as response:
        return "".join([line async for line in response.aiter_lines()])


async def test_turns_of_both_agree_with_the_store_although_they_are_killed(
    cluster: Cluster,
) -> None:
    sessions = [f"load-{number}" for number in range(10)]
    urls = [str(cluster.http.base_url).rstrip("/"), *(server.url for server in cluster.servers)]
    clients = [Client(cluster.http, urls, seed) for seed in range(2 * len(sessions))]

    async def converse(number: int) -> None:
        session = sessions[number // 2]
        for turn in range(TURNS):
            await clients[number].ask(session, f"{session} client {number % 2} turn {turn}")

    async def disturb() -> None:
        first, second = cluster.servers
        await until_answered(clients, 15)
        await first.kill()
        await first.start()
        await until_answered(clients, 35)
        await second.kill()

    await asyncio.gather(disturb(), *(converse(number) for number in range(len(clients))))
    conversations = asked_conversations(cluster.upstream)
    async with database(cluster.database) as store:
        for number, session in enumerate(sessions):
            turns = await stored_turns(store, session, "operator")
            pair = clients[2 * number : 2 * number + 2]
            assert Counter(turns) == Counter(turn for client in pair for turn in client.answered)
            assert len(turns) == 2 * TURNS
            for client in pair:
                assert [turn for turn in turns if turn in client.answered] == client.answered
            assert agrees(turns, conversations), session


async def _stored(cluster: Cluster, session: str) -> int:
    """How many messages of a session the database holds, expired or not."""
    query = text(
        "SELECT count(*) FROM messages JOIN sessions ON sessions.key = messages.session_key "
        "WHERE sessions.id = :id"
    )
    engine = create_async_engine(cluster.database)
    try:
        async with engine.connect() as connection:
            count: Any = (await connection.execute(query, {"id": session})).scalar_one()
            return int(count)
    finally:
        await engine.dispose()


async def _expire(cluster: Cluster, session: str) -> None:
    """Puts a session's end into the past, whose time could run out too early on a slow machine."""
    engine = create_async_engine(cluster.database)
    try:
        async with engine.begin() as connection:
            statement = text("UPDATE sessions SET expires_at = 1 WHERE id = :id")
            assert (await connection.execute(statement, {"id": session})).rowcount == 1
    finally:
        await engine.dispose()
