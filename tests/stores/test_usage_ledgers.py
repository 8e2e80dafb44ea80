"""What every usage ledger and key store promises: memory, SQLite and a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from core.events import Usage
from core.limits import KeyLimits
from stores import KeyStore, StoreLimits, UsageLedger, make_usage_stores
from stores.keys import StoredKey
from stores.memory import MemoryStore
from stores.sql.database import Database, database_url
from stores.sql.keys import SqlKeyStore
from stores.sql.store import SqlStore
from stores.sql.usage import SqlUsageLedger
from stores.usage import (
    HOURS_KEPT_SECONDS,
    RUNNING_SECONDS,
    TurnFilter,
    TurnRecord,
    UsageFilter,
    day_of,
)
from tests.support.store_bench import DAY, START, Clock, url_of


@dataclass(slots=True)
class Ledgers:
    """A ledger and a key store, and a second server's on the same data (for memory: themselves)."""

    ledger: UsageLedger
    other: UsageLedger
    keys: KeyStore
    clock: Clock


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def ledgers(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledgers]:
    clock = Clock()
    if request.param == "memory":
        ledger, keys = make_usage_stores(MemoryStore(StoreLimits()))
        yield Ledgers(ledger, ledger, keys, clock)
        return
    url = await url_of(request, tmp_path)
    async with AsyncExitStack() as stack:
        databases = [Database(database_url(url)) for _ in range(2)]
        for database in databases:
            await stack.enter_async_context(SqlStore(database, StoreLimits()))
        first, second = (SqlUsageLedger(database, clock=clock) for database in databases)
        yield Ledgers(first, second, SqlKeyStore(databases[0]), clock)


RECORD = TurnRecord(
    id="req_1",
    at=START,
    key="alice",
    key_id="0123abcd",
    dialect="chat",
    session_id="s",
    model_asked="gpt-5 \x00 \ud800",
    model="claude-sonnet-5",
    stream=True,
    usage=Usage(1, 2, 3, 4, 5),
    cost_usd=0.25,
    first_token_ms=10.5,
    queue_ms=0.5,
    process_ms=4.0,
    upstream_ms=6.0,
    duration_ms=20.0,
    tools={"Read": 2},
    stored_messages=2,
)


def record(number: int, **changes: object) -> TurnRecord:
    return replace(RECORD, id=f"req_{number}", **changes)  # type: ignore[arg-type]  # by name


async def test_a_record_comes_back_as_it_was(ledgers: Ledgers) -> None:
    await ledgers.ledger.write([RECORD], {})
    found = await ledgers.other.find("req_1")
    assert found is not None
    assert found[1] == RECORD
    assert await ledgers.other.find("req_2") is None


async def test_sums_add_up_by_every_dimension(ledgers: Ledgers) -> None:
    await ledgers.ledger.write([record(1), record(2, model="claude-opus-4")], {})
    await ledgers.other.write([record(3, key="bob", at=START + DAY, status=502, cost_usd=None)], {})
    [(_, total)] = await ledgers.ledger.usage(UsageFilter())
    assert (total.turns, total.errors, total.prompt_tokens, total.output_tokens) == (3, 1, 18, 12)
    assert (total.cost_usd, total.first_tokens, total.messages) == (0.5, 3, 6)
    by_key = dict(await ledgers.ledger.usage(UsageFilter(), ["key"]))
    assert {name: sums.turns for name, sums in by_key.items()} == {("alice",): 2, ("bob",): 1}
    by_day = await ledgers.other.usage(UsageFilter(), ["day", "model"])
    today, tomorrow = day_of(START), day_of(START + DAY)
    assert [names for names, _ in by_day] == [
        (today, "claude-opus-4"),
        (today, "claude-sonnet-5"),
        (tomorrow, "claude-sonnet-5"),
    ]
    [((hour,), _), *_] = await ledgers.ledger.usage(UsageFilter(key="alice"), ["hour"])
    assert hour.startswith(f"{today}T")


async def test_a_filter_leaves_out_the_rest(ledgers: Ledgers) -> None:
    await ledgers.ledger.write(
        [record(1), record(2, stored_messages=0), record(3, at=START + DAY)], {}
    )
    today = day_of(START)

    async def turns(wanted: UsageFilter) -> int:
        [(_, sums)] = await ledgers.ledger.usage(wanted)
        return sums.turns

    assert await turns(UsageFilter(until=today)) == 2
    assert await turns(UsageFilter(since=day_of(START + DAY))) == 1
    assert await turns(UsageFilter(stored=True)) == 2
    assert await turns(UsageFilter(key="nobody")) == 0
    by_hour = await ledgers.ledger.usage(UsageFilter(since=today, until=today), ["hour"])
    assert sum(sums.turns for _, sums in by_hour) == 2


async def test_records_are_read_newest_first_and_from_either_end(ledgers: Ledgers) -> None:
    await ledgers.ledger.write([record(n, status=200 + n % 2 * 302) for n in range(1, 7)], {})
    newest = await ledgers.other.recent(TurnFilter(), 2)
    assert [found.id for _, found in newest] == ["req_6", "req_5"]
    older = await ledgers.other.recent(TurnFilter(), 10, before=newest[-1][0])
    assert [found.id for _, found in older] == ["req_4", "req_3", "req_2", "req_1"]
    newer = await ledgers.other.recent(TurnFilter(status=5), 10, after=older[-1][0])
    assert [found.id for _, found in newer] == ["req_5", "req_3"]
    assert len(await ledgers.other.recent(TurnFilter(status=200), 10)) == 3
    assert await ledgers.other.recent(TurnFilter(key="bob"), 10) == []


