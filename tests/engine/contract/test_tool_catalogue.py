"""The catalogue against the real CLI: it offers these tools, with these inputs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from config.credentials import find_cli
from config.settings import Settings
from core.builtin_tools import BY_NAME
from demo import FakeAnthropic
from tests.support.harness import cli_environ

PROSE = ("description", "$schema")


async def test_the_cli_offers_just_these_tools_with_these_inputs(
    upstream: FakeAnthropic, tmp_path: Path
) -> None:
    cli = find_cli(Settings.model_construct())
    assert cli is not None
    process = await asyncio.create_subprocess_exec(
        cli,
        "-p",
        "hi",
        f"--tools={','.join(BY_NAME)}",
        "--permission-mode=dontAsk",
        env={**cli_environ(upstream, tmp_path), "ENABLE_TOOL_SEARCH": "false"},
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    received = upstream.requests[0].body["tools"]
    shapes = {tool["name"]: shape(tool["input_schema"]) for tool in received}
    assert shapes == {tool.name: tool.input_schema for tool in BY_NAME.values()}


def shape(schema: Any, *, of_properties: bool = False) -> Any:
    """A schema without its prose; a property may be called `description`."""
    if isinstance(schema, list):
        return [shape(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: shape(value, of_properties=key == "properties" and not of_properties)
        for key, value in schema.items()
        if of_properties or key not in PROSE
    }
