"""What goes wrong with a process hurts one turn at most; then the pool is full again."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from demo import FakeAnthropic
from engine.leases import Slot
from engine.worker import ClaudeWorker
from tests.conftest import MakeGateway
from tests.support.fake_cli import fake_claude
from tests.support.harness import Gateway, cli_processes, gateway_at
from tests.support.harness import test_settings as settings_of
from tests.support.wire import URL, asking, streaming, until

ENDLESS = "!demo tokens=100000 rate=50"


@pytest.fixture(scope="module")
async def pair_running(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    async with gateway_at(
        shared_upstream, home, max_processes=2, pool_warm=0, queue_size=200
    ) as gateway:
        yield gateway


@pytest.fixture
def pair(pair_running: Gateway, upstream: FakeAnthropic) -> Gateway:
    """A server of at most two processes, as earlier tests left them."""
    return pair_running


def only(gateway: Gateway, state: Any) -> int:
    """The pid of the only process in this state."""
    [slot] = gateway.engine.pool.in_state(state)
    return pid_of(slot)


def next_one(gateway: Gateway) -> int:
    """The pid of the idle process that the next question takes."""
    return pid_of(gateway.engine.pool.in_state("idle")[-1])


def pid_of(slot: Slot[Any, Any]) -> int:
    pid: int = slot.worker.describe()["pid"]
    return pid


async def ask(gateway: Gateway, text: str = "hi", **fields: Any) -> httpx.Response:
    return await gateway.http.post(URL, json=asking(text, **fields))


def processes_of(gateway: Gateway) -> set[int]:
    """All CLI processes of this server, the pool's or not: they share its scratch directory."""
    scratch = psutil.Process(gateway.engine.pool.snapshot()["workers"][0]["pid"]).cwd()
    found = set()
    for process in cli_processes():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.cwd() == scratch:
                found.add(process.pid)
    return found


@asynccontextmanager
async def recovering(gateway: Gateway) -> AsyncIterator[None]:
    """Afterwards nobody waits, nothing is busy, no process is unknown, and a request is served."""
    yield
    pool = gateway.engine.pool
    await until(lambda: pool.queued == 0 and not pool.in_state("busy", "closing"))
    answer = await ask(gateway, "after")
    assert answer.status_code == 200, answer.text
    await until(lambda: not pool.in_state("busy", "closing", "starting"))
    known = {worker["pid"] for worker in pool.snapshot()["workers"]}
    await until(
        lambda: processes_of(gateway) == known
    )  # a CLI that forks is seen twice for a while
    assert len(known) <= pool.limits.max_processes


async def test_a_process_killed_while_streaming_ends_its_stream_only(pair: Gateway) -> None:
    async with recovering(pair):
        async with streaming(pair.http, ENDLESS) as lines:
            await anext(lines)
            victim = only(pair, "busy")
            other = asyncio.create_task(ask(pair, "!demo tokens=20 rate=40"))
            await pair.upstream.wait_for_requests(2)
            os.kill(victim, signal.SIGKILL)
            rest = [line async for line in lines]
        assert any('"code":"upstream_error"' in line.replace(" ", "") for line in rest)
        assert (await other).status_code == 200


