"""A Claude Code that no contract test ran on is tried by the server itself, with the real CLI."""

from __future__ import annotations

import logging
from typing import Any, get_args

import pytest

from commands import self_check
from commands.self_check import check_cli
from core.conversation import JsonObject
from demo.server import Form
from engine import control
from tests.conftest import MakeGateway
from tests.support.harness import Gateway
from tests.support.wire import URL, asking, until

pytestmark = [pytest.mark.wire, pytest.mark.timeout(120)]

NEW = frozenset({"0.0.1"})
"""So the CLI that is here is none that was tested."""


async def asked_twice(gateway: Gateway) -> int:
    """How many processes two conversations took."""
    gateway.upstream.clear()
    for text in ("one", "two"):
        assert (await gateway.http.post(URL, json=asking(text))).status_code == 200
    requests = gateway.upstream.requests
    return len({request.headers["x-claude-code-session-id"] for request in requests})


async def check(gateway: Gateway) -> None:
    state = gateway.app.state.gateway
    await check_cli(state.engine, state.settings, state.credentials)


@pytest.mark.parametrize("form", get_args(Form))
async def test_a_new_version_that_does_what_it_should_is_trusted(
    make_gateway: MakeGateway,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("claude_cli.CONTRACT_TESTED_VERSIONS", NEW)
    caplog.set_level(logging.INFO)
    async with make_gateway(form=form, max_processes=2) as gateway:
        await until(lambda: len(gateway.engine.trusted) == 2, seconds=60)
        assert await asked_twice(gateway) == 1
        assert len(gateway.upstream.requests) == 2  # none of the check's own
    assert "passed the start-up check: its processes are reused." in caplog.text


async def test_until_then_a_process_serves_one_conversation(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_cli.CONTRACT_TESTED_VERSIONS", NEW)
    monkeypatch.setattr(self_check, "TRIALS", {})
    monkeypatch.setattr(self_check, "SECONDS", 0.0)
    async with make_gateway(max_processes=2) as gateway:
        assert await asked_twice(gateway) == 2
        assert gateway.engine.trusted == NEW


def _forgetful(change: Any) -> Any:
    """What writes the body of a request, and does this to it before."""
    written = control.body_text

    def body_text(body: JsonObject) -> str:
        changed: JsonObject = change(body)
        return written(changed)

    return body_text


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda body: {**body, "system": []}, "a question: another system"),
        (lambda body: {**body, "top_p": 0.5}, "a question: top_p added"),
        (lambda body: {**body, "messages": [*body["messages"], *body["messages"]]}, "another mess"),
    ],
)
async def test_one_that_sends_another_body_is_not_trusted(
    make_gateway: MakeGateway,
    change: Any,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with make_gateway(max_processes=2) as gateway:
        gateway.engine.trusted.clear()
        monkeypatch.setattr(control, "body_text", _forgetful(change))
        await check(gateway)
        assert gateway.engine.trusted == set()
    assert "each process serves one conversation" in caplog.text
    assert fault in caplog.text


async def test_one_that_asks_twice_is_not_trusted(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without its bar the CLI goes on by itself after a limit."""
    async with make_gateway(max_processes=2) as gateway:
        gateway.engine.trusted.clear()
        monkeypatch.setattr("engine.worker.PROMPT_LIMIT", "1000000000")
        await check(gateway)
        assert gateway.engine.trusted == set()
    assert "requests)" in caplog.text


async def test_without_a_cli_there_is_nothing_to_check(
    make_gateway: MakeGateway, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_gateway(claude_cli_path=tmp_path / "none") as gateway:
        gateway.engine.trusted.clear()
        await check(gateway)
    assert "Claude Code" not in caplog.text
