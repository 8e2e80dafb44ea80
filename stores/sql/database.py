"""Connections to SQLite and PostgreSQL: what a `DATABASE_URL` means, transactions, failures."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import aiosqlite
import anyio
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from core.errors import StoreUnavailable

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
BUSY_SECONDS = 10
"""Longest wait for a SQLite file that another process has locked, and before it for this process's
other writers."""

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
CONNECT_SECONDS = 10
STATEMENT_SECONDS = 20
RETRY_SECONDS = 5

P = ParamSpec("P")
T = TypeVar("T")


def database_url(text: str) -> URL:
    """The URL with the driver that is used. Raises ValueError with a phrase."""
    allowed = "must be like sqlite+aiosqlite:///sessions.db or postgresql+asyncpg://user@host/name"
    try:
        url = make_url(text)
    except ArgumentError:
        raise ValueError(allowed) from None
    if url.drivername not in DRIVERS:
        raise ValueError(allowed)
    return url.set(drivername=DRIVERS[url.drivername])


def in_memory(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


class Database:
    """One engine. `write` and `read` are transactions: committed at the end, rolled back by an
    exception. Every failure of the database is a StoreUnavailable."""

    def __init__(self, url: URL) -> None:
        self.dialect = url.get_backend_name()
        self.engine = _engine(url)
        self._writing = asyncio.Lock() if self.dialect == "sqlite" else None

    async def dispose(self) -> None:
        await self.engine.dispose()

    def make_file(self) -> None:
        """Makes a SQLite file that only this user can read, where there is none yet. SQLite gives
        the files beside it the same permissions."""
        name = self.engine.url.database
        if self.dialect == "sqlite" and name and not name.startswith((":", "file:")):
            with suppress(OSError):  # what is wrong with the place, the connection says
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """In SQLite one at a time, so in order: its own wait is a poll in which some starve."""
        async with self._alone(), _told(), self.engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        if self._writing is None:
            yield
            return
        try:
            async with asyncio.timeout(BUSY_SECONDS):
                await self._writing.acquire()
        except TimeoutError:
            message = "The sessions' database is locked."
            raise StoreUnavailable(message, retry_after=RETRY_SECONDS) from None
        try:
            yield
        finally:
            self._writing.release()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Every statement sees the same moment."""
        async with _told(), self.engine.connect() as connection:
            options: dict[str, Any] = {"sqlite_begin": "DEFERRED"}
            if self.dialect == "postgresql":
                options["isolation_level"] = "REPEATABLE READ"
            await connection.execution_options(**options)
            yield connection


def to_its_end(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """A transaction that a cancelled caller waits for: a driver that is interrupted in the middle
    of one may leave its connection, and with it the lock on a SQLite file, without an owner. The
    database's own timeouts bound the wait."""

    @wraps(method)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(method(*args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await _ended(task)
            raise

    return run


async def _ended(task: asyncio.Task[Any]) -> None:
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not warn: there is no caller left


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise StoreUnavailable(
            f"The sessions' database failed ({type(error).__name__}).", retry_after=RETRY_SECONDS
        ) from error


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        bounds = {"timeout": CONNECT_SECONDS, "command_timeout": STATEMENT_SECONDS}
        return create_async_engine(
            url, hide_parameters=True, pool_pre_ping=True, connect_args=bounds
        )
    engine = create_async_engine(
        url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS}, pool_timeout=BUSY_SECONDS
    )
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _prepare(connection: Any, record: object) -> None:
    connection.isolation_level = None  # the driver would begin by itself, too late and too weakly
    connection.run_async(_set_up)


async def _set_up(connection: aiosqlite.Connection) -> None:
    """SQLite's own wait does not cover the change of a new file to WAL by two at the same time: to
    one of them the file is locked at once."""
    deadline = time.monotonic() + BUSY_SECONDS
    for pragma in PRAGMAS:
        while True:
            try:
                await connection.execute_fetchall(f"PRAGMA {pragma}")
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.01)


def _begin(connection: Connection) -> None:
    """Writers queue at the start: one that began as a reader could not become a writer later."""
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")
