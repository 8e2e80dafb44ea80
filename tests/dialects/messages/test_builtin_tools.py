"""Built-in tools in Messages: the work of Claude Code as one message. Real CLI."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dialects.messages.request import NOT_REPLAYABLE
from tests.conftest import MakeGateway
from tests.support.anthropic_clients import anthropic_client
from tests.support.harness import Gateway

MODEL = "claude-sonnet-5"


@pytest.fixture
async def granting(make_gateway: MakeGateway) -> AsyncIterator[Gateway]:
    async with make_gateway(allowed_tools=("Read",)) as gateway:
        yield gateway


@pytest.fixture
def question(granting: Gateway) -> str:
    step = [[{"name": "Read", "input": {"file_path": "notes.txt"}}]]
    return f"!demo steps={json.dumps(step)} say=Reading. text=Done."


def asking(text: str, **fields: Any) -> Any:
    message = {"role": "user", "content": text}
    return {"model": MODEL, "max_tokens": 500, "messages": [message], **fields}


@pytest.mark.parametrize("activity", ["reasoning", "content", "none"])
async def test_the_work_is_one_message(granting: Gateway, question: str, activity: str) -> None:
    headers = {"x-claude-tools": "Read", "x-claude-tool-activity": activity}
    async with anthropic_client(granting.url, default_headers=headers) as client:
        whole = await client.messages.create(**asking(question))
        async with client.messages.stream(**asking(question)) as stream:
            streamed = await stream.get_final_message()
    for message in (whole.to_dict(), streamed.to_dict()):
        content: Any = message["content"]
        texts = "".join(block["text"] for block in content if block["type"] == "text")
        thoughts = [block for block in content if block["type"] == "thinking"]
        assert message["stop_reason"] == "end_turn"
        assert texts.startswith("Reading.")
        assert texts.endswith("Done.")
        assert ("Read notes.txt" in texts) == (activity == "content")
        shown = any("Read notes.txt" in thought["thinking"] for thought in thoughts)
        assert shown == (activity == "reasoning")
        assert all(thought["signature"] == NOT_REPLAYABLE for thought in thoughts)
    first, second = list(granting.upstream.requests)[:2]
    assert [tool["name"] for tool in first.tools] == ["Read"]
    blocks = [b for m in second.messages for b in m["content"] if isinstance(b, dict)]
    assert "tool_result" in [block["type"] for block in blocks]


async def test_what_was_shown_comes_back_without_harm(granting: Gateway, question: str) -> None:
    headers = {"x-claude-tools": "Read"}
    async with anthropic_client(granting.url) as client:
        answer = await client.messages.create(**asking(question), extra_headers=headers)
        next_turn = asking("And now?")
        content = [block.to_dict() for block in answer.content]
        next_turn["messages"][:0] = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": content},
        ]
        await client.messages.create(**next_turn)
    sent = granting.upstream.requests[-1].messages[1]["content"]
    assert {block["type"] for block in sent} == {"text"}


async def test_a_field_that_has_no_place_beside_them_is_reported(granting: Gateway) -> None:
    body = asking("hi", container="c", claude_tools="Read")
    answer = await granting.http.post("/v1/messages", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ignored-parameters"] == "container"


async def test_tools_that_are_not_granted_are_refused(granting: Gateway, tmp_path: Path) -> None:
    headers = {"x-claude-tools": "Bash"}
    answer = await granting.http.post("/v1/messages", json=asking("hi"), headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
    assert not granting.upstream.requests
