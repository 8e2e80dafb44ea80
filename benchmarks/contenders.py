"""Those that are compared, each a process of its own: the fake upstream asked directly (the floor),
this server, the naive way, a peer where one is asked for, and any server that is started by a
command. All see an environment built from scratch.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks import peers
from benchmarks.client import BenchmarkError, Connection, Exchange
from benchmarks.conversations import for_messages_api
from benchmarks.results import Name
from demo import FakeAnthropic

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
POLL_SECONDS = 0.005
QUIET_SECONDS = 5.0
OURS = [sys.executable, str(ROOT / "main.py"), "{port}"]
NAIVE = [sys.executable, "-m", "benchmarks.naive", "{port}"]

Commands = dict[Name, list[str]]
"""What starts a contender's server, `{port}` where its port belongs."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A running server. `began_at` and `healthy_at` are `time.perf_counter` seconds."""

    name: Name
    port: int
    process: psutil.Process
    began_at: float
    healthy_at: float

    def connection(self) -> Connection:
        return Connection(self.port)

    async def ask(self, connection: Connection, body: dict[str, Any]) -> Exchange:
        """The question, given in OpenAI's shape, in this contender's dialect."""
        return await connection.ask(self.path, self.shaped(body))

    @property
    def path(self) -> str:
        return "/v1/messages" if self.name == "floor" else "/v1/chat/completions"

    def shaped(self, body: dict[str, Any]) -> dict[str, Any]:
        return for_messages_api(body) if self.name == "floor" else body

    def cpu_seconds(self) -> float:
        """Processor time of the server and all processes it ever started."""
        return sum(self.cpu_split())

    def cpu_split(self) -> tuple[float, float]:
        """Processor time in seconds: of the server's own process, of all that it ever started."""
        own = self.process.cpu_times()
        started = own.children_user + own.children_system
        for child in self.process.children(recursive=True):
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            started += times.user + times.system + times.children_user + times.children_system
        return float(own.user + own.system), float(started)

    def memory_bytes(self) -> int:
        """Of the server and all its processes, each shared page counted once where Linux says."""
        total = 0
        for process in (self.process, *self.process.children(recursive=True)):
            try:
                info = process.memory_full_info()
            except psutil.Error:
                continue
            total += getattr(info, "pss", info.uss)
        return total

    def cli_processes(self) -> list[psutil.Process]:
        found = []
        for child in self.process.children(recursive=True):
            try:
                if "claude" in child.name() and child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
        return found


@dataclass(frozen=True, slots=True)
class Contest:
    """All that run in one benchmark, and how to start fresh ones."""

    contenders: dict[Name, Contender]
    environment: dict[str, str]
    logs: Path
    command: list[str]

    @property
    def ours(self) -> Contender:
        return self.contenders["ours"]


@asynccontextmanager
async def contest(commands: Commands | None = None) -> AsyncIterator[Contest]:
    """Starts the floor, this server, the naive way, and what these commands start: `ours` is
    another server in this one's place, any other name one more. All are gone afterwards."""
    async with AsyncExitStack() as stack:
        scratch = TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True)
        home = Path(stack.enter_context(scratch))
        floor = await stack.enter_async_context(fake_upstream(home))
        environment = child_environment(home, floor.port)
        running: dict[Name, Contender] = {"floor": floor}
        for name, command in {"ours": OURS, "naive": NAIVE, **(commands or {})}.items():
            started = server(name, environment, home, command)
            running[name] = await stack.enter_async_context(started)
        yield Contest(running, environment, home, (commands or {}).get("ours", OURS))


def with_peers(commands: Commands, scratch: Path) -> Commands:
    """The commands, and that of the peer where `PEERS` asks for it; installs it."""
    if not peers.wanted():
        return commands
    return {**commands, peers.PEER: peers.command_line(ROOT, scratch)}


@asynccontextmanager
async def fake_upstream_only() -> AsyncIterator[tuple[dict[str, str], Path]]:
    """The environment and the scratch directory of servers that are to be started on their own."""
    with TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as scratch:
        home = Path(scratch)
        async with fake_upstream(home) as floor:
            yield child_environment(home, floor.port), home


