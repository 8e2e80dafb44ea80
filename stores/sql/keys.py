"""API keys over SQLite and PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, delete, func, select, update

from core.limits import KeyLimits
from stores.keys import KeyStore, StoredKey
from stores.sql.database import Database, to_its_end
from stores.sql.tables import api_keys
from stores.sql.terms import insert_into

COLUMNS = ("name", "sha256", "created_at", "expires_at", "last_used_at", "disabled", "operator")
KEPT = {"name", "sha256", "created_at", "last_used_at"}
"""What a change leaves."""


class SqlKeyStore(KeyStore):
    """In a database that a SqlStore opens and closes."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    @to_its_end
    async def revision(self) -> str:
        query = select(func.count(), func.max(api_keys.c.changed_at))
        async with self._database.read() as db:
            count, changed_at = (await db.execute(query)).one()
        return f"{count} {changed_at}"

    @to_its_end
    async def all(self) -> Sequence[StoredKey]:
        async with self._database.read() as db:
            found = (await db.execute(select(api_keys).order_by(api_keys.c.name))).all()
        return [_key(row) for row in found]

    @to_its_end
    async def add(self, key: StoredKey) -> bool:
        new = insert_into(self._database.dialect, api_keys).values(**self._values(key))
        statement = new.on_conflict_do_nothing().returning(api_keys.c.name)
        async with self._database.write() as db:
            return (await db.execute(statement)).one_or_none() is not None

    @to_its_end
    async def change(self, key: StoredKey) -> bool:
        values = {name: value for name, value in self._values(key).items() if name not in KEPT}
        statement = update(api_keys).where(api_keys.c.name == key.name).values(**values)
        async with self._database.write() as db:
            changed = await db.execute(statement.returning(api_keys.c.name))
            return changed.one_or_none() is not None

    @to_its_end
    async def remove(self, name: str) -> bool:
        gone = delete(api_keys).where(api_keys.c.name == name).returning(api_keys.c.name)
        async with self._database.write() as db:
            return (await db.execute(gone)).one_or_none() is not None

    def _values(self, key: StoredKey) -> dict[str, Any]:
        columns = {name: getattr(key, name) for name in COLUMNS}
        rules = {name: value for name, value in asdict(key).items() if name not in COLUMNS}
        return {**columns, "changed_at": self._clock(), "rules": rules}


def _key(row: Row[Any]) -> StoredKey:
    rules: dict[str, Any] = dict(row.rules)
    limits = KeyLimits(**rules.pop("limits"))
    lists = {name: value for name, value in rules.items() if isinstance(value, list)}
    columns: dict[str, Any] = {name: row._mapping[name] for name in COLUMNS}
    tuples = {name: tuple(value) for name, value in lists.items()}
    return StoredKey(**columns, **rules | tuples, limits=limits)
