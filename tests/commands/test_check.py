"""`python main.py check` against servers that work, and against ones that fail in some way."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from commands import check
from commands.probes import PROBES
from core.errors import StoreUnavailable
from demo import FakeAnthropic
from main import create_app
from tests.conftest import MakeGateway
from tests.support import harness
from tests.support.harness import Gateway, cli_environ, said

pytestmark = pytest.mark.wire

ROOT = Path(__file__).parents[2]
KEY = "sk-right"
EVERYTHING = check.Wanted()
NAMES = [probe.name for probe in PROBES]


@pytest.fixture(scope="module")
async def shared_keyed(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    settings: dict[str, Any] = {"api_key": KEY, "pool_warm": 0}
    home = tmp_path_factory.mktemp("home")
    async with harness.gateway_at(shared_upstream, home, **settings) as gateway:
        yield gateway


@pytest.fixture
def keyed(shared_keyed: Gateway, upstream: FakeAnthropic) -> Gateway:
    """One that requires a key, with nothing recorded yet."""
    return shared_keyed


async def checked(
    capsys: pytest.CaptureFixture[str],
    url: str,
    wanted: check.Wanted = EVERYTHING,
    key: str | None = None,
) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status, and what is told of each probe, by name."""
    wanted = replace(wanted, as_json=True)
    status = await asyncio.to_thread(check.main, wanted, url, {}, key)
    told = json.loads(capsys.readouterr().out)
    assert told["url"] == url
    assert told["ok"] is (status == 0)
    return status, {result["name"]: result for result in told["checks"]}


def failures(results: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, result in results.items() if result["outcome"] == "failed"]


