"""Brings a database to the newest schema, when the server starts.

Servers that start together take turns; each migration is applied once, all or nothing.
A new one: copy `migrations/versions/v0001_sessions.py`, number it, name the one before it as
`down_revision`, make it `NEWEST`, and change `tables.py` alike; `tests/stores/test_migrations.py`
compares them.
"""

from __future__ import annotations

import logging

from sqlalchemy import Connection, inspect, text

from stores.sql.database import Database

log = logging.getLogger(__name__)

NEWEST = "0006"
ADVISORY_LOCK = 4_918_247_301


async def migrate(database: Database, revision: str = NEWEST) -> None:
    """Raises StoreUnavailable where the database cannot be opened or is newer than this server."""
    async with database.write() as connection:
        await connection.run_sync(_upgrade, revision)


def _upgrade(connection: Connection, revision: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
    before = _revision(connection)
    if before == revision:
        return
    from stores.sql import alembic_run  # 11 MB that a database which is up to date does not need

    alembic_run.upgrade(connection, before, revision)
    log.info("the sessions' database has schema %s now (before: %s)", revision, before or "none")


def _revision(connection: Connection) -> str | None:
    """The schema that Alembic left there; None in a database without one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found
