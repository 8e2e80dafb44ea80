"""Fixtures: one event loop, one fake upstream and one server for the whole run, and fresh ones."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from demo import FakeAnthropic
from tests.support.harness import Gateway, gateway_at
from tests.support.logged import Watch, watched
from tests.support.postgres import Postgres, running_postgres
from tests.support.response_bench import responses
from tests.support.store_bench import bench, make_bench

__all__ = ["bench", "make_bench", "responses"]  # fixtures that stand beside what they make


SERVERS = {"shared_upstream", "upstream", "gateway", "make_gateway", "postgres", "redis_url"}
"""Fixtures that start something, directly or by what they ask for."""


class MakeGateway(Protocol):
    def __call__(
        self, *, form: str = "anthropic", **settings: object
    ) -> AbstractAsyncContextManager[Gateway]: ...


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, since a test waits a fifth of its time."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else 2


@pytest.hookimpl(tryfirst=True)  # before `-m` selects by the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is given the most time comes first: none of it is left when all else is done. What asks
    for a server by a fixture gets the mark `wire`; other modules that start one mark themselves."""
    items.sort(key=_time_limit, reverse=True)
    for item in items:
        if _starts_a_server(item):
            item.add_marker(pytest.mark.wire)


def _starts_a_server(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return bool(SERVERS & {*item.fixturenames}) or "postgresql" in parameters


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Without a garbage collection, a sixth of the time: the modules and tests stay, and are not
    looked at afterwards either."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def _time_limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    limit: float = marker.args[0] if marker else item.config.getini("timeout")
    return float(limit)


@pytest.fixture(scope="session", autouse=True)
def temporary_directory() -> Iterator[None]:
    """One of this worker's own: a server clears up after dead ones that it finds beside itself, and
    other workers' tests kill theirs."""
    with tempfile.TemporaryDirectory(prefix="tests-") as path:
        tempfile.tempdir = path
        yield
        tempfile.tempdir = None


@pytest.fixture(scope="session", autouse=True)
def log_of_all_tests() -> Iterator[Watch]:
    """Fails the run in its end where any test made the server log a prompt, an answer or a key."""
    with watched() as watch:
        yield watch
    assert watch.leaks == []


@pytest.fixture(scope="session")
async def shared_upstream() -> AsyncIterator[FakeAnthropic]:
    async with FakeAnthropic() as upstream:
        yield upstream


@pytest.fixture(scope="session")
async def shared_gateway(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """With places for the processes of all grants that the tests of a file share."""
    home = tmp_path_factory.mktemp("home")
    settings = {"database_url": f"sqlite:///{home}/s.db", "max_processes": 10}
    async with gateway_at(shared_upstream, home, **settings) as gateway:
        yield gateway


@pytest.fixture
def upstream(shared_upstream: FakeAnthropic) -> FakeAnthropic:
    """The fake upstream that the shared server talks to, with nothing recorded yet."""
    shared_upstream.clear()
    return shared_upstream


@pytest.fixture
def gateway(shared_gateway: Gateway, upstream: FakeAnthropic) -> Gateway:
    """The shared server, with its pool and its sessions, in SQLite, as earlier tests left them."""
    return shared_gateway


@pytest.fixture
def make_gateway(upstream: FakeAnthropic, tmp_path: Path) -> MakeGateway:
    """Servers of a test's own: `async with make_gateway(max_processes=2) as gateway`.

    They start no process ahead, unless told so: most tests would never use it.
    """
    return partial(gateway_at, upstream, tmp_path, pool_warm=0)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL, started by the first test that asks for it."""
    with running_postgres() as server:
        yield server
