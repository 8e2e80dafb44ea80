"""What an MCP server says of itself: asked for real, within a time, and nothing is left running."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import Implementation, Tool

from core.conversation import JsonObject

log = logging.getLogger(__name__)
logging.getLogger("mcp.client").setLevel(logging.CRITICAL)  # it logs what servers say
logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs URLs, which may be secret

ANSWER_SECONDS = 10.0
MAX_PAGES = 20


@dataclass(frozen=True, slots=True)
class McpStatus:
    """`error` is a sentence where the server gave no answer; then there are no tools."""

    server: Implementation | None = None
    tools: tuple[Tool, ...] = ()
    error: str | None = None


async def status_of(native: JsonObject) -> McpStatus:
    """Connects, lists the tools and leaves. A command is started and ended for it: some seconds
    more where it does not end by itself. Never raises."""
    try:
        with anyio.fail_after(ANSWER_SECONDS):
            async with Client(_transport(native), cache=None) as client:
                tools = [tool async for tool in _tools(client)]
                return McpStatus(client.server_info, tuple(tools))
    except TimeoutError:
        return McpStatus(error=f"It did not answer within {ANSWER_SECONDS:g} seconds.")
    except Exception as error:  # whatever a server may do to its client
        log.info("an MCP server could not be asked: %s", type(error).__name__)
        reasons = filter(None, map(_reason, _leaves(error)))
        return McpStatus(error=next(reasons, "It does not speak MCP."))


async def _tools(client: Client) -> AsyncIterator[Tool]:
    cursor = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            yield tool
        cursor = page.next_cursor
        if cursor is None:
            return


@asynccontextmanager
async def _transport(native: JsonObject) -> AsyncIterator[Any]:
    headers = native.get("headers")
    if native["type"] == "stdio":
        command = StdioServerParameters.model_validate(native)
        with Path(os.devnull).open("w") as nowhere:  # noqa: ASYNC230  # which never waits
            async with stdio_client(command, errlog=nowhere) as streams:
                yield streams
    elif native["type"] == "sse":
        async with sse_client(native["url"], headers) as streams:
            yield streams
    else:
        async with (
            httpx2.AsyncClient(
                headers=headers, timeout=ANSWER_SECONDS, event_hooks={"response": [_refusal]}
            ) as client,
            streamable_http_client(native["url"], http_client=client) as streams,
        ):
            yield streams


async def _refusal(response: httpx2.Response) -> None:
    """Names the status, which the protocol's own client hides."""
    if response.status_code in (401, 403):
        response.raise_for_status()


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _reason(error: BaseException) -> str | None:
    """A sentence without anything that the server wrote."""
    match error:
        case httpx2.HTTPStatusError():
            return f"It answered with status {error.response.status_code}."
        case httpx2.ConnectError():
            return "No connection could be made."
        case OSError():
            return f"It could not be started: {error.strerror}."
    return None
