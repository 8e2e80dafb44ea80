"""Migrations: each schema that ever was opens in the newest server, with all that is in it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from core.errors import StoreUnavailable
from core.events import Usage
from stores.protocols import StoreLimits
from stores.sql.alembic_run import configuration
from stores.sql.database import Database, database_url
from stores.sql.migrate import NEWEST, migrate
from stores.sql.store import SqlStore
from stores.sql.tables import schema
from stores.sql.usage import SqlUsageLedger
from stores.usage import UsageFilter
from tests.support.postgres import Postgres

REVISIONS = [
    script.revision
    for script in reversed(list(ScriptDirectory.from_config(configuration()).walk_revisions()))
]
FIRST_VERSION = (
    "INSERT INTO sessions (owner, id, created_at, used_at, system, metadata, model, message_count,"
    " turn_count, bytes, input_tokens, cost_usd, draft, swept) VALUES ('local', 'old', 1.0, 2.0,"
    " '\"Be brief.\"', '{\"k\":\"v\"}', 'claude-sonnet-5', 2, 1, 11, 7, 0.5, false, false)",
    "INSERT INTO messages (session_key, position, role, content, bytes, created_at) VALUES"
    ' (1, 0, \'user\', \'[{"type":"image","source":{"media_type":"image/png",'
    '"type":"blob","sha256":"ab"}}]\', 5, 2.0)',
    "INSERT INTO messages (session_key, position, role, content, bytes, created_at, answer) VALUES"
    ' (1, 1, \'assistant\', \'[{"type":"text","text":"Hi \\u0000"}]\', 6, 2.0,'
    ' \'{"model":"claude-sonnet-5","stop_reason":"end_turn","usage":{"input_tokens":7},'
    '"cost_usd":0.5,"stop_sequence":null}\')',
    "INSERT INTO blobs (sha256, data, used_at) VALUES ('ab', {png}, 2.0)",
    "INSERT INTO message_blobs (session_key, position, sha256) VALUES (1, 0, 'ab')",
    "INSERT INTO days (owner, date, turns, cost_usd) VALUES ('local', '2026-11-20', 1, 0.5)",
)
"""A session as a server of revision 0001 left it. Never changed: it is what is out there."""

PNG = {"sqlite": "X'706e67'", "postgresql": "'\\x706e67'"}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/sessions.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), schema))


async def test_a_session_of_the_first_version_opens_in_this_one(url: str) -> None:
    database = Database(database_url(url))
    await migrate(database, REVISIONS[0])
    async with database.write() as db:
        for statement in FIRST_VERSION:
            await db.exec_driver_sql(statement.replace("{png}", PNG[database.dialect]))
    async with SqlStore(database, StoreLimits()) as store:
        session, [asked, reported] = await store.read("local", "old")
        assert (session.system, session.metadata) == ("Be brief.", {"k": "v"})
        assert (session.usage, session.cost_usd) == (Usage(7), 0.5)
        assert asked.message.content[0] == {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"},
        }
        assert reported.message.content == ({"type": "text", "text": "Hi \x00"},)
        assert reported.answer is not None
        assert (reported.answer.usage, reported.answer.cost_usd) == (Usage(7), 0.5)
        [(day, sums)] = await SqlUsageLedger(database).usage(UsageFilter(stored=True), ["day"])
        assert (day, sums.turns, sums.cost_usd) == (("2026-11-20",), 1, 0.5)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_version_is_brought_to_the_tables_of_this_one(url: str, revision: str) -> None:
    database = Database(database_url(url))
    await migrate(database, revision)
    await migrate(database)
    await migrate(database)  # again: nothing left to do
    async with database.read() as db:
        assert await db.run_sync(differences) == []
    await database.dispose()


def test_the_newest_migration_is_the_one_that_a_server_looks_for() -> None:
    assert REVISIONS[-1] == NEWEST


async def test_servers_that_start_together_migrate_once(url: str) -> None:
    databases = [Database(database_url(url)) for _ in range(4)]
    await asyncio.gather(*(migrate(database) for database in databases))
    async with databases[0].read() as db:
        versions = await db.execute(text("SELECT version_num FROM alembic_version"))
        assert versions.scalars().all() == [REVISIONS[-1]]
    for database in databases:
        await database.dispose()


async def test_a_new_file_that_another_server_is_about_to_write_is_waited_for(
    tmp_path: Path,
) -> None:
    """SQLite says at once that it is locked to whoever would change its journal then."""
    with closing(sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        database = Database(database_url(f"sqlite:///{tmp_path}/sessions.db"))
        opening = asyncio.create_task(migrate(database))
        await asyncio.sleep(0.2)
        assert not opening.done()
        other.execute("COMMIT")
        await opening
        await database.dispose()


async def test_a_database_of_a_newer_server_is_left_alone(url: str) -> None:
    database = Database(database_url(url))
    await migrate(database)
    async with database.write() as db:
        await db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match=r"newer server \(schema 9999\)"):
        await migrate(database)
    await database.dispose()


async def test_sqlite_keeps_a_write_ahead_log_and_waits_for_the_disk(tmp_path: Path) -> None:
    database = Database(database_url(f"sqlite:///{tmp_path}/sessions.db"))
    async with SqlStore(database, StoreLimits()), database.read() as db:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        values = [(await db.exec_driver_sql(f"PRAGMA {name}")).scalar_one() for name in pragmas]
        assert values == ["wal", 2, 1]