def child_environment(home: Path, upstream_port: int) -> dict[str, str]:
    """Everything that a server under test may know of this machine."""
    upstream = FakeAnthropic()
    upstream.url = f"http://127.0.0.1:{upstream_port}"
    own = {"HOME": str(home), "CLAUDE_CONFIG_DIR": str(home / ".claude")}
    quiet = {"PYTHONDONTWRITEBYTECODE": "1", "RATE_LIMIT_ENABLED": "false"}
    return {**own, **quiet, "PATH": os.defpath, **upstream.environment("anthropic")}


@asynccontextmanager
async def fake_upstream(home: Path) -> AsyncIterator[Contender]:
    command = [sys.executable, "-m", "demo", "--port", "{port}"]
    async with _running("floor", command, {"HOME": str(home)}, ROOT, home) as contender:
        yield contender


@asynccontextmanager
async def server(
    name: Name,
    environment: dict[str, str],
    home: Path,
    command: list[str] | None = None,
    *,
    port: int | None = None,
) -> AsyncIterator[Contender]:
    """This server or another one, on a free port unless one is named; ready when `/health`
    answers."""
    if command is None:
        command = NAIVE if name == "naive" else OURS
    if name == peers.PEER:
        environment = peers.environment(environment)
    # the scratch directory keeps a developer's .env out
    directory = ROOT if name == "naive" else home
    async with _running(name, command, environment, directory, home, port=port) as contender:
        yield contender


@asynccontextmanager
async def _running(
    name: Name,
    command: list[str],
    environment: dict[str, str],
    directory: Path,
    logs: Path,
    *,
    port: int | None = None,
) -> AsyncIterator[Contender]:
    port = port or free_port()
    log = logs / f"{name}-{port}.log"
    argv = [part.replace("{port}", str(port)) for part in command]
    began_at = time.perf_counter()
    process = _started(argv, environment, directory, log)
    try:
        await _until_healthy(name, process, port)
        healthy_at = time.perf_counter()
        yield Contender(name, port, psutil.Process(process.pid), began_at, healthy_at)
    except BenchmarkError as error:
        error.add_note(f"The log of {name} ends so:\n{_tail(log)}")
        raise
    finally:
        await asyncio.to_thread(_end, process)


def _started(
    argv: list[str], environment: dict[str, str], directory: Path, log: Path
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=directory,
        )


async def _until_healthy(name: Name, process: subprocess.Popen[bytes], port: int) -> None:
    is_peer = name == peers.PEER
    path = peers.HEALTH if is_peer else "/health"
    deadline = time.perf_counter() + (peers.START_SECONDS if is_peer else START_SECONDS)
    while not await _healthy(port, path):
        if process.poll() is not None or time.perf_counter() > deadline:
            raise BenchmarkError(f"{name}: a server did not start")
        await asyncio.sleep(POLL_SECONDS)


def _tail(log: Path) -> str:
    return log.read_text()[-2000:]


async def _healthy(port: int, path: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
        writer.write(head.encode())
        return bool(await reader.readline())  # the fake upstream has no such route, and says so
    except OSError:
        return False
    finally:
        writer.transport.abort()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a server and whatever it leaves behind; bounded."""
    children = psutil.Process(process.pid).children(recursive=True) if _runs(process) else []
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
    for child in children:  # psutil knows a process by its start time too: no stranger is hit
        if child.is_running():
            child.kill()


def _runs(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def quiet() -> None:
    """Waits until what this benchmark started does nothing: a refilled pool, a dying process. At
    most five seconds."""
    me, deadline = psutil.Process(), time.perf_counter() + QUIET_SECONDS
    before = _children_cpu(me)
    while time.perf_counter() < deadline:
        await asyncio.sleep(0.08)
        now = _children_cpu(me)
        if now - before <= 0.011:  # one tick of the kernel's clock
            return
        before = now


def _children_cpu(me: psutil.Process) -> float:
    total = 0.0
    for child in me.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total
