"""Nothing of a turn passes before the CLI has confirmed its settings: without that the answer may
be to the request before. A scripted CLI, as the real one does not do this on demand."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.conftest import MakeGateway
from tests.support.fake_cli.fake_claude import installed
from tests.support.wire import URL, asking, until


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", ["refuses_settings", "never_confirms"])
async def test_a_turn_whose_settings_were_not_confirmed_fails_and_its_process_ends(
    make_gateway: MakeGateway, tmp_path: Path, mode: str, stream: bool
) -> None:
    async with make_gateway(claude_cli_path=installed(tmp_path, mode), max_processes=1) as gateway:
        answer = await gateway.http.post(URL, json=asking("hi", stream=stream))
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (502, "upstream_error")
        assert "settings" in error["message"]
        assert "fake" not in answer.text
        pool = gateway.engine.pool
        await until(lambda: not pool.in_state("busy", "closing"))
        assert (pool.counts["retired"], pool.in_state("idle")) == (1, [])


async def test_the_same_process_answers_where_they_are_confirmed(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    cli = installed(tmp_path, "answer")
    async with make_gateway(claude_cli_path=cli, max_processes=1) as gateway:
        for _ in range(2):
            assert (await gateway.http.post(URL, json=asking("hi"))).status_code == 200
        [slot] = gateway.engine.pool.in_state("idle")
        assert slot.uses == 2
        assert psutil.pid_exists(slot.worker.describe()["pid"])
