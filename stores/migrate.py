"""Brings a database to the newest schema, when the server starts.

Servers that start together take turns; each migration is applied once, all or nothing.
A new one: copy `migrations/versions/v0001_sessions.py`, number it, name the one before it as
`down_revision`, and change `tables.py` alike; `tests/test_session_migrations.py` compares them.
"""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from errors import StoreUnavailable
from stores.database import Database

log = logging.getLogger(__name__)
logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells much at each start

DIRECTORY = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 4_918_247_301


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(DIRECTORY).replace("%", "%%"))
    return config


async def migrate(database: Database, revision: str = "head") -> None:
    """Raises StoreUnavailable where the database cannot be opened or is newer than this server."""
    async with database.write() as connection:
        await connection.run_sync(_upgrade, revision)


def _upgrade(connection: Connection, revision: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
    config = configuration()
    before = _revision(connection)
    _refuse_newer(before, config)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    if (after := _revision(connection)) != before:
        log.info("the sessions' database has schema %s now (before: %s)", after, before or "none")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(current: str | None, config: Config) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise StoreUnavailable(
            f"DATABASE_URL: this database was written by a newer server (schema {current}): "
            "update this one, or name another database."
        )
