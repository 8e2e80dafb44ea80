"""The end of a process, as its transport sees it; tests/engine/test_pool_faults.py has the rest."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from pathlib import Path

import pytest

from engine import transport
from tests.conftest import MakeGateway

pytestmark = pytest.mark.wire

ANSWERS_AND_FLOODS = """#!/bin/sh
read -r line
echo '{"type": "control_response"}'
exec yes '{"type": "system"}'
"""


async def test_a_process_that_writes_without_end_is_reaped_at_once(tmp_path: Path) -> None:
    cli = tmp_path / "claude"
    cli.write_text(ANSWERS_AND_FLOODS)
    cli.chmod(0o755)
    for _ in range(10):
        process = transport.CliTransport([str(cli)], {"PATH": os.defpath}, tmp_path)
        await process.connect()
        await asyncio.sleep(0.05)
        async with asyncio.timeout(transport.REAP_SECONDS - 1):
            await process.close()
        assert not process.is_ready()


async def test_a_close_that_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    cli = tmp_path / "claude"
    cli.write_text(ANSWERS_AND_FLOODS)
    cli.chmod(0o755)
    process = transport.CliTransport([str(cli)], {"PATH": os.defpath}, tmp_path)
    await process.connect()
    closing = asyncio.create_task(process.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})
    assert closing.cancelled()
    await asyncio.sleep(0.1)  # the pipes' own ends
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        del process, closing
        gc.collect()
    assert [str(warning.message) for warning in warned if "transport" in str(warning.message)] == []


async def test_a_shutdown_that_is_cancelled_ends_every_process(make_gateway: MakeGateway) -> None:
    async with make_gateway() as gateway:
        await gateway.client.chat.completions.create(
            model="sonnet", messages=[{"role": "user", "content": "Hello"}]
        )
        pool = gateway.engine.pool
        pids = {slot.worker.describe()["pid"] for slot in pool.in_state("blank", "idle")}
        assert pids
        leaving = asyncio.create_task(pool.__aexit__())
        await asyncio.sleep(0)
        while not leaving.done():
            leaving.cancel()
            await asyncio.sleep(0.001)
        assert leaving.cancelled()
        assert pool.processes == 0
        assert pids.isdisjoint(process.pid for process in gateway.processes())
