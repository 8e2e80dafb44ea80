"""`python main.py` as a process of its own, to be killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil

MAIN = Path(__file__).parents[2] / "main.py"
START_SECONDS = 60


class ServerProcess:
    """A server that can be started again after it was killed, at the same URL."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._environ = environ
        self._process: asyncio.subprocess.Process | None = None
        self._port = _free_port()
        self.url = ""

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        with (self._directory / f"{self._port}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(MAIN),
                str(self._port),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=dict(self._environ),
                cwd=self._directory,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            while line := await self._process.stdout.readline():
                if found := re.search(rb"http://[0-9.:]+", line):
                    self.url = found.group().decode()
                    break
            await self._until_it_answers()

    async def _until_it_answers(self) -> None:
        async with httpx.AsyncClient() as http:
            while True:
                with suppress(httpx.TransportError):
                    await http.get(f"{self.url}/health")
                    return
                assert self._process is not None
                assert self._process.returncode is None, "the server did not start"
                await asyncio.sleep(0.02)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def kill_alone(self) -> None:
        """`kill -9` of the server only: what it started is not told."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, until it has ended."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        await self._process.wait()

    async def kill(self) -> None:
        """`kill -9`, and the CLI processes that it started with it."""
        if self._process is None or not self.is_running:
            return
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._process.pid).children(recursive=True)
            self._process.send_signal(signal.SIGKILL)
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        await self._process.wait()


@asynccontextmanager
async def server_process(
    directory: Path, environ: Mapping[str, str]
) -> AsyncIterator[ServerProcess]:
    """Started when the block begins, killed when it ends."""
    server = ServerProcess(directory, {"PATH": os.defpath, **environ})
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
