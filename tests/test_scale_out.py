"""Two servers behind a real nginx, on one PostgreSQL and one Redis: together they are one, and when
one is killed nothing that was stored is lost."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from openai import AsyncOpenAI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from demo import StandIn
from stores.database import Database, database_url
from stores.protocol import StoreLimits
from stores.sql import SqlStore
from tests.harness import cli_environ, said
from tests.nginx import nginx
from tests.postgres import Postgres
from tests.redis_server import redis_server
from tests.server_process import ServerProcess, server_process
from tests.wire import URL, asking

OPERATOR, LIMITED = "sk-operator", "sk-limited"
KEYS = {"operator": {"key": OPERATOR}, "limited": {"key": LIMITED, "requests_per_minute": 3}}
SLOW = "!demo tokens=20 rate=20"
PATIENCE_SECONDS = 20.0

Answer = TypeVar("Answer")

pytestmark = pytest.mark.timeout(120)


@dataclass(slots=True)
class Cluster:
    """`http` and `client` go through nginx, and have the operator's key."""

    servers: list[ServerProcess]
    upstream: StandIn
    database: str
    http: httpx.AsyncClient
    client: AsyncOpenAI

    async def at(self, server: ServerProcess, session: str, words: str) -> httpx.Response:
        """Asks one of the servers itself."""
        return await self.http.post(server.url + URL, json=asking(words, session_id=session))

    async def turns(self, server: ServerProcess) -> int:
        counts = (await self.http.get(f"{server.url}/v1/pool")).json()["counts"]
        return sum(counts.get(kind, 0) for kind in ("continue", "reuse", "blank"))


@pytest.fixture(scope="module")
async def running(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "keys.json").write_text(json.dumps(KEYS))
    async with AsyncExitStack() as stack:
        short = stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-"))
        redis = stack.enter_context(redis_server(Path(short) / "s"))
        upstream = await stack.enter_async_context(StandIn())
        environ = {
            **cli_environ(upstream, folder),
            "DATABASE_URL": postgres.new_database(),
            "REDIS_URL": redis,
            "API_KEYS_FILE": str(folder / "keys.json"),
            "MAX_PROCESSES": "3",
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
    statuses, remaining = [], []
    for server in (first, second, first, second, first):
        answer = await cluster.http.post(server.url + URL, json=asking("hi"), headers=headers)
        statuses.append(answer.status_code)
        remaining.append(answer.headers["x-ratelimit-remaining-requests"])
    assert (statuses, remaining) == ([200, 200, 200, 429, 429], ["2", "1", "0", "0", "0"])
    refused = await cluster.http.post(URL, json=asking("hi"), headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_requests")
    assert int(refused.headers["retry-after"]) <= 60


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


async def test_who_was_in_flight_at_a_killed_server_is_told_and_a_retry_is_answered(
    cluster: Cluster,
) -> None:
    raw = [asyncio.create_task(cluster.http.post(URL, json=asking("!demo hang"))) for _ in range(2)]
    await cluster.upstream.wait_for_requests(2, PATIENCE_SECONDS)
    official = [asyncio.create_task(_officially(cluster)) for _ in range(2)]
    await cluster.upstream.wait_for_requests(4, PATIENCE_SECONDS)
    await cluster.servers[0].kill()
    [answer] = [task.result() for task in await _ended(raw)]
    assert (answer.status_code, answer.headers["retry-after"]) == (502, "1")
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "upstream_error")
    assert "again" in error["message"]
    assert [words.endswith("word40") for words in await asyncio.gather(*official)] == [True] * 2
    assert len(cluster.upstream.requests) == 5  # the official client repeated one by itself


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


async def test_a_killed_servers_streams_break_off_and_the_other_sweeps_its_sessions(
    cluster: Cluster,
) -> None:
    killed = cluster.servers[1]  # it has both, while nginx still rests the one killed before
    streams = [asyncio.create_task(_streamed(cluster)) for _ in range(2)]
    await cluster.upstream.wait_for_requests(2, PATIENCE_SECONDS)
    await cluster.http.post(f"{killed.url}/v1/sessions", json={"id": "left", "ttl_seconds": 3})
    assert (await cluster.at(killed, "left", "hello")).status_code == 200
    await killed.kill()
    assert await _stored(cluster, "left") == 2
    broken = [task.exception() for task in await _ended(streams)]
    assert {type(error) for error in broken} == {httpx.RemoteProtocolError}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await _stored(cluster, "left"):  # noqa: ASYNC110  # another process does it
            await asyncio.sleep(0.1)


async def _streamed(cluster: Cluster) -> str:
    body = asking("!demo tokens=9 delay_after=2:50", stream=True)
    async with cluster.http.stream("POST", URL, json=body) as response:
        return "".join([line async for line in response.aiter_lines()])


async def test_nothing_stored_is_lost_when_a_server_is_killed_under_load(cluster: Cluster) -> None:
    sessions = [f"load-{number}" for number in range(8)]
    answered: dict[str, list[tuple[str, str]]] = {session: [] for session in sessions}

    async def converse(session: str) -> None:
        for turn in range(4):
            question = f"{session} turn {turn}"
            answered[session].append((question, await _until_answered(cluster, session, question)))

    async def disturb() -> None:
        await cluster.upstream.wait_for_requests(10, PATIENCE_SECONDS)
        await cluster.servers[0].kill()

    await asyncio.gather(disturb(), *(converse(session) for session in sessions))
    async with SqlStore(
        Database(database_url(cluster.database)), StoreLimits(ttl_seconds=0)
    ) as store:
        for session in sessions:
            _, kept = await store.read("operator", session)
            texts = [_text(message.message.content) for message in kept]
            assert list(zip(texts[::2], texts[1::2], strict=True)) == answered[session]


def _text(blocks: Iterable[Any]) -> str:
    return "".join(block["text"] for block in blocks)


async def _until_answered(cluster: Cluster, session: str, question: str) -> str:
    """Repeats under the same Idempotency-Key, as docs/sessions.md says, what got no answer."""
    while True:
        answer = await cluster.http.post(
            URL,
            json=asking(question, session_id=session),
            headers={"Idempotency-Key": question},
        )
        if answer.status_code == 200:
            content: str = answer.json()["choices"][0]["message"]["content"]
            return content
        assert answer.status_code in (409, 502, 503), answer.text
        await asyncio.sleep(0.05)


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
