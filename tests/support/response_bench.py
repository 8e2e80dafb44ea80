"""Response stores under test: memory, SQLite and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.conversation import JsonObject
from stores import ResponseStore, StoreLimits
from stores.response_memory import MemoryResponseStore
from stores.response_store import ResponseLimits, StoredResponse
from stores.sql.database import Database, database_url
from stores.sql.responses import SqlResponseStore
from stores.sql.store import SqlStore
from tests.support.store_bench import Clock, url_of

LIMITS = ResponseLimits(ttl_seconds=1_000, lease_seconds=15)


@dataclass(slots=True)
class ResponseBench:
    """A store, a second one on the same data (for memory: itself), and their clock."""

    store: ResponseStore
    other: ResponseStore
    clock: Clock


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def responses(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ResponseBench]:
    clock = Clock()
    if request.param == "memory":
        memory = MemoryResponseStore(LIMITS, clock=clock)
        yield ResponseBench(memory, memory, clock)
        return
    url = await url_of(request, tmp_path)
    async with AsyncExitStack() as stack:

        async def opened() -> SqlResponseStore:
            database = Database(database_url(url))
            await stack.enter_async_context(SqlStore(database, StoreLimits()))
            return SqlResponseStore(database, LIMITS, clock=clock)

        yield ResponseBench(await opened(), await opened(), clock)


def said(id: str, text: str) -> JsonObject:
    part = {"type": "input_text", "text": text}
    return {"id": id, "type": "message", "role": "user", "content": [part]}


def stored(id: str, **changes: Any) -> StoredResponse:
    """A complete response of owner `a`, with an item in and one out."""
    fields: dict[str, Any] = {
        "owner": "a",
        "id": id,
        "status": "completed",
        "body": {"id": id, "status": "completed", "output": []},
        "input": [said(f"{id}_in", "é\x00\ud800")],
        "output": [said(f"{id}_out", "x")],
    }
    return StoredResponse(**fields | changes)


def begun(id: str, **changes: Any) -> StoredResponse:
    """One that is worked on in the background."""
    body = {"id": id, "status": "in_progress", "output": []}
    fields: dict[str, Any] = {"status": "in_progress", "body": body, "output": ()}
    return stored(id, background=True, **fields | changes)
