"""10,000 mutated bodies: never a 5xx, a traceback or a process that stays behind.

Nine of ten go to `/v1/debug/request`, which reads all of a body and asks nobody; the rest to the
chat route itself, with a last message that the engine refuses, so that only a body which the
mutation fixed costs a turn. tests/system/test_openapi_fuzz.py calls every route by its schema.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import ASGIApp, Message

from tests.support.harness import Gateway, png

COUNT = 10_000
ROUTES = ("/v1/debug/request", "/v1/chat/completions")

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png()}"}}
SEEDS: list[dict[str, Any]] = [
    {
        "model": "claude-sonnet-5",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Look"}, IMAGE]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "done"},
            {"role": "assistant", "content": "Good."},
        ],
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    {
        "model": "gpt-4o",
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "x"}]},
            {"role": "user", "content": "hi", "name": "Ada"},
            {"role": "assistant", "content": "a", "refusal": None},
        ],
        "temperature": 0.5,
        "top_p": 1,
        "max_tokens": 10,
        "stop": ["a", "b"],
        "n": 2,
        "seed": 1,
        "reasoning_effort": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "s", "schema": {"type": "object", "properties": {}}},
        },
        "logit_bias": {"1": 2},
        "metadata": {"a": "b"},
    },
    {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
            {"role": "assistant", "content": "a"},
        ],
        "functions": [{"name": "f", "parameters": {"$ref": "#/x"}}],
        "function_call": "auto",
    },
]
NASTY: list[Any] = [
    None,
    True,
    0,
    -1,
    2**70,
    1e400,
    float("nan"),
    "",
    "\0",
    "\ud800",
    "é" * 50,
    "x" * 3000,
    "../../etc/passwd",
    "data:image/png;base64,AAAA",
    "https://169.254.169.254/",
    "user",
    "assistant",
    "tool",
    [],
    [[]],
    {},
    {"type": "text"},
    {"role": "user"},
    [{"type": "image_url", "image_url": {}}],
    {"$ref": "#"},
]


def places(value: Any, path: tuple[int | str, ...] = ()) -> Iterator[tuple[int | str, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in items:
        yield (*path, key)
        if isinstance(child, dict | list):
            yield from places(child, (*path, key))


def mutated(chance: random.Random) -> bytes:
    body = copy.deepcopy(chance.choice(SEEDS))
    for _ in range(chance.randint(1, 3)):
        change(body, chance)
    raw = json.dumps(body).encode()
    return scrambled(raw, chance) if chance.random() < 0.15 else raw


def change(body: dict[str, Any], chance: random.Random) -> None:
    way: list[Any]
    last: Any
    *way, last = chance.choice(list(places(body)))
    holder: Any = body
    for step in way:
        holder = holder[step]
    match chance.randrange(4):
        case 0 if isinstance(holder, dict):
            del holder[last]
        case 1 if isinstance(holder, list):
            holder.insert(chance.randrange(len(holder) + 1), copy.deepcopy(holder[last]))
        case 2 if isinstance(holder, dict):
            holder[chance.choice(["x", "type", "id", "content", "\r\n", "é"])] = holder.pop(last)
        case _:
            holder[last] = copy.deepcopy(chance.choice(NASTY))
    if not body:
        body["messages"] = []


def scrambled(raw: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(raw))
    pieces = (raw[:at], bytes([chance.randrange(256)]), b"", b"\xff\xfe", b"[" * 3000, b'"', b"}")
    return raw[:at] + chance.choice(pieces) + raw[at + chance.randrange(2) :]


async def call(app: ASGIApp, path: str, body: bytes) -> tuple[int, bytes]:
    answered: list[Message] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return waiting.pop() if waiting else await never()

    async def send(message: Message) -> None:
        answered.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    headers.append((b"content-length", str(len(body)).encode()))
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b""}
    await app({**scope, "headers": headers, "client": ("127.0.0.1", 1)}, receive, send)
    return answered[0]["status"], b"".join(message.get("body", b"") for message in answered)


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.timeout(120)
async def test_no_mutated_body_is_our_fault(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(6)
    caplog.set_level(logging.WARNING)
    before = {process.pid for process in gateway.processes()}
    for number in range(COUNT):
        body = mutated(chance)
        status, answer = await call(gateway.app, ROUTES[number % 10 == 0], body)
        assert status < 500, (status, answer, body)
        assert b"Traceback" not in answer
        if status != 200:
            assert json.loads(answer)["error"]["message"]
    assert [record for record in caplog.records if record.exc_info] == []
    assert (await gateway.http.get("/health")).status_code == 200
    after = {process.pid for process in gateway.processes()}
    assert len(after) <= max(len(before), gateway.app.state.gateway.settings.max_processes)
