"""The MCP server of the package `mcp-server-time`, as a command and behind a URL."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp_server_time.server import create_server  # type: ignore[import-untyped]
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.harness import serve

TIME: dict[str, Any] = {
    "command": sys.executable,
    "args": ["-m", "mcp_server_time", "--local-timezone", "UTC"],
}
NOON = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
"""Arguments of its tool `convert_time`; the answer has 21:00."""


def mcp_file(folder: Path, **servers: Any) -> Path:
    """A file for MCP_CONFIG."""
    path = folder / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    return path


class Guarded:
    """Lets only those in who send the right header."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._header = (b"authorization", f"Bearer {token}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._header in scope["headers"]:
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"s3cret-words"})


@asynccontextmanager
async def time_over_http(token: str) -> AsyncIterator[str]:
    """Gives its base URL: `/mcp` is streamable HTTP, `/sse` and `/messages/` the older way."""
    server = create_server("UTC")
    app = server.streamable_http_app()
    app.router.routes += server.sse_app().routes
    async with serve(Guarded(app, token)) as url:
        yield url
