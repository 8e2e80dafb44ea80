"""The real Claude Code CLI, as it is by default, takes the fake upstream for its provider. Each
form of it: tests/engine/test_providers.py."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    Message,
    ResultMessage,
    create_sdk_mcp_server,
    tool,
)

from demo import FakeAnthropic

pytestmark = [pytest.mark.wire, pytest.mark.timeout(30)]


@pytest.fixture
async def upstream(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeAnthropic]:
    # the SDK merges `env` over the process's own environment
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC_", "CLAUDE", "AWS_", "GOOGLE_", "VERTEX_")):
            monkeypatch.delenv(name)
    async with FakeAnthropic() as fake_upstream:
        yield fake_upstream


@asynccontextmanager
async def client(
    upstream: FakeAnthropic, home: Path, **more: Any
) -> AsyncIterator[ClaudeSDKClient]:
    env = {"HOME": str(home), "CLAUDE_CONFIG_DIR": str(home / "config")}
    options = ClaudeAgentOptions(
        env={**upstream.environment("anthropic"), **env, "CLAUDE_CODE_MAX_RETRIES": "0"},
        cwd=home,
        setting_sources=[],
        strict_mcp_config=True,
        verbatim_prompts=True,
        system_prompt="Be brief.",
        **{"tools": [], **more},
    )
    async with ClaudeSDKClient(options) as made:
        yield made


async def asked(client: ClaudeSDKClient, prompt: str) -> list[Message]:
    await client.query(prompt)
    return [message async for message in client.receive_response()]


def result(messages: list[Message]) -> ResultMessage:
    assert isinstance(messages[-1], ResultMessage)
    return messages[-1]


async def test_the_default_configuration_passes_the_validation(
    upstream: FakeAnthropic, tmp_path: Path
) -> None:
    async with client(upstream, tmp_path, tools=None) as claude:
        messages = await asked(claude, "Hello")
    assert result(messages).result == 'Demo model: you said "Hello".'
    assert len(upstream.requests[-1].tools) > 5


async def test_a_scripted_agent_loop_runs_the_tools(
    upstream: FakeAnthropic, tmp_path: Path
) -> None:
    @tool("add", "Adds", {"a": int, "b": int})
    async def add(numbers: dict[str, Any]) -> dict[str, Any]:
        return {"content": [{"type": "text", "text": str(numbers["a"] + numbers["b"])}]}

    call = {"name": "mcp__x__add", "input": {"a": 2, "b": 3}}
    servers = {"x": create_sdk_mcp_server("x", tools=[add])}
    rules: dict[str, Any] = {"allowed_tools": ["mcp__x__add"], "extra_args": {"bare": None}}
    async with client(upstream, tmp_path, mcp_servers=servers, **rules) as claude:
        messages = await asked(claude, f"!demo steps={json.dumps([['mcp__x__add', call], [call]])}")
    assert result(messages).result == "Demo model: tool results: mcp__x__add: 5"
    assert len(upstream.requests) == 3