async def test_a_record_is_found_by_the_model_that_was_asked_or_answered(ledgers: Ledgers) -> None:
    asked = record(1, model_asked="repo-helper", model="claude-opus-5")
    await ledgers.ledger.write([asked, record(2)], {})
    for name in ("repo-helper", "claude-opus-5"):
        found = await ledgers.other.recent(TurnFilter(model=name), 10)
        assert [each.id for _, each in found] == ["req_1"]


async def test_what_a_key_spent_is_known_by_day_month_and_minute(ledgers: Ledgers) -> None:
    await ledgers.ledger.write(
        [record(1), record(2, at=START - 120), record(3, at=START - 40 * DAY), record(4, key="b")],
        {},
    )
    spent = await ledgers.other.spent("alice", START + 1)
    assert (spent.day.turns, spent.month.turns) == (2, 2)
    assert spent.minute_tokens == RECORD.tokens


async def test_two_servers_that_write_at_once_lose_nothing(ledgers: Ledgers) -> None:
    await asyncio.gather(
        *(
            ledger.write([record(n * 10 + i, key=f"k{i}") for i in order], {})
            for n in range(10)
            for ledger, order in ((ledgers.ledger, (0, 1, 2)), (ledgers.other, (2, 1, 0)))
        )
    )
    [(_, total)] = await ledgers.ledger.usage(UsageFilter())
    assert (total.turns, total.cost_usd) == (60, 15.0)


async def test_old_records_are_forgotten_and_days_stay(ledgers: Ledgers) -> None:
    await ledgers.ledger.write([record(1), record(2, at=START + DAY)], {})
    await ledgers.ledger.sweep(START + DAY + 1, DAY)
    assert [found.id for _, found in await ledgers.ledger.recent(TurnFilter(), 9)] == ["req_2"]
    await ledgers.ledger.sweep(START + HOURS_KEPT_SECONDS + 2 * DAY, DAY)
    assert await ledgers.ledger.usage(UsageFilter(), ["hour"]) == []
    [(_, total)] = await ledgers.ledger.usage(UsageFilter())
    assert total.turns == 2


async def test_a_server_says_what_runs_there_until_it_is_silent(ledgers: Ledgers) -> None:
    if ledgers.ledger is ledgers.other:
        assert await ledgers.ledger.running_elsewhere("alice") == 0
        return
    await ledgers.ledger.write([], {"alice": 2})
    assert await ledgers.other.running_elsewhere("alice") == 2
    assert await ledgers.ledger.running_elsewhere("alice") == 0
    await ledgers.ledger.write([], {"alice": 1})
    assert await ledgers.other.running_elsewhere("alice") == 1
    ledgers.clock.now += RUNNING_SECONDS + 1
    assert await ledgers.other.running_elsewhere("alice") == 0
    await ledgers.ledger.write([], {})
    ledgers.clock.now -= RUNNING_SECONDS + 1
    assert await ledgers.other.running_elsewhere("alice") == 0


# Keys

KEY = StoredKey(
    "alice",
    "ab" * 32,
    START,
    expires_at=START + DAY,
    operator=True,
    requests_per_minute=5,
    builtin_tools=False,
    models=("claude-*",),
    allowed_tools=("Read", "Bash(git *)"),
    disallowed_tools=("Write",),
    limits=KeyLimits(usd_per_day=1.5, tokens_per_minute=1_000),
)


async def test_a_key_comes_back_as_it_was(ledgers: Ledgers) -> None:
    assert await ledgers.keys.add(KEY)
    plain = StoredKey("bob", "cd" * 32, START)
    assert await ledgers.keys.add(plain)
    assert list(await ledgers.keys.all()) == [KEY, plain]


async def test_neither_a_name_nor_a_secret_is_there_twice(ledgers: Ledgers) -> None:
    assert await ledgers.keys.add(KEY)
    assert not await ledgers.keys.add(replace(KEY, sha256="cd" * 32))
    assert not await ledgers.keys.add(replace(KEY, name="bob"))


async def test_a_change_leaves_the_secret_and_is_seen(ledgers: Ledgers) -> None:
    revisions = [await ledgers.keys.revision()]

    async def is_seen() -> bool:
        revisions.append(await ledgers.keys.revision())
        return len(set(revisions)) == len(revisions)

    await ledgers.keys.add(KEY)
    assert await is_seen()
    changed = replace(KEY, sha256="ef" * 32, disabled=True, limits=KeyLimits())
    assert await ledgers.keys.change(changed)
    assert await is_seen()
    assert list(await ledgers.keys.all()) == [replace(changed, sha256=KEY.sha256)]
    assert not await ledgers.keys.change(replace(KEY, name="bob"))
    assert await ledgers.keys.remove("alice")
    assert not await ledgers.keys.remove("alice")
    assert await ledgers.keys.all() == []


async def test_a_turn_is_a_keys_last_use(ledgers: Ledgers) -> None:
    await ledgers.keys.add(KEY)
    revision = await ledgers.keys.revision()
    await ledgers.ledger.write([record(1), record(2, at=START + 5), record(3, key="x")], {})
    [found] = await ledgers.keys.all()
    assert found.last_used_at == START + 5
    assert await ledgers.keys.revision() == revision
