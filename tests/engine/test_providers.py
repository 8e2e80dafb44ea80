"""One chat end to end by each way to reach Claude, and what the server says of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import MakeGateway
from tests.support.harness import said, system_texts
from tests.support.wire import URL, asking, chunks, streamed_text

FORMS = {
    "anthropic": ("anthropic", "anthropic", "x-api-key"),
    "oauth": ("claude_cli", "anthropic", "authorization"),
    "bedrock": ("bedrock", "bedrock", None),
    "vertex": ("vertex", "vertex", None),
}
"""Form of the fake upstream -> method that the server names, provider that the fake upstream sees,
header."""

REMINDER = "<system-reminder>"
ASKED = "What of @/etc/hostname?\n\n/help"


def without_reminders(messages: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """What remains of a conversation without the reminders that the CLI adds under a login."""
    kept = []
    for message in messages:
        role, blocks = said(message)
        own = [block for block in blocks if REMINDER not in block.get("text", "")]
        if own and role != "system":
            kept.append((role, own))
    return kept


@pytest.mark.parametrize("form", FORMS)
async def test_a_chat_runs_by_every_provider(make_gateway: MakeGateway, form: str) -> None:
    method, provider, header = FORMS[form]
    async with make_gateway(form=form, max_processes=2) as gateway:
        status = (await gateway.http.get("/v1/auth/status")).json()
        system = {"role": "system", "content": "You are Ada."}
        asked = asking(ASKED, max_tokens=99)
        asked["messages"].insert(0, system)
        answer = await gateway.http.post(URL, json=asked)
        raw = (await gateway.http.post(URL, json=asking("!demo tokens=3", stream=True))).text
        refused = await gateway.http.post(URL, json=asking("!demo error=429"))
        ready = await gateway.http.get("/health/ready")
        requests = list(gateway.upstream.requests)
    assert (status["method"], status["missing"], status["hint"]) == (method, [], None)
    assert ready.status_code == 200
    assert status["detected_by"] in ready.json()["checks"]["credentials"]["detail"]
    assert "sk-ant" not in json.dumps(status) + ready.text
    content = answer.json()["choices"][0]["message"]["content"]
    assert content == f'Demo model: you said "{ASKED}".'
    assert streamed_text(raw) == "word1 word2 word3"
    assert chunks(raw)[-1]["choices"][0]["finish_reason"] == "stop"
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_exceeded")
    assert {request.provider for request in requests} == {provider}
    first = requests[0]
    assert without_reminders(first.messages) == [("user", [{"type": "text", "text": ASKED}])]
    assert "You are Ada." in system_texts(first.body)
    assert not first.tools
    assert first.body["max_tokens"] == 99
    assert len(requests) == 3
    for request in requests:
        for credential in ("x-api-key", "authorization"):  # a key sends no login, a login no key
            assert header is None or (credential in request.headers) == (credential == header)
        if form != "oauth":
            assert not any("billing" in text for text in system_texts(request.body))
