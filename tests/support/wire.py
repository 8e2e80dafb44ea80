"""What the wire tests write and read: request bodies, frames and chunks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

MODEL = "claude-sonnet-5"
URL = "/v1/chat/completions"


def asking(text: str, **fields: Any) -> dict[str, Any]:
    """The body of a request with one user message."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}


def frames(raw: str) -> list[str]:
    """The frames of a complete stream, each without its `data: `; comments keep their colon."""
    assert raw.endswith("\n\n")
    return [frame.removeprefix("data: ") for frame in raw[:-2].split("\n\n")]


def chunks(raw: str) -> list[dict[str, Any]]:
    """The JSON of a complete stream, which must end with [DONE]."""
    *kept, done = [frame for frame in frames(raw) if not frame.startswith(":")]
    assert done == "[DONE]"
    return [json.loads(frame) for frame in kept]


def streamed_text(raw: str) -> str:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(raw) if chunk.get("choices")]
    return "".join(delta.get("content") or "" for delta in deltas)


@asynccontextmanager
async def streaming(
    http: httpx.AsyncClient, text: str, **fields: Any
) -> AsyncIterator[AsyncIterator[str]]:
    """The lines of a stream, as they come; leaving the block is leaving the server."""
    body = asking(text, stream=True, **fields)
    async with http.stream("POST", URL, json=body) as response:
        assert response.status_code == 200
        yield response.aiter_lines()


async def until(reached: Callable[[], bool], seconds: float = 20.0) -> None:
    """Returns when `reached()` holds: for what the outside world gives no event of."""
    async with asyncio.timeout(seconds):
        while not reached():  # noqa: ASYNC110  # processes and sockets set no asyncio.Event
            await asyncio.sleep(0.005)
