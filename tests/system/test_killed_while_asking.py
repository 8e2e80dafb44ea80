"""A server that is killed while an agent waits for a person: nothing runs, nothing is left."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.engine.test_builtin_tools import bash, script
from tests.support.wire import URL, asking, until
from tests.system.test_shutdown import running

pytestmark = pytest.mark.wire


async def test_a_killed_server_leaves_no_agent_that_goes_on(tmp_path: Path) -> None:
    work, agents = tmp_path / "work", tmp_path / "agents"
    work.mkdir()
    agents.mkdir()
    front = f"description: Asks\nask: Bash\nworkspace: {work}"
    (agents / "asking.md").write_text(f"---\n{front}\n---\n")
    body = {**asking(script(bash("touch made.txt"))), "model": "asking"}
    async with running(tmp_path, ALLOWED_TOOLS="Bash", SANDBOX="off") as server:
        asked = asyncio.create_task(server.http.post(URL, json=body))
        async with asyncio.timeout(20):
            while not (await server.http.get("/v1/approvals")).json()["data"]:  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.02)
        left = server.processes()
        assert left
        server.process.kill()
        await server.process.wait()
        with suppress(httpx.TransportError):
            await asked
        await until(lambda: not any(process.is_running() for process in left))
        assert not (work / "made.txt").exists()
