"""Whatever goes wrong has its status, type, code and param, before the first event and after."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import claude_agent_sdk
import pytest
from claude_agent_sdk import ClaudeSDKError

from core.errors import GatewayError
from engine.failures import Failure, api_error, sdk_error
from tests.conftest import MakeGateway
from tests.support.fake_cli.fake_claude import installed
from tests.support.harness import Gateway
from tests.support.wire import URL, asking, chunks, streamed_text, streaming, until

RETRY_LATER = {"retry-after"}
DO_NOT_RETRY = {"x-should-retry"}
UPSTREAM = [
    # upstream's status -> ours, type, code, param, headers, words
    (400, 400, "invalid_request_error", "invalid_value", None, set(), "Demo model: bad request."),
    (
        401,
        503,
        "server_error",
        "claude_auth_failed",
        None,
        DO_NOT_RETRY,
        "ANTHROPIC_API_KEY into .env",
    ),
    (
        402,
        429,
        "insufficient_quota",
        "insufficient_quota",
        None,
        DO_NOT_RETRY,
        "Your credit balance is too low to access the Anthropic API.",
    ),
    (
        403,
        503,
        "server_error",
        "claude_auth_failed",
        None,
        DO_NOT_RETRY,
        "ANTHROPIC_API_KEY into .env",
    ),
    (
        404,
        404,
        "invalid_request_error",
        "model_not_found",
        "model",
        set(),
        "model: claude-sonnet-5",
    ),
    (413, 413, "invalid_request_error", "request_too_large", None, set(), "exceeds the maximum"),
    (429, 429, "rate_limit_exceeded", "rate_limit_exceeded", None, RETRY_LATER, "exceed the rate"),
    (500, 502, "server_error", "upstream_error", None, set(), "Internal server error"),
    (503, 503, "server_error", "overloaded", None, RETRY_LATER, "Service unavailable"),
    (529, 503, "server_error", "overloaded", None, RETRY_LATER, "Overloaded"),
]


def error_of(answer: Any) -> tuple[int, str, str, str | None]:
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    error = body["error"]
    return answer.status_code, error["type"], error["code"], error["param"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("theirs", "status", "type_", "code", "param", "headers", "words"), UPSTREAM
)
async def test_a_failure_of_the_api_has_its_own_status(
    gateway: Gateway,
    theirs: int,
    status: int,
    type_: str,
    code: str,
    param: str | None,
    headers: set[str],
    words: str,
    stream: bool,
) -> None:
    answer = await gateway.http.post(URL, json=asking(f"!demo error={theirs}", stream=stream))
    assert error_of(answer) == (status, type_, code, param)
    assert RETRY_LATER | DO_NOT_RETRY & set(answer.headers) >= headers
    assert {name for name in RETRY_LATER | DO_NOT_RETRY if name in answer.headers} == headers
    message = answer.json()["error"]["message"]
    assert words in message
    assert "127.0.0.1" not in message
    assert "API Error" not in message


async def test_the_time_that_the_api_asks_for_is_passed_on(make_gateway: MakeGateway) -> None:
    async with make_gateway(upstream_max_retries=1) as gateway:
        body = asking("!demo error=429 retry_after=1")
        answer = await gateway.http.post(URL, json=body)
        assert len(gateway.upstream.requests) == 2
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) < 5


async def test_a_prompt_over_the_window_is_told_as_openai_does(gateway: Gateway) -> None:
    asked = '!demo error=400 message="prompt is too long: 250000 tokens > 200000 maximum"'
    answer = await gateway.http.post(URL, json=asking(asked))
    reported = (400, "invalid_request_error", "context_length_exceeded", "messages")
    assert error_of(answer) == reported


def test_what_the_cli_adds_for_its_terminal_is_left_out() -> None:
    texts = [
        "API Error: 500 Oops. If it persists, check your inference gateway (10.1.2.3:8443).",
        "API Error: Oops.",
        'API Error: 500 {"type":"error","error":{"type":"api_error","message":"Oops."}}',
        "Failed to authenticate. API Error: 403 Oops.",
        "Oops. Accumulated images and attachments in the conversation pushed it over the limit.",
    ]
    assert {api_error(Failure(500, "server_error", text)).message for text in texts} == {"Oops."}
    assert api_error(Failure(400, None, 'no "{x}" here')).message == 'no "{x}" here'


def test_no_login_is_told_without_the_clis_own_advice() -> None:
    error = api_error(Failure(None, "authentication_failed", "Not logged in · Please run /login"))
    assert (error.status, error.code) == (503, "claude_auth_failed")
    assert "/login" not in error.message
    assert error.message == "Claude Code is not logged in."


def sdk_error_classes(base: type[ClaudeSDKError] = ClaudeSDKError) -> set[type[ClaudeSDKError]]:
    found = {base}
    for derived in base.__subclasses__():
        found |= sdk_error_classes(derived)
    return found


MADE = {
    "ClaudeSDKError": ("x",),
    "CLIConnectionError": ("x",),
    "CLINotFoundError": ("x", "/secret/path"),
    "ProcessError": ("x", 3, "secret"),
    "ResultError": ("x", {"subtype": "success"}, 1),
    "CLIJSONDecodeError": ("secret", ValueError("secret")),
    "MessageParseError": ("secret", {"secret": 1}),
}


@pytest.mark.parametrize("kind", sorted(sdk_error_classes(), key=str))
def test_every_error_of_the_sdk_is_translated(kind: type[ClaudeSDKError]) -> None:
    """A new class upstream has no entry in MADE: it must be looked at, and mapped."""
    error = sdk_error(kind(*MADE[kind.__name__]))
    assert isinstance(error, GatewayError)
    assert error.status == 502
    assert "secret" not in error.message
    if kind is not ClaudeSDKError:
        assert error.message != sdk_error(ClaudeSDKError("x")).message


def test_the_sdk_exports_no_error_outside_its_tree() -> None:
    exported = [getattr(claude_agent_sdk, name) for name in claude_agent_sdk.__all__]
    kinds = {kind for kind in exported if isinstance(kind, type) and issubclass(kind, Exception)}
    errors = {kind for kind in kinds if not issubclass(kind, Warning)}
    assert errors
    assert errors <= sdk_error_classes()


HI = {"role": "user", "content": "hi"}
BODIES: list[tuple[str, Any, str | None, str]] = [
    ("no messages", {}, "messages", "missing_required_parameter"),
    ("empty messages", {"messages": []}, "messages", "invalid_value"),
    ("messages of the wrong type", {"messages": "hi"}, "messages", "invalid_type"),
    ("unknown role", {"messages": [{**HI, "role": "robot"}]}, "messages[0].role", "invalid_value"),
    ("no role", {"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
    (
        "number as content",
        {"messages": [{**HI, "content": 5}]},
        "messages[0].content",
        "invalid_type",
    ),
    (
        "word as temperature",
        {"messages": [HI], "temperature": "warm"},
        "temperature",
        "invalid_type",
    ),
    ("temperature over 2", {"messages": [HI], "temperature": 3}, "temperature", "invalid_value"),
    ("max_tokens of 0", {"messages": [HI], "max_tokens": 0}, "max_tokens", "invalid_value"),
    ("word as stream", {"messages": [HI], "stream": "maybe"}, "stream", "invalid_type"),
    ("a list", [], None, "invalid_type"),
    ("a word", "hi", None, "invalid_type"),
]


@pytest.mark.parametrize(
    ("body", "param", "code"), [case[1:] for case in BODIES], ids=[case[0] for case in BODIES]
)
async def test_a_body_that_does_not_fit_is_told_where(
    gateway: Gateway, body: Any, param: str | None, code: str
) -> None:
    answer = await gateway.http.post(URL, json=body)
    assert error_of(answer) == (400, "invalid_request_error", code, param)
    assert not gateway.upstream.requests


@pytest.mark.parametrize("content", [b"{", b"", b'{"messages": [}', b"\xff\xfe{"])
async def test_broken_json_is_a_400(gateway: Gateway, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = await gateway.http.post(URL, content=content, headers=headers)
    status, type_, code, param = error_of(answer)
    assert (status, type_, param) == (400, "invalid_request_error", None)
    assert code in ("invalid_json", "missing_required_parameter", "invalid_request")


async def test_an_unknown_model_is_a_404(gateway: Gateway) -> None:
    answer = await gateway.http.post(URL, json={"model": "llama-3", "messages": [HI]})
    assert error_of(answer) == (404, "invalid_request_error", "model_not_found", "model")
    assert "llama-3" in answer.json()["error"]["message"]


async def test_unknown_routes_and_methods(gateway: Gateway) -> None:
    missing = await gateway.http.get("/v1/nowhere")
    assert error_of(missing) == (404, "invalid_request_error", "unknown_url", None)
    wrong = await gateway.http.get(URL)
    assert error_of(wrong) == (405, "invalid_request_error", "method_not_allowed", None)
    assert wrong.headers["allow"] == "POST"


async def test_a_process_killed_in_a_stream_ends_it_with_an_error(gateway: Gateway) -> None:
    raw = ""
    async with streaming(gateway.http, "!demo tokens=9 delay_after=3:60") as lines:
        async for line in lines:
            raw += line + "\n"
            if "word3" in line:
                [busy] = [
                    w for w in gateway.engine.pool.snapshot()["workers"] if w["state"] == "busy"
                ]
                os.kill(busy["pid"], signal.SIGKILL)
    assert streamed_text(raw) == "word1 word2 word3 "
    assert chunks(raw)[-1]["error"]["code"] == "upstream_error"
    again = await gateway.http.post(URL, json=asking("hi"))
    assert again.status_code == 200


async def test_processes_killed_while_unused_are_not_noticed(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(max_processes=2, pool_warm=2) as gateway:
        await gateway.http.post(URL, json=asking("hi"))
        pool = gateway.engine.pool
        await until(lambda: len(pool.in_state("idle", "blank")) == 2)
        for worker in pool.snapshot()["workers"]:
            os.kill(worker["pid"], signal.SIGKILL)
        answer = await gateway.http.post(URL, json=asking("hi"))
    assert answer.status_code == 200, answer.text


async def test_no_answer_within_the_limit_is_a_504_and_in_a_stream_an_error_frame(
    make_gateway: MakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    asked = [
        asking("!demo hang"),
        asking("!demo hang", stream=True),
        asking("!demo tokens=9 delay_after=2:60", stream=True),
    ]
    async with make_gateway(max_timeout=2, max_processes=3) as gateway:
        first = [gateway.http.post(URL, json=asking("!demo first_delay=0.1")) for _ in asked]
        await asyncio.gather(*first)  # so that no time goes into the start of their processes
        gateway.upstream.clear()
        *silent, cut = await asyncio.gather(*(gateway.http.post(URL, json=body) for body in asked))
        await gateway.upstream.wait_until_idle()
        outcomes = [request.outcome for request in gateway.upstream.requests]
    for answer in silent:
        assert error_of(answer) == (504, "server_error", "timeout", None)
        assert "within 2 seconds" in answer.json()["error"]["message"]
    assert streamed_text(cut.text) == "word1 word2 "
    assert chunks(cut.text)[-1]["error"]["code"] == "timeout"
    assert outcomes == ["disconnected"] * 3
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_missing_binary_is_told(make_gateway: MakeGateway, tmp_path: Path) -> None:
    async with make_gateway(claude_cli_path=tmp_path / "nothing") as gateway:
        for stream in (False, True):
            answer = await gateway.http.post(URL, json=asking("hi", stream=stream))
            assert error_of(answer) == (502, "server_error", "cli_not_found", None)
            assert str(tmp_path) not in answer.text
            assert "CLAUDE_CLI_PATH" in answer.text
        assert (await gateway.http.get("/health")).status_code == 200


FAKES = [
    # mode -> status, code
    ("hang_in_turn", 504, "timeout"),
    ("hang_in_the_middle", 504, "timeout"),
    ("crash_at_start", 502, "upstream_error"),
    ("crash_in_mid_line", 502, "upstream_error"),
    ("ends_silently", 502, "upstream_error"),
    ("broken_message", 502, "upstream_error"),
]


@pytest.mark.parametrize(("mode", "status", "code"), FAKES)
async def test_a_cli_that_misbehaves_is_an_error(
    make_gateway: MakeGateway, tmp_path: Path, mode: str, status: int, code: str
) -> None:
    cli = installed(tmp_path, mode)
    async with make_gateway(claude_cli_path=cli, max_timeout=1) as gateway:
        answer = await gateway.http.post(URL, json=asking("hi"))
        assert error_of(answer) == (status, "server_error", code, None)


async def test_a_cli_that_never_gets_ready_is_an_error(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    cli = installed(tmp_path, "hang_at_start")
    async with make_gateway(claude_cli_path=cli, max_timeout=1, queue_timeout=1) as gateway:
        answer = await gateway.http.post(URL, json=asking("hi"))
    assert error_of(answer)[0] in (503, 504)


@pytest.mark.parametrize(
    ("mode", "code"), [("crash_in_mid_line", "upstream_error"), ("hang_in_the_middle", "timeout")]
)
async def test_a_cli_that_fails_in_a_stream_ends_it_with_an_error(
    make_gateway: MakeGateway, tmp_path: Path, mode: str, code: str
) -> None:
    cli = installed(tmp_path, mode)
    async with make_gateway(claude_cli_path=cli, max_timeout=1) as gateway:
        raw = (await gateway.http.post(URL, json=asking("hi", stream=True))).text
    assert streamed_text(raw) == "half"
    assert chunks(raw)[-1]["error"]["code"] == code


@pytest.mark.parametrize("mode", ["answer", "garbage", "slow_start"])
async def test_a_cli_that_is_slow_or_chatty_still_answers(
    make_gateway: MakeGateway, tmp_path: Path, mode: str
) -> None:
    cli = installed(tmp_path, mode)
    async with make_gateway(claude_cli_path=cli) as gateway:
        answer = await gateway.http.post(URL, json=asking("hi"))
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.text)["choices"][0]["message"]["content"] == "fake"
