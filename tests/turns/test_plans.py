"""Plans, which a person approves before anything is changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.engine.test_builtin_tools import Step, bash, script
from tests.support.harness import Gateway
from tests.support.wire import URL
from tests.turns.test_approvals import (
    APPROVE,
    approvals_in_ledger,
    body,
    call_of,
    decision,
    first_waiting,
    gateway,
    go_on,
    made,
    question_of,
    respond,
    shared_asking,
)

__all__ = ["gateway", "shared_asking"]
"""Fixtures: the same server."""

PLAN = "# The plan\n1. make the file"
EXIT: Step = ("ExitPlanMode", {})


def planning(*then: Step | list[Step], **fields: Any) -> dict[str, Any]:
    """Writes a plan, shows it, and does the rest."""
    write: Step = ("Write", {"file_path": "$PLAN_FILE", "content": PLAN})
    return body(script(write, EXIT, *then), "planning", **fields)


def told(gateway: Gateway) -> str:
    return str(gateway.upstream.requests[-1].messages[-1]["content"])


async def test_a_plan_that_is_approved_is_carried_out_within_the_rules(gateway: Gateway) -> None:
    write: Step = ("Write", {"file_path": str(made(gateway)), "content": "made"})
    asked = planning(write, bash("rm made.txt"))
    answering = asyncio.create_task(gateway.http.post(URL, json=asked))
    approval = await first_waiting(gateway)
    assert (approval["tool"], approval["input"]) == ("ExitPlanMode", {"plan": PLAN})
    await gateway.http.post(f"/v1/approvals/{approval['id']}", json={"approve": True})
    answer = await answering
    assert answer.json()["choices"][0]["message"]["content"] == "Done."
    assert made(gateway).read_text() == "made"  # no rule lets it delete one
    approved = {"tool": "ExitPlanMode", "decision": "approved", "by": "alice"}
    assert (await approvals_in_ledger(gateway))[0] == approved


async def test_before_the_plan_nothing_is_changed(gateway: Gateway) -> None:
    write: Step = ("Write", {"file_path": str(made(gateway)), "content": "made"})
    steps = [write, bash("touch made.txt"), bash("touch made.txt && touch made.txt")]
    answer = await gateway.http.post(URL, json=body(script(*steps), "planning"))
    assert answer.status_code == 200
    assert not made(gateway).exists()
    assert str(gateway.upstream.requests[-1].messages).count("has been denied") == 3
    assert len(gateway.upstream.requests) == 4  # the CLI asks no model whether it may


async def test_the_model_is_told_why_a_plan_was_denied(gateway: Gateway) -> None:
    write: Step = ("Write", {"file_path": str(made(gateway)), "content": "made"})
    answering = asyncio.create_task(gateway.http.post(URL, json=planning(write)))
    approval = await first_waiting(gateway)
    no = {"approve": False, "reason": "Make two files"}
    await gateway.http.post(f"/v1/approvals/{approval['id']}", json=no)
    assert (await answering).status_code == 200
    assert "The person says: Make two files" in str(gateway.upstream.requests[-1].messages)
    assert not made(gateway).exists()  # it is in plan mode still


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ("Make two files", "Make two files"),
        ('{"approve": false, "reason": "Two files"}', "Two files"),
        ("no", None),
        ("false", None),
    ],
)
async def test_the_function_brings_a_reason_too(
    gateway: Gateway, result: str, reason: str | None
) -> None:
    first = planning(tools=[APPROVE])
    asked = await gateway.http.post(URL, json=first)
    assert PLAN.splitlines()[0] in call_of(asked)["function"]["arguments"]
    await go_on(gateway, first, asked, result)
    says = "" if reason is None else f" The person says: {reason}"
    assert f"did not allow this.{says}" in told(gateway)
    assert ("The person says" in told(gateway)) == (reason is not None)


async def test_in_responses_a_plan_is_an_item_and_the_answer_goes_on(gateway: Gateway) -> None:
    write: Step = ("Write", {"file_path": str(made(gateway)), "content": "made"})
    text = planning(write)["messages"][-1]["content"]
    first = await respond(gateway, text, model="planning")
    assert question_of(first)["name"] == "ExitPlanMode"
    yes = decision(question_of(first), True)
    last = await respond(gateway, [yes], model="planning", previous_response_id=first["id"])
    assert last["status"] == "completed"
    assert made(gateway).exists()


async def test_in_responses_a_no_has_its_reason_too(gateway: Gateway) -> None:
    first = await respond(gateway, planning()["messages"][-1]["content"], model="planning")
    no = decision(question_of(first), False) | {"reason": "Two files"}
    await respond(gateway, [no], model="planning", previous_response_id=first["id"])
    assert "The person says: Two files" in told(gateway)


async def test_the_next_request_of_a_session_begins_with_a_plan_again(gateway: Gateway) -> None:
    first = planning(session_id="plans")
    answering = asyncio.create_task(gateway.http.post(URL, json=first))
    approval = await first_waiting(gateway)
    await gateway.http.post(f"/v1/approvals/{approval['id']}", json={"approve": True})
    await answering
    write: Step = ("Write", {"file_path": str(made(gateway)), "content": "made"})
    again = body(script(write), "planning", session_id="plans")
    assert (await gateway.http.post(URL, json=again)).status_code == 200
    assert not made(gateway).exists()


async def test_a_client_that_asks_for_plan_mode_gets_the_plan_alone(gateway: Gateway) -> None:
    asked = planning(bash("touch made.txt"), permission_mode="plan")
    assert (await gateway.http.post(URL, json=asked)).status_code == 200
    assert "No such tool available: ExitPlanMode" in str(gateway.upstream.requests[-2].messages)
    assert not made(gateway).exists()
