"""Prompts, answers and keys: in no log line, error or header. conftest.py watches the whole run."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

from config.logs import JsonLine, is_loggable
from tests.conftest import MakeGateway
from tests.support.harness import Gateway
from tests.support.logged import Watch

CHAT = "/v1/chat/completions"
KEY = "sk-m4rker-right-key"
RIGHT = {"authorization": f"Bearer {KEY}"}
WRONG = {"authorization": "Bearer sk-m4rker-wrong-key"}

TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "m4rker-tool",
        "parameters": {"type": "object", "properties": {"a": {"const": "m4rker-schema"}}},
    },
}
SYSTEM = {"role": "system", "content": "m4rker-system"}


def asking(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [SYSTEM, {"role": "user", "content": text}], **fields}


ANSWERED: list[dict[str, Any]] = [
    asking("m4rker-prompt"),
    asking("m4rker-prompt", stream=True),
    asking('!demo call=look args={"a": "m4rker-args"}', tools=[TOOL]),
    asking("m4rker-prompt", user="m4rker-user", metadata={"a": "m4rker-metadata"}),
    asking("m4rker-prompt", **{"m4rker-field": 1}),
]
FAILING: list[tuple[Any, dict[str, str]]] = [
    (asking("m4rker-prompt"), WRONG),
    (asking("m4rker-prompt"), {}),
    (b'{"messages": ["m4rker-prompt", ]}', RIGHT),
    (b'"m4rker-prompt" \xff', RIGHT),
    ({"messages": [{"role": "user", "content": {"m4rker-prompt": 1}}]}, RIGHT),
    ({"messages": [{"role": "m4rker-role", "content": "m4rker-prompt"}]}, RIGHT),
    (asking("m4rker-prompt", temperature="m4rker-temperature"), RIGHT),
    (asking("m4rker-prompt", tools=["m4rker-tool"]), RIGHT),
    (asking("m4rker !demo error=500"), RIGHT),
    (asking("m4rker !demo error=429"), RIGHT),
    (asking("m4rker\n!demo cut=1"), RIGHT),
    (asking("m4rker\n!demo error_midstream=overloaded_error error_after=1", stream=True), RIGHT),
]
ALLOWED_IN_ERRORS = ("m4rker-role",)
"""What an error must name, so that its caller finds it: a value that stands for a kind."""


def loggers_speak() -> None:
    """Whatever level our loggers, uvicorn's or the SDK's were given, they tell all."""
    for name in logging.root.manager.loggerDict:
        logging.getLogger(name).setLevel(logging.NOTSET)


async def sent(gateway: Gateway, body: Any, headers: dict[str, str]) -> httpx.Response:
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    kind = {"content-type": "application/json"}
    return await gateway.http.post(CHAT, **content, headers={**kind, **headers})


async def test_nothing_private_is_logged_or_told_to_others(
    make_gateway: MakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    loggers_speak()
    caplog.set_level(logging.DEBUG)
    async with make_gateway(api_key=KEY) as gateway:
        for body in ANSWERED:
            answer = await sent(gateway, body, RIGHT)
            assert answer.status_code == 200, answer.text
            assert "m4rker" in answer.text or "tool" in str(body)
            harmless_headers(answer)
        for body, headers in FAILING:
            answer = await sent(gateway, body, headers)
            harmless_headers(answer)
            if not answer.is_success:
                harmless_error(answer.text)
        await gateway.http.get("/v1/models?api_key=m4rker-query", headers=RIGHT)
        await gateway.http.get("/v1/models", headers={"x-api-key": KEY, "cookie": "m4rker=1"})
        harmless_error((await gateway.http.get("/v1/auth/status", headers=RIGHT)).text)
    written = [record for record in caplog.records if is_loggable(record)]
    assert len(written) > len(ANSWERED) + len(FAILING)
    leaks = [line for line in map(JsonLine().format, written) if "m4rker" in line]
    assert leaks == []


def harmless_headers(answer: httpx.Response) -> None:
    """A field's name is told where it had no effect; nothing else of a request is."""
    reported = {name: value for name, value in answer.headers.items() if "ignored" not in name}
    assert "m4rker" not in str(reported)


def harmless_error(text: str) -> None:
    for allowed in ALLOWED_IN_ERRORS:
        text = text.replace(allowed, "")
    assert "m4rker" not in text


def test_the_watch_over_the_whole_run_sees_what_is_logged(log_of_all_tests: Watch) -> None:
    lines, leaks = log_of_all_tests.lines, list(log_of_all_tests.leaks)
    logging.getLogger("elsewhere").warning("%s", "!demo tokens=1")
    assert log_of_all_tests.lines == lines + 1
    assert len(log_of_all_tests.leaks) == len(leaks) + 1
    log_of_all_tests.leaks[:] = leaks  # this one was meant