class Broken:
    """The real app behind something that answers these requests itself, and badly."""

    def __init__(self, app: ASGIApp, **answers: Response) -> None:
        self.app = app
        self._answers = {name.replace("_", " /", 1): answer for name, answer in answers.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":  # the real app runs already
            await Starlette()(scope, receive, send)
            return
        request = f"{scope.get('method')} {scope.get('path')}"
        answers = (answer for start, answer in self._answers.items() if request.startswith(start))
        await next(answers, self.app)(scope, receive, send)


def serve(app: Any) -> AbstractAsyncContextManager[str]:
    """Any ASGI app, on a port of its own."""
    return harness.serve(app)


async def test_all_is_well_with_a_running_server(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await sessions_of_checks(gateway)
    status, results = await checked(capsys, gateway.url)
    assert (status, list(results), failures(results)) == (0, NAMES, [])
    assert [name for name in NAMES if results[name]["outcome"] == "skipped"] == ["wrong key"]
    assert "the first after " in results["stream"]["detail"]
    assert results["models"]["detail"].endswith("asking claude-haiku-5-5")
    assert len(gateway.upstream.requests) == 8
    assert await sessions_of_checks(gateway) == before


async def sessions_of_checks(gateway: Gateway) -> list[str]:
    listed = (await gateway.http.get("/v1/sessions", params={"limit": 100})).json()["data"]
    return [session["id"] for session in listed if session["id"].startswith("check-")]


async def test_the_model_is_shown_the_function_its_result_and_the_first_turn_of_the_session(
    keyed: Gateway,
) -> None:
    """At the address, of the model and with the key that go before those of the settings."""
    status = await asyncio.to_thread(
        check.main,
        check.Wanted(f"{keyed.url}/v1/", "sonnet"),
        "http://127.0.0.1:1",
        {"TEST_API_KEY": KEY},
        "sk-other",
    )
    assert (status, len(keyed.upstream.requests)) == (0, 8)
    *_, call, result, first, second, _, _ = keyed.upstream.requests
    assert [tool["name"] for tool in call.body["tools"]] == ["get_temperature"]
    assert said(result.messages[-1])[1][0]["type"] == "tool_result"
    assert said(second.messages[0]) == said(first.messages[0])
    assert {request.body["model"] for request in keyed.upstream.requests} == {"claude-sonnet-5-5"}


def run(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.defpath, "HOME": str(folder), **variables}
    command = [sys.executable, str(ROOT / "main.py"), "check", *arguments]
    return subprocess.run(
        command, env=environ, cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )


async def test_the_command_tells_a_line_of_each_with_the_key_of_the_settings(
    keyed: Gateway, tmp_path: Path
) -> None:
    """That a server with keys is seen to refuse a wrong one is among them."""
    (tmp_path / ".env").write_text(f"API_KEY={KEY}\nPORT={keyed.url.rpartition(':')[2]}\n")
    ended = await asyncio.to_thread(run, folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert [name for name in NAMES if any(f"  ok       {name} " in line for line in lines)] == NAMES
    assert "  10 ok, 0 failed, 0 skipped" in lines


@pytest.mark.parametrize("key", [None, "schlüssel"])
async def test_a_key_that_the_server_refuses_is_told_with_what_to_do(
    keyed: Gateway, capsys: pytest.CaptureFixture[str], key: str | None
) -> None:
    status, results = await checked(capsys, keyed.url, key=key)
    assert (status, failures(results)) == (1, ["models"])
    assert results["models"]["detail"].startswith("401 invalid_api_key: ")
    assert "TEST_API_KEY" in results["models"]["hint"]
    assert results["chat"]["detail"] == "needs models"


async def test_a_limit_is_told_with_what_to_do(
    make_gateway: MakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    async with make_gateway(rate_limit_enabled=True, rate_limit_chat_per_minute=1) as gateway:
        status, results = await checked(capsys, gateway.url)
    assert (status, failures(results)) == (1, ["stream", "tools", "sessions", "other APIs"])
    assert results["stream"]["detail"].startswith("429 too_many_requests: Rate limit exceeded.")
    assert "RATE_LIMIT_" in results["stream"]["hint"]


async def test_a_key_that_claude_refuses_is_told_with_what_to_do(
    upstream: FakeAnthropic, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {**cli_environ(upstream, tmp_path), "ANTHROPIC_API_KEY": "invalid"}
    async with serve(create_app(harness.test_settings(pool_warm=0), environ=environ)) as url:
        status, results = await checked(capsys, url)
    assert (status, failures(results)) == (1, ["chat"])
    assert "503 claude_auth_failed: " in results["chat"]["detail"]
    assert "ANTHROPIC_API_KEY" in results["chat"]["hint"]
    assert "Put a valid ANTHROPIC_API_KEY" in results["chat"]["detail"]
    assert results["tools"] == {
        "name": "tools",
        "outcome": "skipped",
        "ms": None,
        "detail": "needs chat",
        "hint": None,
    }


async def test_missing_credentials_are_told_with_what_to_do(
    upstream: FakeAnthropic, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = cli_environ(upstream, tmp_path)
    del environ["ANTHROPIC_API_KEY"]
    async with serve(create_app(harness.test_settings(pool_warm=0), environ=environ)) as url:
        status, results = await checked(capsys, url)
    assert (status, failures(results)) == (1, ["ready", "credentials", "chat"])
    assert results["ready"]["detail"].startswith("not ready: credentials: ")
    assert "python main.py login" in results["credentials"]["hint"]


HTML = Response("<html>Bad Gateway</html>", 502, media_type="text/html")
CUT = Response("data: [1", 200, media_type="text/event-stream")
NO_DATABASE = JSONResponse(StoreUnavailable("No database.").openai_body(), StoreUnavailable.status)
NOT_DELETED = Response(status_code=200)
FAULTS: list[list[tuple[str, Response, str, str]]] = [
    [
        ("GET_health/ready", HTML, "ready", "502 without a reason"),
        ("GET_v1/auth", HTML, "credentials", "502 without a reason"),
        ("GET_v1/sessions", NO_DATABASE, "sessions", "503 session_store_unavailable: No database."),
    ],
    [("GET_v1/models", Response("[]"), "models", "the answer is not of OpenAI's shape")],
    [("GET_v1/models", Response('{"data": []}'), "models", "the list is empty")],
    [("POST_v1/chat", CUT, "chat", "the answer is not of OpenAI's shape")],
    [("DELETE_v1/sessions", NOT_DELETED, "sessions", "is still there after it was deleted")],
]
"""The injected faults of one visit: request, answer, which check fails and the words of that."""


@pytest.mark.parametrize("faults", FAULTS)
async def test_what_fails_in_front_of_the_server_is_told(
    gateway: Gateway,
    capsys: pytest.CaptureFixture[str],
    faults: list[tuple[str, Response, str, str]],
) -> None:
    answers = {request: answer for request, answer, _, _ in faults}
    async with serve(Broken(gateway.app, **answers)) as url:
        status, results = await checked(capsys, url)
    assert (status, failures(results)) == (1, [name for _, _, name, _ in faults])
    for _, _, name, words in faults:
        assert words in results[name]["detail"]
        assert results[name]["hint"]


async def test_nothing_else_is_tried_where_nothing_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    status, results = await checked(capsys, f"http://127.0.0.1:{port}")
    assert (status, failures(results)) == (2, ["reachable"])
    assert {result["outcome"] for result in results.values()} == {"failed", "skipped"}
    assert "python main.py" in results["reachable"]["hint"]


async def test_the_check_ends_although_the_server_never_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        status, results = await checked(capsys, url, check.Wanted(seconds=0.2))
    assert (status, failures(results)) == (2, ["reachable"])


OTHERS = [
    (PlainTextResponse("hello"), "something else answers there", "main.py"),
    (RedirectResponse("https://chat.example.com/health"), "elsewhere", "chat.example.com"),
]


@pytest.mark.parametrize(("answer", "seen", "hint"), OTHERS)
async def test_another_server_is_told_from_this_one(
    gateway: Gateway,
    capsys: pytest.CaptureFixture[str],
    answer: Response,
    seen: str,
    hint: str,
) -> None:
    async with serve(Broken(gateway.app, GET_health=answer)) as url:
        status, results = await checked(capsys, url)
    assert (status, failures(results)) == (2, ["reachable"])
    assert seen in results["reachable"]["detail"]
    assert hint in results["reachable"]["hint"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--url", "chat"), "--url must be an address such as http://127.0.0.1:8000.\n"),
        (("--url", "http://h:1x"), "--url must be an address such as http://127.0.0.1:8000.\n"),
        (("--timeout", "0"), "'--timeout'"),
        (("surplus",), "surplus"),
    ],
)
def test_a_wrong_argument_is_reported(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    ended = run(*arguments, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr
