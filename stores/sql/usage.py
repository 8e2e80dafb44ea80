"""The usage ledger over SQLite and PostgreSQL."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.events import Usage
from stores.sql.database import Database, to_its_end
from stores.sql.tables import api_keys, usage_days, usage_hours, usage_running, usage_turns
from stores.sql.terms import insert_into
from stores.usage import (
    HOURS_KEPT_SECONDS,
    MEASURES,
    RUNNING_SECONDS,
    Dimension,
    Numbered,
    Slot,
    Spent,
    TurnFilter,
    TurnRecord,
    UsageFilter,
    UsageLedger,
    UsageSum,
    day_of,
    hour_of,
    month_of,
    status_range,
    summed,
)

USAGE_COLUMNS = tuple(asdict(Usage()))
SLOT = ("start", "key", "dialect", "model", "stored")


class SqlUsageLedger(UsageLedger):
    """In a database that a SqlStore opens and closes. `server` tells this server from others."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._server = secrets.token_hex(8)
        self._told: Mapping[str, int] = {}

    @to_its_end
    async def write(self, records: Sequence[TurnRecord], running: Mapping[str, int]) -> None:
        if not (records or running or self._told):
            return
        async with self._database.write() as db:
            if records:
                await db.execute(usage_turns.insert(), [_values(record) for record in records])
                await self._add(db, usage_hours, summed(records, daily=False))
                await self._add(db, usage_days, summed(records, daily=True))
                await self._touch(db, records)
            if running or self._told:
                await self._tell(db, running)
        self._told = dict(running)

    async def _add(self, db: AsyncConnection, table: Table, sums: Mapping[Slot, UsageSum]) -> None:
        for slot, added in sums.items():
            statement = insert_into(self._database.dialect, table).values(
                **asdict(slot), **asdict(added)
            )
            total = {name: table.c[name] + statement.excluded[name] for name in MEASURES}
            await db.execute(statement.on_conflict_do_update(index_elements=SLOT, set_=total))

    async def _touch(self, db: AsyncConnection, records: Sequence[TurnRecord]) -> None:
        latest: dict[str, float] = {}
        for record in records:
            latest[record.key] = max(record.at, latest.get(record.key, 0.0))
        for name in sorted(latest):
            mine = update(api_keys).where(api_keys.c.name == name)
            await db.execute(mine.values(last_used_at=latest[name]))

    async def _tell(self, db: AsyncConnection, running: Mapping[str, int]) -> None:
        mine = usage_running.c.server == self._server
        over = usage_running.c.until < self._clock()
        await db.execute(delete(usage_running).where(mine | over))
        until = self._clock() + RUNNING_SECONDS
        rows = [
            {"server": self._server, "key": key, "count": count, "until": until}
            for key, count in running.items()
        ]
        if rows:
            await db.execute(usage_running.insert(), rows)

    @to_its_end
    async def usage(
        self, wanted: UsageFilter, by: Sequence[Dimension] = ()
    ) -> list[tuple[tuple[str, ...], UsageSum]]:
        table = usage_hours if "hour" in by else usage_days
        columns = [table.c[_column(name)] for name in by]
        query = select(*columns, *_sums(table)).where(*_conditions(table, wanted))
        if columns:
            query = query.group_by(*columns).order_by(*columns)
        async with self._database.read() as db:
            found = (await db.execute(query)).all()
        return [(tuple(row[: len(by)]), _usage_sum(row[len(by) :])) for row in found]

    @to_its_end
    async def spent(self, key: str, now: float) -> Spent:
        mine = usage_days.c.key == key, usage_days.c.start >= month_of(now)
        by_day = select(usage_days.c.start, *_sums(usage_days)).where(*mine)
        read = usage_turns.c.input_tokens + usage_turns.c.cache_read_tokens
        tokens = read + usage_turns.c.cache_write_tokens + usage_turns.c.output_tokens
        lately = usage_turns.c.key == key, usage_turns.c.at > now - 60
        spent = Spent()
        async with self._database.read() as db:
            for start, *numbers in await db.execute(by_day.group_by(usage_days.c.start)):
                spent.month.add(_usage_sum(numbers))
                if start == day_of(now):
                    spent.day.add(_usage_sum(numbers))
            minute = select(func.coalesce(func.sum(tokens), 0)).where(*lately)
            minute_tokens = int((await db.execute(minute)).scalar_one())
        return Spent(spent.day, spent.month, minute_tokens)

    @to_its_end
    async def running_elsewhere(self, key: str) -> int:
        total = select(func.coalesce(func.sum(usage_running.c.count), 0))
        others = usage_running.c.key == key, usage_running.c.server != self._server
        valid = usage_running.c.until >= self._clock()
        async with self._database.read() as db:
            return int((await db.execute(total.where(*others, valid))).scalar_one())

    @to_its_end
    async def recent(
        self, wanted: TurnFilter, limit: int, *, after: int | None = None, before: int | None = None
    ) -> list[Numbered]:
        conditions = _of_turns(wanted)
        if after is not None:
            conditions.append(usage_turns.c.number > after)
        if before is not None:
            conditions.append(usage_turns.c.number < before)
        query = select(usage_turns).where(*conditions).order_by(usage_turns.c.number.desc())
        async with self._database.read() as db:
            found = (await db.execute(query.limit(limit))).all()
        return [(row.number, _record(row)) for row in found]

    @to_its_end
    async def find(self, id: str) -> Numbered | None:
        query = select(usage_turns).where(usage_turns.c.id == id).limit(1)
        async with self._database.read() as db:
            row = (await db.execute(query)).one_or_none()
        return None if row is None else (row.number, _record(row))

    @to_its_end
    async def sweep(self, now: float, keep_seconds: float) -> None:
        old_hours = usage_hours.c.start < hour_of(now - HOURS_KEPT_SECONDS)
        async with self._database.write() as db:
            await db.execute(delete(usage_turns).where(usage_turns.c.at < now - keep_seconds))
            await db.execute(delete(usage_hours).where(old_hours))


