"""What the SQL store's statements are made of: the clock, and who is active, expired or free."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    Table,
    and_,
    case,
    false,
    func,
    literal,
    null,
    or_,
)
from sqlalchemy.dialects import postgresql, sqlite

from stores.protocols import StoreLimits
from stores.sql.tables import sessions

HIDDEN = frozenset({"swept", "draft", "lease_token", "lease_until"})
COLUMNS = [column for column in sessions.c if column.name not in HIDDEN]

FREED: dict[str, Any] = {"lease_token": None, "lease_until": None}
"""The columns of a session whose lease was released."""


def insert_into(dialect: str, table: Table) -> Any:
    """An INSERT that knows `ON CONFLICT`."""
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)


class Terms:
    """Terms for one kind of database; `clock` None is the database's own (SQLite: this process's,
    which is on the same machine)."""

    def __init__(
        self, dialect: str, limits: StoreLimits, clock: Callable[[], float] | None
    ) -> None:
        self.is_postgresql = dialect == "postgresql"
        self._limits = limits
        self._clock = clock if clock or self.is_postgresql else time.time

    def insert(self, table: Table) -> Any:
        return insert_into("postgresql" if self.is_postgresql else "sqlite", table)

    def now(self) -> ColumnElement[float]:
        if self._clock is not None:
            return literal(self._clock(), Double)
        return func.date_part("epoch", func.clock_timestamp(), type_=Double)

    def expired(self) -> ColumnElement[bool]:
        return and_(sessions.c.expires_at.is_not(None), sessions.c.expires_at <= self.now())

    def free(self) -> ColumnElement[bool]:
        return or_(sessions.c.lease_token.is_(None), sessions.c.lease_until <= self.now())

    def active(self, owner: str) -> ColumnElement[bool]:
        return and_(sessions.c.owner == owner, sessions.c.draft == false(), ~self.expired())

    def columns(self) -> list[ColumnElement[Any]]:
        """The columns of a `Session`. One that never had a turn cannot have expired."""
        expired = case((sessions.c.draft, false()), else_=self.expired())
        return [*COLUMNS, expired.label("expired")]

    def expiry(self, ttl_seconds: float | None) -> ColumnElement[Any]:
        """When a session that is used now expires; NULL is never."""
        seconds = self._limits.ttl_seconds if ttl_seconds is None else ttl_seconds
        return self.now() + seconds if seconds else null()

    def lease_until(self) -> ColumnElement[float]:
        return self.now() + self._limits.lease_seconds
