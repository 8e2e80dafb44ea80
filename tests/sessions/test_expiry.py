"""Expired sessions in every store; and what only the SQL store has: large images, its clock."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.conversation import Block
from core.errors import SessionConflict, SessionNotFound, StoreUnavailable
from stores.blobs import attached, detached
from stores.protocols import BLOB_GRACE_SECONDS, FORGET_SECONDS, NewSession, StoreLimits
from stores.sql.database import Database, database_url
from stores.sql.store import SqlStore
from stores.sql.tables import blobs, sessions
from tests.support.store_bench import (
    DAY,
    IMAGE,
    NATIVE,
    START,
    Bench,
    Clock,
    MakeBench,
    add,
    assistant,
    texts,
    turn,
    url_of,
    user,
)


async def test_an_expired_session_is_gone_and_known_to_have_been(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2")
    bench.clock.now += 3_600
    with pytest.raises(SessionNotFound):
        await bench.store.get("a", "x")
    assert await bench.store.page("a", 10) == []
    for swept in (1, 0):
        stats = await bench.store.stats("a")
        assert (stats.active, stats.expired, stats.messages) == (0, 1, 0)
        assert await bench.store.sweep() == swept
    lease = await bench.other.acquire("a", "x", "t")
    assert lease is not None
    assert lease.session.expired
    assert not lease.created
    await bench.other.release("a", "x", "t")
    with pytest.raises(SessionNotFound):
        await bench.store.get("a", "x")
    await add(bench.store, "a", "x", "3", "4")
    session = await bench.store.get("a", "x")
    assert await texts(bench.store, "a", "x") == ["3", "4"]
    assert (session.created_at, session.turn_count, session.cost_usd) == (START + 3_600, 1, 0.5)


async def test_each_session_has_its_own_time(bench: Bench) -> None:
    await bench.store.create(NewSession("a", "short", ttl_seconds=60))
    await bench.store.create(NewSession("a", "forever", ttl_seconds=0))
    bench.clock.now += 59
    await add(bench.store, "a", "short", "1", "2")
    bench.clock.now += 59
    assert (await bench.store.get("a", "short")).message_count == 2
    bench.clock.now += 1
    assert await bench.store.sweep() == 1
    bench.clock.now += 100 * DAY
    assert [session.id for session in await bench.store.page("a", 10)] == ["forever"]


async def test_a_server_may_keep_sessions_for_ever(make_bench: MakeBench) -> None:
    bench = await make_bench(ttl_seconds=0)
    await add(bench.store, "a", "x", "1", "2")
    bench.clock.now += 1_000 * DAY
    assert await bench.store.sweep() == 0
    assert await texts(bench.store, "a", "x") == ["1", "2"]


async def test_sweeps_at_once_empty_each_session_once(bench: Bench) -> None:
    for number in range(12):
        await add(bench.store, "a", f"s{number}", "1", "2")
    bench.clock.now += 3_600
    swept = await asyncio.gather(
        *(store.sweep(limit=2) for store in [bench.store, bench.other] * 2)
    )
    while rest := await bench.store.sweep(limit=2):
        swept.append(rest)
    assert sum(swept) == 12
    assert max(swept) <= 2


async def test_a_sweep_leaves_a_session_in_which_a_turn_runs(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2")
    bench.clock.now += 3_590
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    bench.clock.now += 14  # expired now, but in use
    assert await bench.other.sweep() == 0
    await bench.store.write(lease, turn(2, user("3"), assistant("4")))
    assert await texts(bench.store, "a", "x") == ["1", "2", "3", "4"]


async def test_what_a_killed_server_began_is_swept(bench: Bench) -> None:
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    await bench.other.sweep()
    assert await bench.other.acquire("a", "x", "u") is None
    bench.clock.now += 16
    await bench.other.sweep()
    with pytest.raises(SessionConflict):
        await bench.store.write(lease, turn(0, user("1"), assistant("2")))


async def test_a_turn_that_slept_until_its_session_was_swept_changes_nothing(
    bench: Bench,
) -> None:
    await add(bench.store, "a", "x", "1", "2")
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    bench.clock.now += 3_600
    assert await bench.other.sweep() == 1
    with pytest.raises(SessionConflict):
        await bench.store.write(lease, turn(2, user("3"), assistant("4")))


async def test_it_is_known_which_sessions_there_are(bench: Bench) -> None:
    for id in ("over", "gone", "x"):
        await add(bench.store, "a", id, "1", "2")
        bench.clock.now += 1_700
    await bench.store.delete("a", "gone")
    begun = await bench.store.acquire("a", "begun", "t")
    assert begun is not None
    await add(bench.store, "b", "theirs", "1", "2")
    asked = ["over", "gone", "x", "begun", "theirs", "never"]
    assert await bench.other.existing("a", asked) == {"x", "begun"}
    assert await bench.other.existing("a", []) == set()
    await bench.other.sweep()
    assert await bench.other.existing("a", asked) == {"x", "begun"}


async def test_an_expired_session_is_forgotten_in_the_end(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2")
    bench.clock.now += 3_600
    await bench.store.sweep()
    bench.clock.now += FORGET_SECONDS
    await bench.store.sweep()
    assert (await bench.store.stats("a")).expired == 0
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    assert lease.created


# What only the SQL store has


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return await url_of(request, tmp_path)


async def test_a_large_image_is_stored_once_and_freed_with_its_last_use(url: str) -> None:
    clock = Clock()
    database = Database(database_url(url))
    async with SqlStore(database, StoreLimits(), clock=clock) as store:

        async def kept() -> int:
            async with database.read() as db:
                return int((await db.execute(select(func.count()).select_from(blobs))).scalar_one())

        for id in ("x", "y"):
            lease = await store.acquire("a", id, "t")
            assert lease is not None
            await store.write(lease, turn(0, *NATIVE))
        assert await kept() == 1
        await store.delete("a", "x")
        clock.now += BLOB_GRACE_SECONDS + 1
        await store.sweep()  # y expired with that
        assert await kept() == 0


async def test_without_a_clock_the_databases_own_counts(url: str) -> None:
    async with SqlStore(Database(database_url(url)), StoreLimits(lease_seconds=0.05)) as store:
        first = await store.acquire("a", "x", "t")
        assert first is not None
        taken = None
        while taken is None:  # each try is a transaction; the lease is over after 50 ms
            taken = await store.acquire("a", "x", "u")
        assert taken.session.created_at == first.session.created_at > START


async def test_a_row_holds_no_more_than_is_told(url: str) -> None:
    database = Database(database_url(url))
    async with SqlStore(database, StoreLimits()) as store:
        await add(store, "a", "x", "1", "2")
        async with database.read() as db:
            row = (await db.execute(select(sessions))).one()._mapping
        assert (row["lease_token"], row["lease_until"], row["draft"]) == (None, None, False)


async def test_a_database_that_cannot_be_reached_is_a_503() -> None:
    nowhere = Database(database_url("postgresql://nobody:s3cret@127.0.0.1:1/none"))
    store = SqlStore(nowhere, StoreLimits())
    with pytest.raises(StoreUnavailable, match=r"^DATABASE_URL: .* cannot be opened") as caught:
        await store.__aenter__()
    assert caught.value.status == 503
    assert "s3cret" not in caught.value.message
    with pytest.raises(StoreUnavailable) as caught:
        await store.ping()
    assert caught.value.message == "The sessions' database failed (ConnectionRefusedError)."
    await nowhere.dispose()


@pytest.mark.parametrize("text", ["", "mysql://a", "sessions.db", "sqlite+pysqlite:///a"])
def test_a_url_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be like "):
        database_url(text)


def test_data_that_would_come_back_otherwise_stays_where_it_is() -> None:
    odd = IMAGE[:-4] + "\n" + IMAGE[-4:]
    image: Block = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": odd},
    }
    content, found = detached([image])
    assert found == {}
    assert attached(content, found) == (image,)
