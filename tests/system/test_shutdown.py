"""However the server ends, no Claude Code process outlives it. A real `python main.py --demo`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.wire import streaming, until

MAIN = Path(__file__).parents[2] / "main.py"
pytestmark = [pytest.mark.wire, pytest.mark.skipif(os.name == "nt", reason="signals")]


@dataclass(slots=True)
class Server:
    process: Process
    http: httpx.AsyncClient

    def processes(self) -> list[psutil.Process]:
        """Everything that the server started."""
        return psutil.Process(self.process.pid).children(recursive=True)


@asynccontextmanager
async def running(folder: Path, *arguments: str, **settings: str) -> AsyncIterator[Server]:
    """A server of its own, in an empty folder and an environment from scratch; up when given."""
    own = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "MAX_PROCESSES": "3", "POOL_WARM": "0"}
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(MAIN), str(port), "--demo", *arguments,
        env=own | settings, cwd=folder, stdout=DEVNULL, stderr=DEVNULL,
    )  # fmt: skip
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
        server = Server(process, http)
        left: list[psutil.Process] = []
        try:
            await answers(http)
            yield server
        finally:
            with suppress(psutil.NoSuchProcess):
                left = server.processes()
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            for orphan in left:
                with suppress(psutil.NoSuchProcess):
                    orphan.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def answers(http: httpx.AsyncClient) -> None:
    """Returns when the server has a Claude Code process that works."""
    async with asyncio.timeout(30):
        while True:
            with suppress(httpx.TransportError):
                if (await http.get("/health/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.05)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def claudes(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if "claude" in process.name()]


async def test_sigterm_lets_answers_finish_in_the_grace_time_and_takes_no_new_ones(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, SHUTDOWN_GRACE_SECONDS="2") as server:
        async with (
            streaming(server.http, "!demo tokens=100000 rate=5") as endless,
            streaming(server.http, "!demo tokens=10 rate=20") as lines,
        ):
            await anext(endless)
            await anext(lines)
            started = server.processes()
            assert len(claudes(started)) >= 2
            server.process.send_signal(signal.SIGTERM)
            rest = [line async for line in lines]
            assert rest[-2:] == ["data: [DONE]", ""]
            with suppress(httpx.TransportError):
                assert (await server.http.get("/health")).status_code == 503
            assert server.process.returncode is None
            with suppress(httpx.TransportError):
                async for _ in endless:
                    pass
        assert await server.process.wait() == 0
        assert alive(started) == []


async def test_a_server_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    async with running(tmp_path, POOL_WARM="1") as server:
        async with streaming(server.http, "!demo tokens=100000 rate=20") as lines:
            await anext(lines)
            started = server.processes()
            assert claudes(started)
            server.process.kill()
            await server.process.wait()
        await until(lambda: alive(started) == [], 10)


async def test_reload_leaves_no_process(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text("")
    async with running(tmp_path, "--reload") as server:
        first = claudes(server.processes())
        assert first
        os.utime(source, (4e9, 4e9))
        await until(lambda: not alive(first), 15)
        await answers(server.http)
        started = server.processes()
        server.process.send_signal(signal.SIGTERM)
        assert await server.process.wait() == 0
        await until(lambda: alive(started) == [], 10)
