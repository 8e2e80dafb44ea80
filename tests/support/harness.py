"""A live server in this process, in front of the fake upstream: what the wire tests talk to."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvicorn
from fastapi import FastAPI
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from starlette.types import ASGIApp

from claude_cli import ClaudeEngine
from config.settings import Settings
from demo import FakeAnthropic
from main import create_app
from web.http_protocol import server_options


def cli_environ(upstream: FakeAnthropic, home: Path, form: Any = "anthropic") -> dict[str, str]:
    """All that the CLI may know: nothing of this machine's own variables or logins."""
    own = {"PATH": "/usr/bin:/bin", "HOME": str(home), "CLAUDE_CONFIG_DIR": str(home / ".claude")}
    return {**own, **upstream.environment(form)}


def test_settings(**changes: Any) -> Settings:
    """Settings of no file and no environment."""
    base: dict[str, Any] = {
        "max_processes": 6,
        "upstream_max_retries": 0,
        "database_url": "sqlite://",
    }
    return Settings.model_construct(**{**base, **changes})


@dataclass(slots=True)
class Gateway:
    """A running server. `client` is the official one, without retries."""

    url: str
    app: FastAPI
    upstream: FakeAnthropic
    client: AsyncOpenAI
    http: httpx.AsyncClient

    @property
    def engine(self) -> ClaudeEngine:
        engine: ClaudeEngine = self.app.state.gateway.engine
        return engine

    def processes(self) -> list[psutil.Process]:
        """The live CLI processes of this test run."""
        return cli_processes()


def cli_processes() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "claude" in process.name() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@asynccontextmanager
async def serve(app: ASGIApp, settings: Settings | None = None) -> AsyncIterator[str]:
    """The app under uvicorn as `python main.py` runs it, on a free loopback port; gives its URL."""
    options = server_options(settings or test_settings()) | {"timeout_graceful_shutdown": 2}
    config = uvicorn.Config(app, port=0, **options)
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign]  # pytest keeps its own
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            await task
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


def narrow(url: str) -> None:
    """Makes the send buffers of connections to a server of this process small from now on: then
    a client that does not read is noticed soon. On Linux they are as the listening socket's."""
    port = int(url.rpartition(":")[2])
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(descriptor.name))) as found:
            is_listening = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if is_listening and found.getsockname()[1] == port:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)


def _no_signals() -> Any:
    from contextlib import nullcontext

    return nullcontext()


@asynccontextmanager
async def gateway_at(
    upstream: FakeAnthropic, home: Path, form: Any = "anthropic", **settings: Any
) -> AsyncIterator[Gateway]:
    """A server with these settings, before this fake upstream."""
    chosen = test_settings(**{"workspace_root": home / "workspaces", **settings})
    app = create_app(chosen, environ=cli_environ(upstream, home, form))
    async with (
        serve(app, chosen) as url,
        openai_client(url) as client,
        httpx.AsyncClient(base_url=url, timeout=30, verify=False) as http,
    ):
        yield Gateway(url, app, upstream, client, http)


def openai_client(url: str, key: str = "unused") -> AsyncOpenAI:
    """The official client, which asks once. It reads no certificates: that takes 20 ms."""
    plain = DefaultAsyncHttpxClient(verify=False)
    return AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=plain)


def png(size: int = 8) -> str:
    """A PNG of `size` x `size` red pixels, base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\xff\0\0" * size) * size)
    image = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)
    return base64.b64encode(image + chunk(b"IEND", b"")).decode()


def said(message: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """A recorded message as role and blocks, without the CLI's cache marks: what it says."""
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return message["role"], [
        {key: value for key, value in block.items() if key != "cache_control"} for block in blocks
    ]


def system_texts(body: dict[str, Any]) -> list[str]:
    """The texts of a recorded request's system prompt."""
    blocks: list[dict[str, Any]] = body.get("system") or []
    return [block["text"] for block in blocks]
