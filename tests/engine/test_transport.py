"""The end of a process, as its transport sees it; tests/engine/test_pool_faults.py has the rest."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import uvloop
from claude_agent_sdk import CLIConnectionError, CLINotFoundError, ProcessError

from engine import transport
from engine.process_start import OUTPUT_BYTES
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
    assert [str(warning.message) for warning in warned] == []


def most_in_a_round(directory: Path, total: int) -> int:
    """The most bytes that are read in one round of the event loop, of a process that writes as fast
    as it can, until it has written that many."""
    rounds = [0]

    async def watch() -> None:
        cli = directory / "claude"
        cli.write_text(ANSWERS_AND_FLOODS)
        cli.chmod(0o755)
        process = transport.CliTransport([str(cli)], {"PATH": os.defpath}, directory)

        def count(message: dict[str, Any]) -> bool:
            rounds[-1] += len('{"type": "system"}\n')
            return bool(message["type"] == "system")

        process.consume = count
        await process.connect()
        rounds[:] = [0]
        read = 0
        while read < total:
            read += rounds[-1]
            rounds.append(0)
            await asyncio.sleep(0)
        await process.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(watch())
    return max(rounds)


async def test_a_process_that_writes_without_end_leaves_the_loop_to_others(tmp_path: Path) -> None:
    most = await asyncio.to_thread(most_in_a_round, tmp_path, 8_000_000)
    assert most < 5 * OUTPUT_BYTES  # it was twelve times as much


@pytest.mark.parametrize(
    ("mode", "error", "words"),
    [(None, CLINotFoundError, "not found"), (0o644, CLIConnectionError, "Permission denied")],
)
async def test_what_cannot_be_started_is_said(
    tmp_path: Path, mode: int | None, error: type[Exception], words: str
) -> None:
    cli = tmp_path / "claude"
    if mode is not None:
        cli.write_text("#!/bin/sh\n")
        cli.chmod(mode)
    process = transport.CliTransport([str(cli)], {"PATH": os.defpath}, tmp_path)
    with pytest.raises(error, match=words):
        await process.connect()
    await process.close()


async def test_a_process_that_ends_at_once_is_told_with_its_words(tmp_path: Path) -> None:
    cli = tmp_path / "claude"
    cli.write_text("#!/nowhere/sh\n")
    cli.chmod(0o755)
    process = transport.CliTransport([str(cli)], {"PATH": os.defpath}, tmp_path)
    with pytest.raises(ProcessError) as raised:
        await process.connect()
    assert raised.value.exit_code
    assert "cannot be started" in process.stderr_tail
    await process.close()


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
