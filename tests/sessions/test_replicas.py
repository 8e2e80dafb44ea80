"""A server that is killed: every turn that a client saw is stored whole, and the model was asked
just what is stored. Two servers that share a database: tests/system/test_scale_out.py."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from demo import FakeAnthropic
from tests.support.harness import cli_environ
from tests.support.server_process import ServerProcess, server_process
from tests.support.session_clients import (
    Client,
    agrees,
    asked_conversations,
    database,
    stored_turns,
    until_answered,
)

pytestmark = pytest.mark.wire


def environ(upstream: FakeAnthropic, home: Path, url: str) -> dict[str, str]:
    return {
        **cli_environ(upstream, home),
        "DATABASE_URL": url,
        "SESSION_LEASE_SECONDS": "1",
        "MAX_PROCESSES": "2",
        "POOL_WARM": "0",
        "QUEUE_SIZE": "1000",
        "UPSTREAM_MAX_RETRIES": "0",
        "LOG_LEVEL": "WARNING",
    }


@pytest.mark.timeout(120)
async def test_a_server_that_is_killed_amid_100_sessions_leaves_whole_turns(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(FakeAnthropic(record=10_000))
        variables = environ(upstream, tmp_path, url)
        server = await stack.enter_async_context(server_process(tmp_path, variables))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        clients = [Client(http, [server.url], seed) for seed in range(100)]

        async def converse(number: int) -> None:
            for turn in range(2):
                await clients[number].ask(f"s{number}", f"s{number} turn {turn}")

        talking = [asyncio.create_task(converse(number)) for number in range(len(clients))]
        await until_answered(clients, 40)
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
        asked = range(0, len(clients), 10)
        assert {bool(seen[number]) for number in asked} == {True, False}
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
