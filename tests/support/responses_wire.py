"""What the wire tests of the Responses API write and read."""

from __future__ import annotations

import asyncio
from typing import Any

from openai import AsyncOpenAI

from demo import FakeAnthropic
from tests.support.harness import said, system_texts
from tests.support.responses_cases import MODEL

URL = "/v1/responses"
ENCRYPTED = {"include": ["reasoning.encrypted_content"]}
OPEN = frozenset({"queued", "in_progress"})


def asking(given: Any, **fields: Any) -> dict[str, Any]:
    """The body of a request."""
    return {"model": MODEL, "input": given, **fields}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def received(upstream: FakeAnthropic) -> list[dict[str, Any]]:
    """What each question to the model consisted of, without cache marks."""
    return [
        {
            "system": system_texts(request.body),
            "messages": [said(message) for message in request.messages],
            "tools": [_unmarked(tool) for tool in request.body.get("tools") or ()],
            "tool_choice": request.body.get("tool_choice"),
        }
        for request in upstream.requests
    ]


def _unmarked(tool: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tool.items() if key != "cache_control"}


def outputs(response: Any, result: str) -> list[dict[str, Any]]:
    """The outputs of all calls of a response."""
    kinds = {
        "function_call": "function_call_output",
        "custom_tool_call": "custom_tool_call_output",
    }
    return [
        {"type": kinds[item.type], "call_id": item.call_id, "output": result}
        for item in response.output
        if item.type in kinds
    ]


async def until_over(client: AsyncOpenAI, id: str) -> Any:
    """Polls a background response, as its clients do."""
    while True:
        response = await client.responses.retrieve(id)
        if response.status not in OPEN:
            return response
        await asyncio.sleep(0.05)


async def outcome(upstream: FakeAnthropic) -> str:
    """Of the last question to the model, when it is over."""
    while True:
        seen: str = upstream.requests[-1].outcome
        if seen != "open":
            return seen
        await asyncio.sleep(0.01)
