"""The threat model, continued: what a server that was killed leaves behind. Real servers."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from config import scratch
from demo import FakeAnthropic
from engine.guardian import clear_abandoned
from engine.process_tree import PROCESS_MARK_VARIABLE
from tests.support.harness import cli_environ
from tests.support.server_process import ServerProcess
from tests.support.wire import URL, asking, until

pytestmark = [pytest.mark.timeout(120)]

SLEEP = '!demo calls=[{"name": "Bash", "input": {"command": "%s"}}]'
TOOLS = {"enable_tools": True, "claude_tools": ["Bash"]}


@asynccontextmanager
async def server(upstream: FakeAnthropic, folder: Path, **settings: str) -> AsyncIterator[Any]:
    """A server of its own whose temporary directory is in the folder; `kill_alone` is what a
    machine out of memory does: its children are not told."""
    temporary = folder / "tmp"
    temporary.mkdir()
    environ = cli_environ(upstream, folder) | {"TMPDIR": str(temporary), "POOL_WARM": "1"}
    environ |= {"ALLOWED_TOOLS": "Bash", "SANDBOX": "off", "MAX_PROCESSES": "3", **settings}
    running = ServerProcess(folder, {"PATH": os.defpath, **environ})
    try:
        await running.start()
        yield running
    finally:
        await running.kill()


def marked_by(folder: Path, seen: set[str]) -> list[psutil.Process]:
    """The processes that carry the mark of a server with this folder. `seen` keeps the names of its
    scratch directories, which are gone when it is to be asked last."""
    seen |= {path.name for path in (folder / "tmp").iterdir()}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            mark = process.environ().get(PROCESS_MARK_VARIABLE, "").partition("/")[0]
            if mark in seen and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.mark.parametrize("detached", [False, True])
async def test_commands_of_a_killed_server_end_and_its_directories_go(
    upstream: FakeAnthropic, tmp_path: Path, detached: bool
) -> None:
    """Also a command that left its group and its parent."""
    command = "touch began; sleep 300"
    if detached:
        command = "setsid sh -c 'touch began; sleep 300' >/dev/null 2>&1 & sleep 200"
    async with server(upstream, tmp_path) as running, httpx.AsyncClient(timeout=60) as http:
        body = asking(SLEEP % command, session_id="s", **TOOLS)
        asked = asyncio.create_task(http.post(running.url + URL, json=body))
        await until(lambda: bool(list((tmp_path / "workspaces").rglob("began"))), 40)
        seen: set[str] = set()
        assert len(marked_by(tmp_path, seen)) >= 3
        await running.kill_alone()
        with suppress(httpx.TransportError):
            await asked
        await until(lambda: not marked_by(tmp_path, seen), 5)
        await until(lambda: not list((tmp_path / "tmp").glob("claude-*")), 5)


async def test_the_port_of_a_killed_server_is_free_at_once(
    upstream: FakeAnthropic, tmp_path: Path
) -> None:
    """No CLI holds the listening socket, even one that outlives its server."""
    async with server(upstream, tmp_path) as running, httpx.AsyncClient(timeout=60) as http:
        assert (await http.post(running.url + URL, json=asking("hi"))).status_code == 200
        port = urlsplit(running.url).port
        inode = _listening_inode(port)
        holders = [process for process in marked_by(tmp_path, set()) if _holds(process, inode)]
        assert holders == []
        await running.kill_alone()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 2)
        first = running.url
        await running.start()
        assert running.url == first


def _listening_inode(port: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
            return fields[9]
    raise AssertionError("nobody listens")


def _holds(process: psutil.Process, inode: str) -> bool:
    links = Path(f"/proc/{process.pid}/fd").iterdir()
    return any(str(link.readlink()) == f"socket:[{inode}]" for link in links)


def test_a_next_start_clears_what_a_guardian_could_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole process group was killed, as systemd does; another installation's stays."""
    monkeypatch.setattr(scratch, "NEW_SECONDS", 0.0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stranger = tmp_path / "claude-gateway-00000000-x"
    stranger.mkdir()
    left = tmp_path / f"{scratch.prefix()}dead"
    left.mkdir()
    (left / "mcp.json").write_text("a token")
    environ = {PROCESS_MARK_VARIABLE: f"{left.name}/abc", "PATH": os.defpath}
    orphan = subprocess.Popen(["sleep", "300"], env=environ)
    with scratch.scratch_directory() as alive:
        clear_abandoned()
        orphan.wait(10)  # psutil has seen its end already
        assert not psutil.pid_exists(orphan.pid)
        assert sorted(tmp_path.iterdir()) == sorted([stranger, alive])
    assert list(tmp_path.iterdir()) == [stranger]


async def test_an_orderly_stop_leaves_no_file_and_no_guardian(
    upstream: FakeAnthropic, tmp_path: Path
) -> None:
    """Sockets of the sandbox too: they are made in a directory of the process's own."""
    async with server(upstream, tmp_path) as running, httpx.AsyncClient(timeout=60) as http:
        body = asking(SLEEP % "echo $TMPDIR; mktemp; python3 -c 1", session_id="s", **TOOLS)
        answer = await http.post(running.url + URL, json=body)
        assert answer.status_code == 200, answer.text
        reported = "".join(str(request.messages) for request in upstream.requests)
        assert f"{tmp_path}/tmp/{scratch.prefix()}" in reported
        started = psutil.Process(running.pid).children(recursive=True)
        assert any("read -r _" in " ".join(process.cmdline()) for process in started)
        await running.stop()
        await until(lambda: not any(process.is_running() for process in started), 5)
        left = [path for path in (tmp_path / "tmp").iterdir() if path.name.startswith("claude-")]
        assert left == []


def test_a_child_asks_to_end_with_its_parent() -> None:
    """What the CLI itself would not notice, since it reads nothing while it works."""
    if sys.platform != "linux":
        pytest.skip("elsewhere the guardian ends it")
    code = (
        "import asyncio, pathlib, time\n"
        "from engine.process_start import start_process\n"
        "start = start_process(['/bin/sleep', '300'], {}, pathlib.Path('/'), adopts=True)\n"
        "child, _ = asyncio.run(start)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(300)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        while child.name() != "sleep":  # it binds itself first
            time.sleep(0.01)
        parent.kill()
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
