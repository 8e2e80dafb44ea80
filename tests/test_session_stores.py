"""What every session store promises (stores/protocol.py): memory, SQLite and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from errors import (
    GatewayError,
    SessionConflict,
    SessionExists,
    SessionNotFound,
    StoreUnavailable,
    TooManySessions,
)
from events import Block, Message, Usage, text_block
from stores.blobs import attached, detached
from stores.database import Database, database_url
from stores.memory import MemoryStore
from stores.protocol import (
    BLOB_GRACE_SECONDS,
    FORGET_SECONDS,
    Answer,
    CompletedTurn,
    NewSession,
    SessionStore,
    StoreLimits,
)
from stores.sql import SqlStore
from stores.tables import blobs, schema, sessions
from tests.postgres import Postgres

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

    store: SessionStore
    other: SessionStore
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
                memory = await stack.enter_async_context(MemoryStore(limits, clock=clock))
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


async def add(store: SessionStore, owner: str, id: str, *texts: str) -> None:
    """A turn for each two texts."""
    for asked, told in zip(texts[::2], texts[1::2], strict=True):
        lease = await store.acquire(owner, id, f"{owner}/{id}")
        assert lease is not None
        count = 0 if lease.session.expired else lease.session.message_count
        new = turn(count, user(asked), assistant(told), anew=lease.session.expired)
        await store.write(lease, new)


async def texts(store: SessionStore, owner: str, id: str) -> list[str]:
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


async def test_native_blocks_come_back_as_they_were(bench: Bench) -> None:
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    done = CompletedTurn(0, NATIVE, answered(), "Be \x00 brief.", "request-1")
    written = await bench.store.write(lease, done)
    session, stored = await bench.other.read("a", "x")
    assert session == written
    assert [kept.message.content for kept in stored] == [m.content for m in NATIVE]
    assert [kept.message.role for kept in stored] == [m.role for m in NATIVE]
    assert stored[-1].answer == answered()
    assert stored[-1].message.model == "claude-sonnet-5"
    assert [kept.created_at for kept in stored] == [START] * 4
    assert session.system == "Be \x00 brief."
    assert [kept.request for kept in stored] == [None, None, None, "request-1"]
    assert (session.message_count, session.turn_count) == (4, 1)
    assert (session.usage, session.cost_usd) == (answered().usage, 0.5)
    assert session.bytes > 2 * len(IMAGE)


async def test_turns_add_up(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2")
    bench.clock.now += 60
    await add(bench.other, "a", "x", "3", "4")
    session = await bench.store.get("a", "x")
    assert await texts(bench.store, "a", "x") == ["1", "2", "3", "4"]
    assert (session.message_count, session.turn_count, session.cost_usd) == (4, 2, 1.0)
    assert session.usage == answered().usage + answered().usage
    assert (session.created_at, session.used_at) == (START, START + 60)
    assert session.expires_at == START + 60 + 3_600


async def test_a_turn_may_replace_the_end(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2", "3", "4")
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    before = lease.session.bytes
    await bench.store.write(lease, turn(2, user("three"), assistant("four")))
    session = await bench.store.get("a", "x")
    assert await texts(bench.store, "a", "x") == ["1", "2", "three", "four"]
    assert (session.message_count, session.turn_count) == (4, 3)
    assert session.bytes == before + len("threefour") - len("34")


async def test_nobody_sees_a_session_before_its_first_turn(bench: Bench) -> None:
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    assert lease.created
    assert await bench.other.page("a", 10) == []
    assert (await bench.other.stats("a", 10)).active == 0
    with pytest.raises(SessionNotFound):
        await bench.other.get("a", "x")
    with pytest.raises(SessionNotFound):
        await bench.other.delete("a", "x")


async def test_a_turn_that_came_to_nothing_leaves_no_session(bench: Bench) -> None:
    await bench.store.acquire("a", "x", "t")
    await bench.store.release("a", "x", "t")
    again = await bench.other.acquire("a", "x", "u")
    assert again is not None
    assert again.created


async def test_a_lease_keeps_all_others_out_until_it_is_given_back(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2")
    assert await bench.store.acquire("a", "x", "t") is not None
    assert await bench.other.acquire("a", "x", "u") is None
    assert await bench.other.acquire("b", "x", "u") is not None
    await bench.other.release("a", "x", "u")  # not its own
    assert await bench.other.acquire("a", "x", "u") is None
    await bench.store.release("a", "x", "t")
    assert await bench.other.acquire("a", "x", "u") is not None


async def test_of_many_at_once_one_gets_the_lease(bench: Bench) -> None:
    stores = [bench.store, bench.other] * 10
    got = await asyncio.gather(*(s.acquire("a", "x", f"t{i}") for i, s in enumerate(stores)))
    assert sum(lease is not None for lease in got) == 1


async def test_a_lease_ends_unless_it_is_renewed(bench: Bench) -> None:
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    bench.clock.now += 14
    assert await bench.store.renew(lease.session.key, "t")
    bench.clock.now += 14
    assert await bench.other.acquire("a", "x", "u") is None
    bench.clock.now += 2
    taken = await bench.other.acquire("a", "x", "u")
    assert taken is not None
    assert not await bench.store.renew(lease.session.key, "t")


async def test_a_turn_whose_lease_was_lost_changes_nothing(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2")
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    bench.clock.now += 16
    await add(bench.other, "a", "x", "3", "4")
    with pytest.raises(SessionConflict):
        await bench.store.write(lease, turn(0, user("5"), assistant("6")))
    with pytest.raises(SessionConflict):
        await bench.store.clear(lease)
    await bench.store.release("a", "x", "t")
    assert await texts(bench.store, "a", "x") == ["1", "2", "3", "4"]
    assert (await bench.store.stats("a", 1)).total.turns == 2


async def test_a_session_that_was_deleted_meanwhile_is_not_written(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2")
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    await bench.other.delete("a", "x")
    with pytest.raises(SessionConflict):
        await bench.store.write(lease, turn(2, user("3"), assistant("4")))
    assert await bench.store.page("a", 10) == []


async def test_owners_see_nothing_of_each_other(bench: Bench) -> None:
    await add(bench.store, "a", "x", "mine", "yes")
    await add(bench.store, "b", "x", "theirs", "no")
    assert await texts(bench.store, "a", "x") == ["mine", "yes"]
    await bench.store.delete("a", "x")
    assert await texts(bench.store, "b", "x") == ["theirs", "no"]
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: bench.store.get("a", "x"),
        lambda: bench.store.read("a", "x"),
        lambda: bench.store.delete("a", "x"),
        lambda: bench.store.page("a", 1, after="x"),
        lambda: bench.store.fork("a", "x", NewSession("a", "y"), None),
    ]
    for call in calls:
        with pytest.raises(SessionNotFound):
            await call()
    assert await bench.store.page("a", 10) == []
    assert (await bench.store.stats("a", 10)).active == 0


async def test_an_id_is_made_once(bench: Bench) -> None:
    new = NewSession("a", "x", "sys", {"k": "v"}, 0)
    made = await bench.store.create(new)
    assert (made.system, made.metadata, made.ttl_seconds) == ("sys", {"k": "v"}, 0)
    assert made.expires_at is None
    with pytest.raises(SessionExists):
        await bench.other.create(new)
    await add(bench.store, "a", "x", "1", "2")
    assert (await bench.store.get("a", "x")).metadata == {"k": "v"}


async def test_pages_go_from_the_newest_to_the_oldest(bench: Bench) -> None:
    for number in range(7):
        bench.clock.now += number % 2  # two of each time
        await bench.store.create(NewSession("a", f"s{number}", "a system prompt"))
    await bench.store.create(NewSession("b", "other"))
    seen: list[str] = []
    after = None
    while page := await bench.other.page("a", 3, after):
        assert all(session.system is None for session in page)
        seen += [session.id for session in page]
        after = seen[-1]
    assert seen == [f"s{number}" for number in reversed(range(7))]


async def test_a_principal_has_so_many_sessions_and_no_more(make_bench: MakeBench) -> None:
    bench = await make_bench(max_sessions=3)
    results = await asyncio.gather(
        *(bench.store.create(NewSession("a", f"s{n}")) for n in range(3)),
        *(bench.other.create(NewSession("a", f"t{n}")) for n in range(3)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, TooManySessions) for result in results) == 3
    with pytest.raises(TooManySessions):
        await bench.store.acquire("a", "new", "t")
    existing = (await bench.store.page("a", 1))[0].id
    assert await bench.store.acquire("a", existing, "t") is not None
    await bench.store.create(NewSession("b", "new"))
    bench.clock.now += 3_600
    await bench.store.create(NewSession("a", "new"))


async def test_an_expired_session_is_gone_and_known_to_have_been(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2")
    bench.clock.now += 3_600
    with pytest.raises(SessionNotFound):
        await bench.store.get("a", "x")
    assert await bench.store.page("a", 10) == []
    for swept in (1, 0):
        stats = await bench.store.stats("a", 10)
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
    for number in range(30):
        await add(bench.store, "a", f"s{number}", "1", "2")
    bench.clock.now += 3_600
    swept = await asyncio.gather(
        *(store.sweep(limit=5) for store in [bench.store, bench.other] * 5)
    )
    while rest := await bench.store.sweep(limit=5):
        swept.append(rest)
    assert sum(swept) == 30
    assert max(swept) <= 5


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


async def test_an_expired_session_is_forgotten_in_the_end(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2")
    bench.clock.now += 3_600
    await bench.store.sweep()
    bench.clock.now += FORGET_SECONDS
    await bench.store.sweep()
    assert (await bench.store.stats("a", 10)).expired == 0
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    assert lease.created


async def test_clear_keeps_all_but_the_messages(bench: Bench) -> None:
    await bench.store.create(NewSession("a", "x", "sys", {"k": "v"}))
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    done = CompletedTurn(0, NATIVE, answered(), "sys", "request-1")
    await bench.store.write(lease, done)
    lease = await bench.store.acquire("a", "x", "u")
    assert lease is not None
    cleared = await bench.store.clear(lease)
    assert (cleared.message_count, cleared.bytes) == (0, 0)
    assert (cleared.system, cleared.metadata, cleared.cost_usd) == ("sys", {"k": "v"}, 0.5)
    assert await bench.other.read("a", "x") == (cleared, [])
    assert await bench.other.acquire("a", "x", "v") is not None


async def test_a_fork_is_a_copy_of_the_beginning(bench: Bench) -> None:
    await bench.store.create(NewSession("a", "x", "sys", {"k": "v"}, 60))
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    done = CompletedTurn(0, NATIVE, answered(), "sys")
    await bench.store.write(lease, done)
    half = await bench.store.fork("a", "x", NewSession("a", "y"), 2)
    whole = await bench.store.fork("a", "x", NewSession("a", "z", None, {"n": "1"}, 0), None)
    assert (half.system, half.metadata, half.ttl_seconds) == ("sys", {"k": "v"}, 60)
    assert (whole.metadata, whole.ttl_seconds, whole.expires_at) == ({"n": "1"}, 0, None)
    assert (half.message_count, whole.message_count) == (2, 4)
    _, stored = await bench.store.read("a", "y")
    assert [kept.message.content for kept in stored] == [m.content for m in NATIVE[:2]]
    await bench.store.delete("a", "x")
    _, stored = await bench.store.read("a", "z")
    assert [kept.message.content for kept in stored] == [m.content for m in NATIVE]
    assert whole.bytes == (await bench.store.get("a", "z")).bytes > half.bytes > len(IMAGE)
    with pytest.raises(SessionExists):
        await bench.store.fork("a", "y", NewSession("a", "z"), None)


async def test_statistics_count_by_day_and_outlive_their_sessions(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2", "3", "4")
    bench.clock.now += DAY
    await add(bench.other, "a", "y", "1", "2")
    await add(bench.other, "b", "y", "1", "2")
    await bench.store.delete("a", "y")
    stats = await bench.store.stats("a", 10)
    assert [(day.turns, day.messages) for day in stats.days] == [(1, 2), (2, 4)]
    assert stats.days[0].date > stats.days[1].date
    assert (stats.total.turns, stats.total.cost_usd) == (3, 1.5)
    assert (stats.total.prompt_tokens, stats.total.completion_tokens) == (18, 12)
    assert (stats.active, stats.expired) == (0, 1)
    assert len((await bench.store.stats("a", 1)).days) == 1


async def test_turns_of_many_sessions_at_once_are_all_there(bench: Bench) -> None:
    stores = [bench.store, bench.other]
    await asyncio.gather(
        *(add(stores[n % 2], "a", f"s{n}", *(str(i) for i in range(10))) for n in range(10))
    )
    for number in range(10):
        assert await texts(bench.store, "a", f"s{number}") == [str(i) for i in range(10)]
    assert (await bench.store.stats("a", 1)).total.turns == 50


async def test_a_turn_that_is_cancelled_at_any_moment_is_whole_or_not_there(bench: Bench) -> None:
    for steps in range(25):
        lease = await bench.store.acquire("a", "x", f"t{steps}")
        assert lease is not None
        new = turn(lease.session.message_count, user("1"), assistant("2"))
        task = asyncio.create_task(bench.store.write(lease, new))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bench.store.release("a", "x", f"t{steps}")
    written = (await bench.store.stats("a", 1)).total.turns
    assert written == 0 or await texts(bench.store, "a", "x") == ["1", "2"] * written


async def test_the_store_answers(bench: Bench) -> None:
    await bench.store.ping()


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
    nowhere = Database(database_url("postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(StoreUnavailable) as caught:
        await SqlStore(nowhere, StoreLimits()).__aenter__()
    assert caught.value.status == 503
    assert isinstance(caught.value, GatewayError)
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
