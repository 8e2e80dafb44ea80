"""The baseline: the SDK's `query()` for each request, behind the same route.

What most wrappers do: a process is started for every request, the conversation is flattened into
one prompt, and text deltas are passed on. The wire model is the server's own, so that only the
way to Claude differs.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from claude_agent_sdk import ClaudeAgentOptions, StreamEvent, query
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from models import ChatRequest

app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/v1/chat/completions")
async def create_chat_completion(body: ChatRequest) -> StreamingResponse:
    return StreamingResponse(_frames(body), media_type="text/event-stream")


async def _frames(body: ChatRequest) -> AsyncIterator[bytes]:
    answer_id, created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        data = {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": body.model,
            "choices": [choice],
        }
        return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"

    yield chunk({"role": "assistant", "content": ""})
    async for message in query(prompt=flattened(body), options=_options(body)):
        if isinstance(message, StreamEvent) and message.event["type"] == "content_block_delta":
            text = message.event["delta"].get("text")
            if text:
                yield chunk({"content": text})
    yield chunk({}, "stop")
    yield b"data: [DONE]\n\n"


def flattened(body: ChatRequest) -> str:
    """All messages but the system prompt as one text."""
    spoken = [message for message in body.messages if message.role not in ("system", "developer")]
    if len(spoken) == 1:
        return str(spoken[0].content)
    return "\n\n".join(f"{message.role.title()}: {message.content}" for message in spoken)


def _options(body: ChatRequest) -> ClaudeAgentOptions:
    prompts = [str(m.content) for m in body.messages if m.role in ("system", "developer")]
    return ClaudeAgentOptions(
        model=body.model,
        system_prompt="\n\n".join(prompts),
        tools=[],
        setting_sources=[],
        max_turns=1,
        include_partial_messages=True,
        cwd=Path.home(),
    )


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
