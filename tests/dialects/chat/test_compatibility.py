"""The table of fields, the pages that show it, and the report on a single request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from dialects.chat.fields import FIELDS, MESSAGE_FIELDS, TABLE
from models import ChatRequest
from tests.support.harness import Gateway, png

PAGE = Path(__file__).parents[3] / "docs" / "openai-compatibility.md"
NAMES = [row.name for row in FIELDS]


def test_the_page_shows_the_table() -> None:
    shown = PAGE.read_text().split("<!-- fields:begin -->\n")[1].split("\n<!-- fields:end -->")[0]
    assert shown == TABLE.markdown(), "run: python scripts/compatibility.py"


def test_every_field_of_the_wire_model_has_a_row() -> None:
    assert set(ChatRequest.model_fields) <= set(NAMES)


def test_every_field_that_the_official_client_can_send_has_a_row() -> None:
    sent = set(CompletionCreateParamsBase.__annotations__) | {"stream"}
    assert sent - set(NAMES) == set()


def test_rows_are_unique_sentences() -> None:
    rows = [*FIELDS, *MESSAGE_FIELDS]
    assert len({row.name for row in rows}) == len(rows)
    assert [row.name for row in rows if not row.why.endswith(".") or "|" in row.why] == []


async def test_the_table_is_served(gateway: Gateway) -> None:
    answer = await gateway.http.get("/v1/compatibility")
    table = answer.json()
    body_rows = [row for row in table["data"] if row["place"] == "body"]
    assert [row["name"] for row in body_rows] == [*NAMES, "any other field"]
    assert {row["treatment"] for row in table["data"]} == set(table["treatments"])


async def test_a_dialect_that_is_not_there_is_refused_by_name(gateway: Gateway) -> None:
    for answer in (
        await gateway.http.get("/v1/compatibility?dialect=telegraph"),
        await gateway.http.post("/v1/debug/request?dialect=telegraph", json={}),
    ):
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "dialect"
        assert "one of chat" in answer.json()["error"]["message"]
    assert (await gateway.http.get("/v1/compatibility?dialect=chat")).status_code == 200


async def report_on(gateway: Gateway, body: dict[str, Any]) -> dict[str, Any]:
    answer = await gateway.http.post("/v1/debug/request", json=body)
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    assert not gateway.upstream.requests
    return report


FULL: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "SECRET-SYSTEM"},
        {
            "role": "user",
            "name": "ada",
            "content": [
                {"type": "text", "text": "SECRET-WORDS"},
                {"type": "image_url", "image_url": {"url": "https://secret.example/a.png"}},
            ],
        },
    ],
    "tools": [{"type": "function", "function": {"name": "secret_tool"}}],
    "temperature": 0.5,
    "logprobs": True,
    "presence_penalty": 0,
    "user": "u-1",
    "stream": None,
    "top_k": 40,
}


async def test_a_request_is_explained_without_asking_claude_or_telling_its_words(
    gateway: Gateway,
) -> None:
    report = await report_on(gateway, FULL)
    treatments = {field["name"]: field["treatment"] for field in report["fields"]}
    assert treatments == {
        "model": "native",
        "messages": "native",
        "tools": "native",
        "temperature": "native",
        "logprobs": "ignored",
        "presence_penalty": "accepted",
        "user": "native",
        "stream": "accepted",
        "top_k": "native",
        "messages.name": "ignored",
    }
    assert report["model"] == "sonnet"
    assert report["failure"] is None
    assert report["turn"]["messages"] == [{"role": "user", "blocks": ["text", "image"]}]
    assert report["turn"]["images_to_fetch"] == 1
    assert "temperature" in report["turn"]["parameters"]
    turn = report["turn"]
    assert (turn["system"]["characters"], turn["tools"]) == (len("SECRET-SYSTEM"), 1)
    assert "secret" not in json.dumps(report).lower()


async def test_what_is_reported_here_is_what_the_answer_reports(gateway: Gateway) -> None:
    url = {"url": f"data:image/png;base64,{png()}", "detail": "high"}
    parts = [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": url}]
    messages = [{"role": "user", "content": parts}]
    body = FULL | {"model": "claude-sonnet-4-6", "messages": messages, "temperature": 1.5}
    report = await report_on(gateway, body)
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    reported = sorted(field["name"] for field in report["fields"] if field["reported"])
    assert answer.headers["x-ignored-parameters"].split(", ") == reported
    assert reported == ["logprobs", "messages.content.detail", "temperature"]


FAILURES: list[dict[str, Any]] = [
    {},
    {"messages": []},
    {"messages": [{"role": "user"}]},
    {"messages": [{"role": "nobody", "content": "x"}]},
    {"messages": [{"role": "user", "content": "x"}], "temperature": 3},
    {"messages": [{"role": "user", "content": "x"}], "model": "llama-3"},
    {"messages": [{"role": "user", "content": "x"}], "tool_choice": "required"},
    {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
    {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": "http://a.test/a.png"}]}
        ]
    },
]


@pytest.mark.parametrize("body", FAILURES, ids=[json.dumps(body)[:60] for body in FAILURES])
async def test_a_failure_is_told_as_the_route_tells_it(
    gateway: Gateway, body: dict[str, Any]
) -> None:
    failure = (await report_on(gateway, body))["failure"]
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    assert (failure["status"], failure["error"]) == (answer.status_code, answer.json()["error"])


async def test_the_same_tools_have_the_same_id_whatever_else_is_asked(gateway: Gateway) -> None:
    other = FULL | {"model": "claude-sonnet-5", "temperature": 0.1}
    first, second = await report_on(gateway, FULL), await report_on(gateway, other)
    assert first["turn"]["tools_sha256"] == second["turn"]["tools_sha256"]
    third = await report_on(gateway, FULL | {"tools": None})
    assert third["turn"]["tools_sha256"] != first["turn"]["tools_sha256"]


def test_a_field_that_is_taken_is_acted_on_or_without_effect_or_reported() -> None:
    assert {row.treatment for row in FIELDS} == {"native", "emulated", "accepted", "ignored"}
