"""Claude's own questions, answered by a person: in words, by each way that an approval takes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.engine.test_builtin_tools import script
from tests.support.harness import Gateway
from tests.support.wire import URL
from tests.turns.test_approvals import (
    APPROVE,
    TOUCH,
    body,
    call_of,
    decide,
    decision,
    first_waiting,
    gateway,
    go_on,
    question_of,
    respond,
    shared_asking,
)

__all__ = ["gateway", "shared_asking"]
"""Fixtures: the same server."""

COLOUR, SIZES = "Which colour?", "Which sizes?"


def question(text: str, *labels: str, several: bool = False) -> dict[str, Any]:
    options = [{"label": label, "description": f"It is {label}."} for label in labels]
    return {"question": text, "header": "It", "options": options, "multiSelect": several}


ONE = [question(COLOUR, "Red", "Blue")]
TWO = [*ONE, question(SIZES, "S", "M", "L", several=True)]


def questions(asked: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    return body(script(("AskUserQuestion", {"questions": asked})), "questions", **fields)


def told(gateway: Gateway) -> str:
    """What the model got for its question."""
    [result] = gateway.upstream.requests[-1].messages[-1]["content"]
    return str(result["content"])


async def test_the_model_gets_the_answers_to_its_questions(gateway: Gateway) -> None:
    answering = asyncio.create_task(gateway.http.post(URL, json=questions(TWO)))
    approval = await first_waiting(gateway)
    assert [one["question"] for one in approval["input"]["questions"]] == [COLOUR, SIZES]
    path, answers = f"/v1/approvals/{approval['id']}", {COLOUR: "Blue", SIZES: "S, L"}
    for wrong in ({"approve": True}, {"approve": True, "answers": {"Which?": "Blue"}}):
        refused = await gateway.http.post(path, json=wrong)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "answers")
    await gateway.http.post(path, json={"approve": True, "answers": answers})
    assert (await answering).status_code == 200
    assert '"Which colour?"="Blue"' in told(gateway)
    assert '"Which sizes?"="S, L"' in told(gateway)


async def test_a_question_that_nobody_answers_is_a_no(gateway: Gateway) -> None:
    answering = asyncio.create_task(gateway.http.post(URL, json=questions(ONE)))
    await decide(gateway, await first_waiting(gateway), allow=False)
    assert (await answering).status_code == 200
    assert "did not allow this" in told(gateway)


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ("Blue, but a light one", "Blue, but a light one"),
        (json.dumps({"answers": {COLOUR: "Blue"}}), "Blue"),
        (json.dumps({"approve": True, "reason": "yes"}), "yes"),
        (json.dumps({"approve": False}), None),
        ("", None),
    ],
)
async def test_the_function_brings_answers_in_words_too(
    gateway: Gateway, result: str, answer: str | None
) -> None:
    first = questions(ONE, tools=[APPROVE])
    asked = await gateway.http.post(URL, json=first)
    arguments = json.loads(call_of(asked)["function"]["arguments"])
    assert arguments["input"]["questions"][0]["question"] == COLOUR
    await go_on(gateway, first, asked, result)
    assert (f'"{COLOUR}"="{answer}"' in told(gateway)) == (answer is not None)


async def test_in_responses_the_reason_is_the_answer(gateway: Gateway) -> None:
    text = script(("AskUserQuestion", {"questions": ONE}))
    first = await respond(gateway, text, model="questions")
    answer = decision(question_of(first), True) | {"reason": "Blue"}
    last = await respond(gateway, [answer], model="questions", previous_response_id=first["id"])
    assert last["status"] == "completed"
    assert f'"{COLOUR}"="Blue"' in told(gateway)


async def test_a_use_that_asks_no_question_takes_no_answers(gateway: Gateway) -> None:
    answering = asyncio.create_task(gateway.http.post(URL, json=body(TOUCH)))
    approval = await first_waiting(gateway)
    answered = {"approve": True, "answers": {COLOUR: "Blue"}}
    refused = await gateway.http.post(f"/v1/approvals/{approval['id']}", json=answered)
    assert refused.status_code == 400
    await decide(gateway, approval, allow=False)
    await answering


async def test_without_the_field_the_model_has_no_such_tool(gateway: Gateway) -> None:
    for model, has_it in (("questions", True), ("asking", False)):
        await gateway.http.post(URL, json=body("hi", model))
        names = {tool["name"] for tool in gateway.upstream.requests[-1].body["tools"]}
        assert ("AskUserQuestion" in names) == has_it
