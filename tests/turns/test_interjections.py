"""What a person says to an agent while it works."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.errors import SessionBusy
from engine.interjections import MOST_WAITING, Interjections
from tests.engine.test_builtin_tools import bash, script
from tests.support.harness import Gateway
from tests.support.wire import URL, streamed_text, until
from tests.turns.test_approvals import (
    body,
    decide,
    first_waiting,
    gateway,
    shared_asking,
)

__all__ = ["gateway", "shared_asking"]
"""Fixtures: the same server."""

TABS = "/clear: use tabs, please"


def path(session: str) -> str:
    return f"/v1/sessions/{session}/tell"


def is_told(gateway: Gateway, session: str) -> bool:
    """Whether something was written to the agent that it has not read."""
    worker = gateway.engine._at_work["alice", session]
    return worker._interjections.waiting


def working(session: str, **fields: Any) -> dict[str, Any]:
    """An agent that asks before its first step, and has a second one."""
    write = ("Write", {"file_path": "a.txt", "content": "A"})
    return body(script(bash("echo one"), write), "in-session", session_id=session, **fields)


async def test_the_model_has_it_before_its_next_step_and_the_session_keeps_it(
    gateway: Gateway,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        turn = tasks.create_task(gateway.http.post(URL, json=working("told")))
        approval = await first_waiting(gateway)
        asked = len(gateway.upstream.requests)
        telling = tasks.create_task(gateway.http.post(path("told"), json={"content": TABS}))
        await until(lambda: is_told(gateway, "told"))
        assert not telling.done()  # the tool is not over
        await decide(gateway, approval, allow=True)
    assert telling.result().json() == {"id": "told", "object": "session.told"}
    assert turn.result().json()["choices"][0]["message"]["content"] == "Done."
    assert TABS in str(gateway.upstream.requests[asked].messages)
    session = (await gateway.http.get("/v1/sessions/told")).json()
    assert TABS in str(session["messages"][0])
    last = body("!demo recall", "in-session", session_id="told")
    assert (await gateway.http.post(URL, json=last)).status_code == 200
    first = gateway.upstream.requests[-1].messages[0]
    assert first["role"] == "user"
    assert TABS in str(first)


async def test_what_comes_after_the_last_step_is_answered_too(gateway: Gateway) -> None:
    """The model is at its last words: the answer goes on in a paragraph of its own."""
    text = '!demo text="One two three four" delay_after=2:0.6'
    asked = body(text, "in-session", session_id="late", stream=True)
    request = gateway.http.build_request("POST", URL, json=asked)
    response = await gateway.http.send(request, stream=True)
    lines = response.aiter_lines()
    while "two" not in await anext(lines):
        pass
    told = await gateway.http.post(path("late"), json={"content": "and five?"})
    assert told.status_code == 200
    rest = [line async for line in lines]
    assert streamed_text("\n".join([*rest[1:], ""])).endswith(
        '\n\nDemo model: you said "and five?".'
    )
    stored = (await gateway.http.get("/v1/sessions/late")).json()["messages"]
    assert stored[1]["content"].startswith("One two three four\n\n")
    assert "and five?" in str(stored[0])
    again = body("!demo text=Next", "in-session", session_id="late")
    answer = await gateway.http.post(URL, json=again)
    assert answer.json()["choices"][0]["message"]["content"] == "Next"


async def test_an_agent_that_ends_before_says_so(gateway: Gateway) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.http.post(URL, json=working("ended")))
        await first_waiting(gateway)
        telling = tasks.create_task(gateway.http.post(path("ended"), json={"content": TABS}))
        await until(lambda: is_told(gateway, "ended"))
        await gateway.http.post("/v1/sessions/ended/interrupt")
    assert telling.result().status_code == 409
    assert telling.result().json()["error"]["code"] == "session_conflict"
    assert TABS not in "".join(str(request.messages) for request in gateway.upstream.requests)
    after = body("!demo recall", "in-session", session_id="ended")
    answer = await gateway.http.post(URL, json=after)  # by the same process
    assert TABS not in answer.text


async def test_nobody_else_and_nothing_else_is_told(gateway: Gateway) -> None:
    assert (await gateway.http.post(path("none"), json={"content": TABS})).status_code == 404
    assert (await gateway.http.post(path("none"), json={"content": ""})).status_code == 400
    bob = {"authorization": "Bearer sk-bob"}
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.http.post(URL, json=working("mine")))
        approval = await first_waiting(gateway)
        told = await gateway.http.post(path("mine"), json={"content": TABS}, headers=bob)
        assert told.status_code == 404
        await decide(gateway, approval, allow=False)


async def test_what_waits_is_bounded_and_ends_with_the_turn() -> None:
    told = Interjections()
    assert told.begin("early") is None
    told.open()
    waiting = [told.begin(str(number)) for number in range(MOST_WAITING)]
    with pytest.raises(SessionBusy):
        told.begin("one more")
    first, second, *_ = waiting
    assert first is not None
    assert second is not None
    told.follow(first.id, "queued")
    assert not first.delivered.done()
    told.follow(first.id, "started")
    told.follow("somebody else's", "started")
    assert (told.heard, first.delivered.result()) == (("0",), True)
    assert told.end() == [one.id for one in waiting[1:] if one]
    assert second.delivered.result() is False
    assert (told.waiting, told.begin("late")) == (False, None)
