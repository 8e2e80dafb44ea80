"""The end of a process, as its transport sees it; tests/engine/test_pool_faults.py has the rest."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from engine import transport

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
