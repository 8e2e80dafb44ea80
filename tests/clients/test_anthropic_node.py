"""`@anthropic-ai/sdk` for Node, unchanged: `make clients` installs it, else this is skipped."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.harness import Gateway

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "clients"
SECONDS = 60


@pytest.fixture
def cache() -> Path:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    if not (CACHE / "node_modules" / "@anthropic-ai" / "sdk").is_dir():
        pytest.skip("the clients from npm are not installed: run `make clients`")
    return CACHE


async def test_the_official_client_for_node(gateway: Gateway, cache: Path) -> None:
    ended = await asyncio.to_thread(
        subprocess.run,
        ["node", "--input-type=module", "-"],  # from stdin, imports are looked up from here
        input=(HERE / "anthropic_node.mjs").read_text(),
        cwd=cache,
        env={
            "PATH": os.environ["PATH"],
            "ANTHROPIC_API_KEY": "unused",
            "ANTHROPIC_BASE_URL": gateway.url,
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert ended.returncode == 0, ended.stderr[-2_000:]
    told = json.loads(ended.stdout)
    assert told["text"] == 'Demo model: you said "hi".'
    assert told["requestId"].startswith("req_")
    assert told["kinds"] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert told["streamed"] == ["text", "tool_use", "tool_use"]
    assert told["counted"] == pytest.approx(8, abs=2)
    assert len(told["models"]) > 3
    assert told["refused"] == ["BadRequestError", 400, "invalid_request_error"]
    assert told["overloaded"][1:] == [529, "overloaded_error"]
    assert told["broken"] is not None
