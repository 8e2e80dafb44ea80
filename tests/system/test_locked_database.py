"""A database that is locked, dead or full: one bounded wait, an honest 503, and not ready."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stores.sql import database
from tests.conftest import MakeGateway
from tests.support.wire import URL, asking


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """As another process would do it."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    """So that the tests need not wait for ten seconds."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 1)
    return 1.0


async def test_requests_to_a_locked_file_wait_once_and_together(
    make_gateway: MakeGateway, tmp_path: Path, impatient: float
) -> None:
    path = tmp_path / "s.db"
    async with make_gateway(database_url=f"sqlite:///{path}") as gateway:
        assert (await gateway.http.post(URL, json=asking("hi", session_id="s0"))).status_code == 200
        with locked(path):
            began = time.perf_counter()
            asked = [
                gateway.http.post(URL, json=asking("hi", session_id=f"s{number}"))
                for number in range(6)
            ]
            answers = await asyncio.gather(*asked)
            seconds = time.perf_counter() - began
        assert {answer.status_code for answer in answers} == {503}
        codes = {answer.json()["error"]["code"] for answer in answers}
        assert codes == {"session_store_unavailable"}
        assert all("retry-after" in answer.headers for answer in answers)
        assert seconds < 8 * impatient  # one after the other it would be two waits for each
        assert (await gateway.http.post(URL, json=asking("hi", session_id="s0"))).status_code == 200


async def test_a_server_whose_sessions_cannot_be_stored_is_not_ready(
    make_gateway: MakeGateway, tmp_path: Path, impatient: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.db"
    monkeypatch.setattr("session_manager.CHECKED_SECONDS", 0.0)
    async with make_gateway(database_url=f"sqlite:///{path}") as gateway:
        assert (await gateway.http.get("/health/ready")).status_code == 200
        with locked(path):
            answer = await gateway.http.get("/health/ready")
            assert answer.status_code == 503
            checks = answer.json()["checks"]
            assert [name for name, check in checks.items() if not check["ok"]] == ["sessions"]
            assert "database" in checks["sessions"]["detail"]
            assert (await gateway.http.get("/health")).status_code == 200
        assert (await gateway.http.get("/health/ready")).status_code == 200


async def test_a_new_database_is_for_its_owner_only(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    path = tmp_path / "s.db"
    async with make_gateway(database_url=f"sqlite:///{path}") as gateway:
        assert (await gateway.http.post(URL, json=asking("hi", session_id="s"))).status_code == 200
        for name in ("s.db", "s.db-wal", "s.db-shm"):
            assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600, name  # noqa: PTH116
