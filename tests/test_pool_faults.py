"""What goes wrong with a process hurts one turn at most; then the pool is full again."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import MakeGateway
from tests.fake_cli import fake_claude
from tests.harness import Gateway, cli_processes
from tests.wire import URL, asking, streaming, until
from worker import ClaudeWorker

ENDLESS = "!demo tokens=100000 rate=50"
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def only(gateway: Gateway, state: Any) -> int:
    """The pid of the only process in this state."""
    [slot] = gateway.engine.pool.in_state(state)
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


async def test_a_process_killed_while_idle_is_not_noticed(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_processes=1) as gateway, recovering(gateway):
        await ask(gateway)
        os.kill(only(gateway, "idle"), signal.SIGKILL)  # the very next line asks again
        assert (await ask(gateway)).status_code == 200


@pytest.fixture
def collector_off() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collector_off")
async def test_one_collection_frees_what_a_process_held(make_gateway: MakeGateway) -> None:
    """A generator that nobody closed would bring all of it back for another round."""
    async with make_gateway(max_processes=1) as gateway:
        await ask(gateway)
        gone = only(gateway, "idle")
        await ask(gateway, tools=TOOLS)  # which it cannot serve: it makes way
        await until(lambda: not gateway.engine.pool.in_state("closing"))
        gc.collect()
        kept = [found for found in gc.get_objects() if isinstance(found, ClaudeWorker)]
        pids = [worker.describe()["pid"] for worker in kept]
        assert only(gateway, "idle") in pids
        assert gone not in pids


async def test_a_process_killed_while_streaming_ends_its_stream_only(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(max_processes=2) as gateway, recovering(gateway):
        await ask(gateway)
        async with streaming(gateway.http, ENDLESS) as lines:
            await anext(lines)
            victim = only(gateway, "busy")
            other = asyncio.create_task(ask(gateway, "!demo tokens=20 rate=40"))
            await gateway.upstream.wait_for_requests(3)
            os.kill(victim, signal.SIGKILL)
            rest = [line async for line in lines]
        assert any('"code":"upstream_error"' in line.replace(" ", "") for line in rest)
        assert (await other).status_code == 200


async def test_a_process_killed_while_held_is_replaced_by_a_replay(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(max_processes=2) as gateway, recovering(gateway):
        body = asking("!demo call=look", tools=TOOLS)
        message = (await gateway.http.post(URL, json=body)).json()["choices"][0]["message"]
        call_id = message["tool_calls"][0]["id"]
        os.kill(only(gateway, "held"), signal.SIGKILL)
        result = {"role": "tool", "tool_call_id": call_id, "content": "it is 42"}
        body["messages"] += [message, result]
        answer = await gateway.http.post(URL, json=body)
        assert "it is 42" in answer.json()["choices"][0]["message"]["content"]


async def test_a_process_that_hangs_is_ended_when_the_time_is_over(
    make_gateway: MakeGateway,
) -> None:
    making = make_gateway(max_processes=1, max_timeout=2)
    async with making as gateway, recovering(gateway):
        await ask(gateway)
        os.kill(only(gateway, "idle"), signal.SIGSTOP)
        answer = await ask(gateway)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")


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
        "    for line in stdin:\n"
        "        yield line\n"
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
    async with make_gateway(max_processes=2) as gateway, recovering(gateway):
        answers = await asyncio.gather(*(ask(gateway) for _ in range(3)))
        assert [answer.status_code for answer in answers] == [200] * 3


FULL_DISK = """#!/bin/sh
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
    make_gateway: MakeGateway, gateway: Gateway, tmp_path: Path
) -> None:
    cli = cli_on_a_full_disk(tmp_path, gateway.engine.cli_path)
    environ = {"PATH": "/usr/bin:/bin", "CLAUDE_CONFIG_DIR": str(tmp_path / ".claude")}
    tried = await asyncio.create_subprocess_exec(cli, "--version", env=environ)
    if await tried.wait() != 0:
        pytest.skip("this machine lets nobody mount a file system of their own (unshare -rm)")
    making = make_gateway(max_processes=2, claude_cli_path=cli)
    async with making as gateway, recovering(gateway):
        answers = await asyncio.gather(*(ask(gateway) for _ in range(3)))
        assert [answer.status_code for answer in answers] == [200] * 3
        [pid, *_] = processes_of(gateway)
        assert os.statvfs(f"/proc/{pid}/root{tmp_path}/.claude").f_bavail == 0


async def test_a_hundred_clients_that_leave_at_once_leave_a_full_pool(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(max_processes=3, queue_size=200) as gateway:
        async with recovering(gateway):
            body = asking(ENDLESS, stream=True)
            tasks = [asyncio.create_task(gateway.http.post(URL, json=body)) for _ in range(100)]
            await gateway.upstream.wait_for_requests(3)
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
        assert gateway.engine.pool.counts["refused"] == 0
