"""Runs Alembic on this server's connection, inside its transaction. Imported only where there is
something to migrate."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from core.errors import StoreUnavailable

logging.getLogger("alembic").setLevel(logging.WARNING)  # it logs each step of a migration

DIRECTORY = Path(__file__).parents[1] / "migrations"


def upgrade(connection: Connection, current: str | None, revision: str) -> None:
    """Raises StoreUnavailable where `current` is not known here."""
    config = configuration()
    _refuse_newer(current, config)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(DIRECTORY).replace("%", "%%"))
    return config


def _refuse_newer(current: str | None, config: Config) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise StoreUnavailable(
            f"DATABASE_URL: this database was written by a newer server (schema {current}): "
            "update this one, or name another database."
        )
