"""Session stores under test: memory, SQLite and a real PostgreSQL, and what is put into them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from core.conversation import Block, Message, text_block
from core.events import Usage
from stores.memory import MemoryStore
from stores.protocols import Answer, CompletedTurn, Store, StoreLimits
from stores.sql.database import Database, database_url
from stores.sql.store import SqlStore
from stores.sql.tables import schema
from tests.support.postgres import Postgres

START = 1_795_000_000.0
DAY = 86_400.0


@dataclass(slots=True)
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Bench:
    """A store under test, a second one on the same data (for memory: itself), and their clock."""

    store: Store
    other: Store
    clock: Clock


MakeBench = Callable[..., Awaitable[Bench]]


async def url_of(request: pytest.FixtureRequest, directory: Path) -> str:
    """Of an empty database of the kind that the fixture's parameter names."""
    if request.param == "sqlite":
        return f"sqlite:///{directory}/sessions.db"
    server: Postgres = request.getfixturevalue("postgres")
    return await emptied(server.shared_database())


async def emptied(url: str) -> str:
    """Making one and migrating it takes longer than most tests here."""
    database = Database(database_url(url))
    async with SqlStore(database, StoreLimits()), database.write() as db:
        for table in reversed(schema.sorted_tables):
            await db.execute(delete(table))
    return url


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def make_bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MakeBench]:
    async with AsyncExitStack() as stack:

        async def make(**changes: Any) -> Bench:
            limits = StoreLimits(**changes)
            clock = Clock()
            if request.param == "memory":
                memory = MemoryStore(limits, clock=clock)
                await stack.enter_async_context(memory)
                return Bench(memory, memory, clock)
            url = await url_of(request, tmp_path)

            async def opened() -> SqlStore:
                store = SqlStore(Database(database_url(url)), limits, clock=clock)
                await stack.enter_async_context(store)
                return store

            return Bench(await opened(), await opened(), clock)

        yield make


@pytest.fixture
async def bench(make_bench: MakeBench) -> Bench:
    return await make_bench()


def user(*content: Block | str) -> Message:
    return Message("user", tuple(text_block(b) if isinstance(b, str) else b for b in content))


def assistant(*content: Block | str) -> Message:
    return replace(user(*content), role="assistant", model="claude-sonnet-5")


def answered(tokens: int = 1, cost_usd: float | None = 0.5) -> Answer:
    usage = Usage(tokens, 2 * tokens, 3 * tokens, 4 * tokens, tokens)
    return Answer("claude-sonnet-5", "end_turn", usage, cost_usd, None)


def turn(keep: int, *messages: Message, **changes: Any) -> CompletedTurn:
    return CompletedTurn(keep, messages, answered(), None, **changes)


async def add(store: Store, owner: str, id: str, *texts: str) -> None:
    """A turn for each two texts."""
    for asked, reported in zip(texts[::2], texts[1::2], strict=True):
        lease = await store.acquire(owner, id, f"{owner}/{id}")
        assert lease is not None
        count = 0 if lease.session.expired else lease.session.message_count
        new = turn(count, user(asked), assistant(reported), starts_over=lease.session.expired)
        await store.write(lease, new)


async def texts(store: Store, owner: str, id: str) -> list[str]:
    _, stored = await store.read(owner, id)
    return ["".join(b["text"] for b in m.message.content if b["type"] == "text") for m in stored]


IMAGE = base64.b64encode(bytes(range(256)) * 40).decode()
NATIVE: tuple[Message, ...] = (
    user(
        "Look \x00 \ud800 é✓\n",
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}},
        {
            "type": "document",
            "title": "a",
            "source": {"type": "text", "media_type": "text/plain", "data": "b"},
        },
    ),
    assistant(
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        "One moment.",
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"z": 1.0, "a": [None, 1, "ü"]}},
    ),
    user(
        {
            "type": "tool_result",
            "tool_use_id": "t1",
            "is_error": True,
            "content": [
                text_block("no"),
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": IMAGE},
                },
            ],
        }
    ),
    assistant("Done."),
)
