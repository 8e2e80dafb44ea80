"""A session at the end of its model's context: what is left out, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from core.context_trim import exchanges_to_drop
from core.conversation import Message, text_block
from tests.support.harness import Gateway, said
from tests.support.wire import URL, asking

LIMIT = "prompt is too long: 250000 tokens > 200000 maximum"


def too_long(text: str, times: int = 1) -> str:
    """What the fake upstream refuses so many times, as the API does."""
    return f'!demo error=400 error_times={times} message="{LIMIT}" text=fine\n{text}'


async def talk(gateway: Gateway, session: str, turns: int) -> None:
    for number in range(turns):
        body = asking(f"question {number} " + "x" * 400, session_id=session)
        assert (await gateway.http.post(URL, json=body)).status_code == 200


@pytest.mark.parametrize("way", ["body", "header"])
async def test_a_session_that_asks_for_it_goes_on_without_its_oldest_messages(
    gateway: Gateway, way: str
) -> None:
    session = f"trim-{way}"
    await talk(gateway, session, 6)
    fields: dict[str, Any] = {"context": "trim"} if way == "body" else {}
    headers = {} if way == "body" else {"x-session-context": "trim"}
    body = asking(too_long("and now?"), session_id=session, **fields)
    gateway.upstream.clear()
    answer = await gateway.http.post(URL, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "fine"
    left_out = int(answer.headers["x-context-trimmed"])
    refused, asked = (request.messages for request in gateway.upstream.requests)
    assert (len(refused), len(asked)) == (13, 13 - left_out)
    assert 2 <= left_out < 8  # 30 % too much: a fifth, and a tenth to spare
    assert said(asked[0])[0] == "user"
    assert [said(message) for message in asked] == [said(m) for m in refused[left_out:]]
    detail = (await gateway.http.get(f"/v1/sessions/{session}")).json()
    assert len(detail["messages"]) == 14  # the session itself keeps all
    assert 0 < detail["context_used"] < detail["context_window"] == 200_000


async def test_the_next_turn_need_not_find_out_again(gateway: Gateway) -> None:
    await talk(gateway, "trim-next", 4)
    for text in (too_long("one"), "two"):
        gateway.upstream.clear()
        body = asking(text, session_id="trim-next", context="trim")
        answer = await gateway.http.post(URL, json=body)
        assert answer.status_code == 200, answer.text
    [request] = gateway.upstream.requests
    assert len(request.messages) == 11 - int(answer.headers["x-context-trimmed"])


async def test_a_response_that_asks_for_it_goes_on_without_the_oldest_items(
    gateway: Gateway,
) -> None:
    said_before = [
        {"role": role, "content": f"{role} {number} " + "x" * 400}
        for number in range(6)
        for role in ("user", "assistant")
    ]
    asked = {"input": [*said_before, {"role": "user", "content": too_long("and now?")}]}
    answer = await gateway.http.post("/v1/responses", json={**asked, "truncation": "auto"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["truncation"] == "auto"
    left_out = int(answer.headers["x-context-trimmed"])
    refused, trimmed = (request.messages for request in gateway.upstream.requests)
    assert (len(refused), len(trimmed)) == (13, 13 - left_out)
    items = await gateway.http.get(f"/v1/responses/{answer.json()['id']}/input_items?limit=100")
    assert len(items.json()["data"]) == 13  # the response keeps all
    asked["input"][-1]["content"] = too_long("again")
    whole = await gateway.http.post("/v1/responses", json=asked)
    assert (whole.status_code, whole.json()["error"]["code"]) == (400, "context_length_exceeded")


async def test_nothing_is_left_out_unasked(gateway: Gateway) -> None:
    await talk(gateway, "whole", 2)
    body = asking(too_long("and now?"), session_id="whole")
    answer = await gateway.http.post(URL, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert "x-context-trimmed" not in answer.headers


async def test_a_last_question_that_is_too_long_itself_is_told_so(gateway: Gateway) -> None:
    body = asking(too_long("x", times=9), session_id="alone", context="trim")
    answer = await gateway.http.post(URL, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


def user(*blocks: Any) -> Message:
    return Message("user", tuple(text_block(b) if isinstance(b, str) else b for b in blocks))


CALL: Any = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
CALLING = Message("assistant", (CALL,))
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "x" * 100}
ANSWER = Message("assistant", (text_block("x" * 100),))
LONG = user("x" * 100)


@pytest.mark.parametrize(
    ("messages", "share", "dropped"),
    [
        ([LONG, ANSWER, LONG, ANSWER, LONG], 0.1, 2),
        ([LONG, ANSWER, LONG, ANSWER, LONG], 0.5, 4),
        ([LONG, ANSWER, LONG, ANSWER, LONG], 0.99, 4),  # the last exchange stays
        ([LONG], 0.5, 0),
        (
            [LONG, Message("assistant", (CALL,)), user(RESULT), ANSWER, LONG],
            0.1,
            4,
        ),  # no half calls
        ([LONG, Message("assistant", (CALL,)), user(RESULT)], 0.1, 0),
    ],
)
def test_only_whole_exchanges_are_left_out(
    messages: list[Message], share: float, dropped: int
) -> None:
    assert exchanges_to_drop(messages, share) == dropped
