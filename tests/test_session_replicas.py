"""Servers that are killed, and servers that share a database: every completed turn is there, once,
and what the model was asked is what is stored."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo import StandIn
from stores.database import Database, database_url
from stores.protocol import SessionStore, StoreLimits
from stores.sql import SqlStore
from tests.harness import cli_environ, said
from tests.postgres import Postgres
from tests.server_process import ServerProcess, server_process
from tests.wire import MODEL, URL

Turns = list[tuple[str, str]]
LEASE_SECONDS = 1
TURNS = 3


def environ(upstream: StandIn, home: Path, url: str) -> dict[str, str]:
    return {
        **cli_environ(upstream, home),
        "DATABASE_URL": url,
        "SESSION_LEASE_SECONDS": str(LEASE_SECONDS),
        "MAX_PROCESSES": "2",
        "QUEUE_SIZE": "1000",
        "UPSTREAM_MAX_RETRIES": "0",
        "LOG_LEVEL": "WARNING",
    }


class Client:
    """Asks its questions one after the other, each until it is answered, at one server or another.
    A question keeps its Idempotency-Key, as a client does that repeats what it got no answer to."""

    def __init__(self, http: httpx.AsyncClient, servers: list[ServerProcess], seed: int) -> None:
        self._http = http
        self._servers = servers
        self._random = random.Random(seed)
        self.answered: Turns = []
        self.repeated = 0

    async def ask(self, session: str, question: str) -> None:
        while True:
            server = self._random.choice(self._servers)
            try:
                answer = await self._post(server, session, question)
            except httpx.TransportError:  # it was killed
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 200:
                message = answer.json()["choices"][0]["message"]
                self.answered.append((question, message["content"]))
                self.repeated += answer.headers["x-session-status"] == "repeated"
                return
            assert answer.status_code in (409, 502, 503), answer.text

    async def _post(self, server: ServerProcess, session: str, question: str) -> httpx.Response:
        body = {
            "model": MODEL,
            "session_id": session,
            "messages": [{"role": "user", "content": question}],
        }
        return await self._http.post(
            server.url + URL, json=body, headers={"Idempotency-Key": question}
        )


def database(url: str) -> SqlStore:
    """What is stored, read without any server."""
    return SqlStore(Database(database_url(url)), StoreLimits(ttl_seconds=0))


async def stored_turns(store: SessionStore, session: str) -> Turns:
    _, kept = await store.read("local", session)
    texts = ["".join(_texts(message.message.content)) for message in kept]
    roles = [message.message.role for message in kept]
    assert roles == ["user", "assistant"] * (len(kept) // 2)
    return list(zip(texts[::2], texts[1::2], strict=True))


def _texts(blocks: Iterable[Any]) -> Iterable[str]:
    return (block["text"] for block in blocks if block["type"] == "text")


def asked_conversations(upstream: StandIn) -> set[tuple[str, ...]]:
    """Each conversation that the model was asked about, as its texts."""
    return {
        tuple("".join(_texts(said(message)[1])) for message in request.messages)
        for request in upstream.requests
    }


def agrees(turns: Turns, conversations: set[tuple[str, ...]]) -> bool:
    """Whether the model was asked each question with just the turns before it that are stored."""
    flat = [text for turn in turns for text in turn]
    return all(tuple(flat[: 2 * n + 1]) in conversations for n in range(len(turns)))


@pytest.mark.timeout(120)
async def test_turns_of_two_servers_agree_with_the_store_although_they_are_killed(
    postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.new_database()
    sessions = [f"s{number}" for number in range(20)]
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(StandIn(record=10_000))
        variables = environ(upstream, tmp_path, url)
        servers = list(
            await asyncio.gather(
                *(stack.enter_async_context(server_process(tmp_path, variables)) for _ in range(2))
            )
        )
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        clients = [Client(http, servers, seed) for seed in range(2 * len(sessions))]

        async def converse(number: int) -> None:
            session = sessions[number // 2]
            for turn in range(TURNS):
                await clients[number].ask(session, f"{session} client {number % 2} turn {turn}")

        async def disturb() -> None:
            for count, server in ((30, servers[0]), (75, servers[1])):
                while sum(len(client.answered) for client in clients) < count:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await server.kill()
                await server.start()

        await asyncio.gather(disturb(), *(converse(number) for number in range(len(clients))))
        conversations = asked_conversations(upstream)
    async with database(url) as store:
        for number, session in enumerate(sessions):
            turns = await stored_turns(store, session)
            pair = clients[2 * number : 2 * number + 2]
            assert Counter(turns) == Counter(turn for client in pair for turn in client.answered)
            assert len(turns) == 2 * TURNS
            for client in pair:
                assert [turn for turn in turns if turn in client.answered] == client.answered
            assert agrees(turns, conversations), session


@pytest.mark.timeout(120)
async def test_a_server_that_is_killed_amid_100_sessions_leaves_whole_turns(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(StandIn(record=10_000))
        variables = environ(upstream, tmp_path, url)
        server = await stack.enter_async_context(server_process(tmp_path, variables))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        clients = [Client(http, [server], seed) for seed in range(100)]

        async def converse(number: int) -> None:
            for turn in range(2):
                await clients[number].ask(f"s{number}", f"s{number} turn {turn}")

        talking = [asyncio.create_task(converse(number)) for number in range(len(clients))]
        while sum(len(client.answered) for client in clients) < 80:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for task in talking:
            task.cancel()
        await server.kill()
        await asyncio.gather(*talking, return_exceptions=True)
        seen = [list(client.answered) for client in clients]
        await server.start()
        listed = await _listed(http, server)
        store = await stack.enter_async_context(database(url))
        for number, turns in enumerate(seen):
            session = f"s{number}"
            kept = await stored_turns(store, session) if session in listed else []
            assert kept[: len(turns)] == turns  # what a client saw is stored
            assert listed.get(session, 0) == 2 * len(kept)
        asked = range(0, len(clients), 5)
        await asyncio.gather(*(clients[n].ask(f"s{n}", f"s{n} at last") for n in asked))
        conversations = asked_conversations(upstream)
        for number in asked:
            kept = await stored_turns(store, f"s{number}")
            assert kept[: len(seen[number])] == seen[number]
            assert kept[-1] == clients[number].answered[-1]
            assert agrees(kept, conversations), number


async def _listed(http: httpx.AsyncClient, server: ServerProcess) -> dict[str, int]:
    """Message counts by session."""
    found: dict[str, int] = {}
    after: dict[str, str] = {}
    while True:
        page = (await http.get(f"{server.url}/v1/sessions", params={"limit": 100, **after})).json()
        found |= {entry["id"]: entry["message_count"] for entry in page["data"]}
        if not page["has_more"]:
            return found
        after = {"after": page["last_id"]}