async def test_a_process_that_hangs_is_ended_when_the_time_is_over(
    pair: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recovering(pair):
        await ask(pair)
        os.kill(next_one(pair), signal.SIGSTOP)
        with monkeypatch.context() as context:
            context.setattr(pair.engine, "_settings", settings_of(max_timeout=2))
            answer = await ask(pair)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")


@pytest.fixture
def collector_off() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collector_off")
async def test_one_collection_frees_what_a_process_held(
    pair: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator that nobody closed would bring all of it back for another round."""
    await ask(pair)
    gone = next_one(pair)
    pool = pair.engine.pool
    with monkeypatch.context() as context:
        context.setattr(pool, "limits", replace(pool.limits, max_uses=1))
        pool.sweep()
    await until(lambda: not pool.in_state("closing"))
    await ask(pair)
    gc.collect()
    kept = [found for found in gc.get_objects() if isinstance(found, ClaudeWorker)]
    pids = [worker.describe()["pid"] for worker in kept]
    assert only(pair, "idle") in pids
    assert gone not in pids


async def test_a_hundred_clients_that_leave_at_once_leave_a_full_pool(pair: Gateway) -> None:
    pair.engine.pool.counts.clear()
    async with recovering(pair):
        body = asking(ENDLESS, stream=True)
        tasks = [asyncio.create_task(pair.http.post(URL, json=body)) for _ in range(100)]
        await pair.upstream.wait_for_requests(2)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
    assert pair.engine.pool.counts["refused"] == 0


FLOOD = """
        flood = b"x" * 1000 + b"\\n"
        while True:
            sys.stdout.buffer.write(flood * 1000)
"""


def flooding_cli(folder: Path, when: str) -> Path:
    """A CLI that floods its output in `turn`s that ask for it, or `after` each answer."""
    path = folder / "claude"
    path.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"sys.path.insert(0, {str(Path(fake_claude.__file__).parent)!r})\n"
        "import fake_claude\n"
        "def mode():\n"
        f"    if {when!r} == 'after' or 'flood' not in line:\n"
        "        fake_claude.answer()\n"
        f"    if {when!r} == 'after' or 'flood' in line:"
        f"{FLOOD}"
        "line = ''\n"
        "def lines(stdin):\n"
        "    global line\n"
        "    for written in stdin:\n"
        "        line = written if 'EXTRA_BODY' in written else line\n"
        "        yield written\n"
        "fake_claude.MODES['flood'] = mode\n"
        "sys.stdin = lines(sys.stdin)\n"
        "fake_claude.main('flood')\n"
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("when", ["turn", "after"])
async def test_a_flood_of_output_neither_blocks_nor_fills_the_server(
    make_gateway: MakeGateway, tmp_path: Path, when: str
) -> None:
    cli = flooding_cli(tmp_path, when)
    start_bytes = psutil.Process().memory_info().rss
    async with make_gateway(max_processes=2, max_timeout=1, claude_cli_path=cli) as gateway:
        answer = await ask(gateway, "flood")
        assert answer.status_code == (504 if when == "turn" else 200), answer.text
        assert (await gateway.http.get("/health")).status_code == 200
        assert psutil.Process().memory_info().rss - start_bytes < 50 * 1024 * 1024
        pids = [worker["pid"] for worker in gateway.engine.pool.snapshot()["workers"]]
    assert not any(pid is not None and psutil.pid_exists(pid) for pid in pids)


async def test_a_slow_start_delays_and_fails_nothing(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    cli = fake_claude.installed(tmp_path, "slow_start")
    async with make_gateway(max_processes=2, claude_cli_path=cli) as gateway:
        answers = await asyncio.gather(*(ask(gateway) for _ in range(4)))
        assert [answer.status_code for answer in answers] == [200] * 4


async def test_a_cli_that_cannot_start_is_an_error_at_once_and_does_not_spin(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    cli = fake_claude.installed(tmp_path, "crash_at_start")
    async with make_gateway(max_processes=2, claude_cli_path=cli) as gateway:
        answers = await asyncio.gather(*(ask(gateway, model="haiku") for _ in range(3)))
        assert [answer.status_code for answer in answers] == [502] * 3
        assert gateway.engine.pool.counts["started"] < 12
        fake_claude.installed(tmp_path, "answer")
        assert (await ask(gateway)).status_code == 200


async def test_an_unusable_config_directory_does_no_harm(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    """A file in its place: nothing can be written there."""
    (tmp_path / ".claude").write_text("not a directory")
    async with make_gateway(max_processes=1) as gateway, recovering(gateway):
        answers = await asyncio.gather(*(ask(gateway) for _ in range(3)))
        assert [answer.status_code for answer in answers] == [200] * 3


FULL_DISK = """#!/bin/sh
export PATH=/usr/bin:/bin
exec unshare -rm sh -c '
    mount -t tmpfs -o size=64k tmpfs "$CLAUDE_CONFIG_DIR" || exit 3
    cat /dev/zero > "$CLAUDE_CONFIG_DIR/ballast" 2> /dev/null
    exec "$0" "$@"' {cli} "$@"
"""


def cli_on_a_full_disk(folder: Path, cli: Path) -> Path:
    """The CLI with a config directory on a file system of its own, which is full."""
    (folder / ".claude").mkdir()
    path = folder / "on-a-full-disk"
    path.write_text(FULL_DISK.format(cli=cli))
    path.chmod(0o755)
    return path


async def test_a_full_disk_under_the_config_directory_does_no_harm(
    make_gateway: MakeGateway, pair: Gateway, tmp_path: Path
) -> None:
    cli = cli_on_a_full_disk(tmp_path, pair.engine.cli_path)
    environ = {"PATH": "/usr/bin:/bin", "CLAUDE_CONFIG_DIR": str(tmp_path / ".claude")}
    tried = await asyncio.create_subprocess_exec(cli, "--version", env=environ)
    if await tried.wait() != 0:
        pytest.skip("this machine lets nobody mount a file system of their own (unshare -rm)")
    making = make_gateway(max_processes=1, claude_cli_path=cli)
    async with making as gateway, recovering(gateway):
        answers = await asyncio.gather(*(ask(gateway) for _ in range(3)))
        assert [answer.status_code for answer in answers] == [200] * 3
        [pid, *_] = processes_of(gateway)
        assert os.statvfs(f"/proc/{pid}/root{tmp_path}/.claude").f_bavail == 0