def _values(record: TurnRecord) -> dict[str, Any]:
    values = asdict(record)
    usage: dict[str, Any] = values.pop("usage")
    return values | usage


def _record(row: Row[Any]) -> TurnRecord:
    values = dict(row._mapping)
    del values["number"]
    values["approvals"] = values["approvals"] or []  # NULL before they were kept
    usage = Usage(**{name: values.pop(name) for name in USAGE_COLUMNS})
    return TurnRecord(**values, usage=usage)


def _column(name: Dimension) -> str:
    return "start" if name in ("hour", "day") else name


def _sums(table: Table) -> list[ColumnElement[Any]]:
    return [func.coalesce(func.sum(table.c[name]), 0) for name in MEASURES]


def _usage_sum(numbers: Sequence[Any]) -> UsageSum:
    """PostgreSQL's sums of integers are decimals."""
    kinds = (type(getattr(UsageSum(), name)) for name in MEASURES)
    return UsageSum(*(kind(number) for kind, number in zip(kinds, numbers, strict=True)))


def _conditions(table: Table, wanted: UsageFilter) -> list[ColumnElement[bool]]:
    equal = {"key": wanted.key, "model": wanted.model, "dialect": wanted.dialect}
    conditions = [table.c[name] == value for name, value in equal.items() if value is not None]
    if wanted.stored is not None:
        conditions.append(table.c.stored == wanted.stored)
    if wanted.since is not None:
        conditions.append(table.c.start >= wanted.since)
    if wanted.until is not None:  # an hour is longer than its day: 2026-11-20T23
        conditions.append(table.c.start <= f"{wanted.until}T99")
    return conditions


def _of_turns(wanted: TurnFilter) -> list[ColumnElement[bool]]:
    equal = {"key": wanted.key, "dialect": wanted.dialect, "session_id": wanted.session_id}
    found = [usage_turns.c[name] == value for name, value in equal.items() if value is not None]
    if wanted.model is not None:
        named = (usage_turns.c.model_asked, usage_turns.c.model)
        found.append(or_(*(column == wanted.model for column in named)))
    if wanted.status is not None:
        found.append(usage_turns.c.status.between(*status_range(wanted.status)))
    return found
