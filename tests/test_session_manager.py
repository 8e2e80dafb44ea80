"""Sessions on the wire: what the model receives, what is stored, what the client is told."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from demo import FakeAnthropic
from tests.conftest import MakeGateway
from tests.support.harness import Gateway, gateway_at, png, said, system_texts
from tests.support.session_wire import ask, assistant, error_of, heard, reported, stored, user
from tests.support.wire import URL, asking, chunks, streamed_text

TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


@pytest.fixture
def session() -> str:
    """An id that no other test uses."""
    return f"test-{uuid.uuid4().hex}"


# What a turn sees


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("where", ["body", "header"])
async def test_a_client_sends_only_what_is_new(
    gateway: Gateway, session: str, stream: bool, where: str
) -> None:
    for number, status in enumerate(["new", "continued", "continued"]):
        body = asking(f'{number}\n!demo text="answer {number}"', stream=stream)
        headers = {"X-Session-Id": session} if where == "header" else {}
        body |= {"session_id": session} if where == "body" else {}
        response = await gateway.http.post(URL, json=body, headers=headers)
        assert response.status_code == 200, response.text
        assert response.headers["x-session-id"] == session
        assert response.headers["x-session-status"] == status
        answer = streamed_text(response.text) if stream else reported(response)["content"]
        assert answer == f"answer {number}"
    assert heard(gateway) == [
        ("user", '0\n!demo text="answer 0"'),
        ("assistant", "answer 0"),
        ("user", '1\n!demo text="answer 1"'),
        ("assistant", "answer 1"),
        ("user", '2\n!demo text="answer 2"'),
    ]
    kept = await stored(gateway, session)
    assert [(message["role"], message["content"]) for message in kept[:-1]] == heard(gateway)
    assert kept[-1] == assistant("answer 2")


async def test_a_history_that_is_sent_again_is_not_doubled(gateway: Gateway, session: str) -> None:
    history: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
    for number in range(3):
        history.append(user(f"question {number}"))
        response = await ask(gateway, session, *history)
        history.append(
            assistant(f"  {reported(response)['content']}\n")
        )  # as some clients trim or pad
    assert response.headers["x-session-status"] == "continued"
    assert len(heard(gateway)) == 5
    assert len(await stored(gateway, session)) == 6
    assert system_texts(gateway.upstream.requests[-1].body)[-1] == "Be brief."


async def test_a_session_needs_no_process_of_its_own(gateway: Gateway, session: str) -> None:
    await ask(gateway, session, "question 0")
    started = gateway.engine.pool.counts["started"]
    for number in range(1, 4):
        await ask(gateway, session, f"question {number}")
        await ask(gateway, f"{session}-{number}", "something else")
    await ask(gateway, session, "question 4")
    # An answer is there a moment before its process is free, for which a second may start.
    assert gateway.engine.pool.counts["started"] <= started + 1
    assert [text for role, text in heard(gateway) if role == "user"] == [
        f"question {number}" for number in range(5)
    ]


async def test_an_edit_rewrites_the_session_from_there(gateway: Gateway, session: str) -> None:
    await ask(gateway, session, "one")
    await ask(gateway, session, "two")
    history = await stored(gateway, session)
    response = await ask(gateway, session, *history[:2], user("TWO"))
    assert response.headers["x-session-status"] == "rewritten"
    assert [text for _, text in heard(gateway)] == ["one", history[1]["content"], "TWO"]
    changed = [*history[:1], assistant("I never said that."), user("three")]
    response = await ask(gateway, session, *changed)
    assert response.headers["x-session-status"] == "rewritten"
    assert await stored(gateway, session) == [*changed, assistant(reported(response)["content"])]


async def test_an_answer_can_be_asked_for_again(gateway: Gateway, session: str) -> None:
    await ask(gateway, session, "one")
    await ask(gateway, session, "two")
    history = await stored(gateway, session)
    await ask(gateway, session, *history[:3])
    assert [text for _, text in heard(gateway)] == ["one", history[1]["content"], "two"]
    assert len(await stored(gateway, session)) == 4


async def test_the_end_of_the_history_is_recognised_too(gateway: Gateway, session: str) -> None:
    for text in ("one", "two", "three"):
        await ask(gateway, session, text)
    history = await stored(gateway, session)
    response = await ask(gateway, session, *history[-2:], "four")
    assert response.headers["x-session-status"] == "continued"
    assert len(heard(gateway)) == 7


async def test_a_new_session_may_begin_with_examples(gateway: Gateway, session: str) -> None:
    await ask(gateway, session, user("hi"), assistant("Yo."), user("hello"))
    await ask(gateway, session, "and now?")
    assert [text for _, text in heard(gateway)][:3] == ["hi", "Yo.", "hello"]
    assert len(heard(gateway)) == 5


async def test_a_history_may_begin_with_an_answer(gateway: Gateway, session: str) -> None:
    greeting = assistant("How can I help?")
    first = await ask(gateway, session, greeting, "one")
    again = await ask(gateway, session, greeting, user("one"), reported(first), user("two"))
    assert again.headers["x-session-status"] == "continued"
    assert [text for _, text in heard(gateway)][:3] == [".", "How can I help?", "one"]
    assert (await stored(gateway, session))[0] == greeting


async def test_a_later_system_prompt_replaces_the_earlier_one(
    gateway: Gateway, session: str
) -> None:
    def prompt() -> str:
        return system_texts(gateway.upstream.requests[-1].body)[-1]

    await ask(gateway, session, {"role": "system", "content": "Be brief."}, "one")
    await ask(gateway, session, "two")
    assert prompt() == "Be brief."
    await ask(gateway, session, {"role": "system", "content": "Second."}, "three")
    assert prompt() == "Second."
    await ask(gateway, session, "four")
    assert prompt() == "Second."
    shown = (await gateway.http.get(f"/v1/sessions/{session}")).json()
    assert shown["system_prompt"] == "Second."
    assert len(shown["messages"]) == 8


@pytest.mark.parametrize("resent", ["results", "answer", "everything"])
async def test_results_of_tools_may_come_alone(gateway: Gateway, session: str, resent: str) -> None:
    question = '!demo call=get_weather,get_weather args={"city":"Rome"} say="One moment."'
    asked = await ask(gateway, session, "hello")
    calling = await ask(gateway, session, question, tools=[TOOL])
    calls = reported(calling)["tool_calls"]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": f"sun {number}"}
        for number, call in enumerate(calls)
    ]
    before = {
        "results": [],
        "answer": [reported(calling)],
        "everything": [user("hello"), reported(asked), user(question), reported(calling)],
    }[resent]
    done = await ask(gateway, session, *before, *results, tools=[TOOL])
    assert done.headers["x-session-status"] == "continued"
    assert "sun 0" in reported(done)["content"]
    roles = [role for role, _ in heard(gateway)]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    kept = await stored(gateway, session)
    assert [message["role"] for message in kept[2:]] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ]
    assert kept[3]["content"] == "One moment."
    assert [call["id"] for call in kept[3]["tool_calls"]] == [call["id"] for call in calls]
    assert json.loads(kept[3]["tool_calls"][0]["function"]["arguments"]) == {"city": "Rome"}
    await ask(gateway, session, "thanks", tools=[TOOL])
    assert len(heard(gateway)) == 7


async def test_a_call_without_its_result_is_refused_and_changes_nothing(
    gateway: Gateway, session: str
) -> None:
    await ask(gateway, session, "!demo call=get_weather", tools=[TOOL])
    response = await ask(gateway, session, "never mind", tools=[TOOL])
    assert error_of(response) == (400, "invalid_tool_results")
    assert response.headers["x-session-status"] == "unchanged"
    assert len(await stored(gateway, session)) == 2
    await answer_call(gateway, session)


async def answer_call(gateway: Gateway, session: str) -> None:
    """Ends the turn that a call began: its process may serve the next test."""
    [call] = (await stored(gateway, session))[-1]["tool_calls"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "sun"}
    assert (await ask(gateway, session, result, tools=[TOOL])).status_code == 200


async def test_images_are_remembered(gateway: Gateway, session: str) -> None:
    large = base64.b64encode(base64.b64decode(png()) + bytes(5_000)).decode()
    urls = [f"data:image/png;base64,{data}" for data in (png(), large)]
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    await ask(gateway, session, user([{"type": "text", "text": "Look"}, *parts]))
    await ask(gateway, session, "Again")
    _, blocks = said(gateway.upstream.requests[-1].messages[0])
    assert [block["source"]["data"] for block in blocks[1:]] == [png(), large]
    assert (await stored(gateway, session))[0]["content"][1:] == parts


async def test_structured_answers_are_remembered(gateway: Gateway, session: str) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schema}}
    first = await ask(gateway, session, "a number", response_format=form)
    assert "n" in json.loads(reported(first)["content"])
    await ask(gateway, session, "why?")
    assert heard(gateway)[1] == ("assistant", reported(first)["content"])


async def test_an_answer_is_replayed_with_its_signed_thinking_after_a_restart(
    upstream: FakeAnthropic, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    question = "!demo thinking_force thinking=hm call=get_weather say=Wait."
    async with gateway_at(upstream, tmp_path, database_url=url, pool_warm=0) as gateway:
        calling = await ask(gateway, "x", question, tools=[TOOL], reasoning_effort="low")
        call_id = reported(calling)["tool_calls"][0]["id"]
    result = {"role": "tool", "tool_call_id": call_id, "content": "sun"}
    async with gateway_at(upstream, tmp_path, database_url=url, pool_warm=0) as gateway:
        await ask(gateway, "x", result, tools=[TOOL], reasoning_effort="low")
        _, blocks = said(upstream.requests[-1].messages[1])
        assert [block["type"] for block in blocks] == ["thinking", "text", "tool_use"]
        assert blocks[0]["thinking"] == "hm"
        assert blocks[0]["signature"]
        assert (await stored(gateway, "x"))[1]["reasoning_content"] == "hm"


@pytest.mark.parametrize("directive", ["stop=refusal", "empty"])
async def test_an_answer_that_the_api_would_not_take_back_is_not_kept(
    gateway: Gateway, session: str, directive: str
) -> None:
    await ask(gateway, session, "one")
    response = await ask(gateway, session, f"!demo {directive}")
    assert response.status_code == 200
    assert response.headers["x-session-status"] == "unchanged"
    assert len(await stored(gateway, session)) == 2


async def test_an_answer_that_was_cut_at_its_limit_is_kept(gateway: Gateway, session: str) -> None:
    response = await ask(gateway, session, "!demo tokens=50", max_tokens=5)
    assert response.json()["choices"][0]["finish_reason"] == "length"
    await ask(gateway, session, "go on")
    assert heard(gateway)[1] == ("assistant", reported(response)["content"])


# What a request may say


@pytest.mark.parametrize("bad", ["", "a" * 129, "a b", "ä", "a/b", "..", "stats"])
async def test_an_id_of_other_characters_is_refused(gateway: Gateway, bad: str) -> None:
    response = await ask(gateway, bad, "hi")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "session_id"
    created = await gateway.http.post("/v1/sessions", json={"id": bad})
    assert created.status_code == 400
    assert created.json()["error"]["param"] == "id"


async def test_two_names_for_one_request_are_refused(gateway: Gateway) -> None:
    body = asking("hi", session_id="one")
    response = await gateway.http.post(URL, json=body, headers={"X-Session-Id": "two"})
    assert response.status_code == 400
    same = await gateway.http.post(URL, json=body, headers={"X-Session-Id": "one"})
    assert same.status_code == 200


async def test_several_answers_to_one_turn_are_refused(gateway: Gateway, session: str) -> None:
    response = await ask(gateway, session, "hi", n=2)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "n")
    assert (await gateway.http.get(f"/v1/sessions/{session}")).status_code == 404


async def test_a_seed_is_reported_as_ignored(gateway: Gateway, session: str) -> None:
    for _ in range(2):
        response = await ask(gateway, session, "hi", seed=1)
        assert "seed" in response.headers["x-ignored-parameters"]
    assert len(await stored(gateway, session)) == 4


async def test_without_an_id_nothing_is_kept(gateway: Gateway) -> None:
    before = (await gateway.http.get("/v1/sessions/stats")).json()
    response = await gateway.http.post(URL, json=asking("hi", session_id=None))
    assert "x-session-id" not in response.headers
    assert (await gateway.http.get("/v1/sessions/stats")).json() == before


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_whose_answer_got_lost_can_be_repeated(
    gateway: Gateway, session: str, stream: bool
) -> None:
    question = "!demo thinking_force thinking=hm call=get_weather say=Wait."
    body = asking(question, session_id=session, tools=[TOOL], stream=stream)
    headers = {"Idempotency-Key": "turn 1"}
    first = await gateway.http.post(URL, json=body, headers=headers)
    again = await gateway.http.post(URL, json=body, headers=headers)
    assert len(gateway.upstream.requests) == 1
    assert again.headers["x-session-status"] == "repeated"
    if stream:
        assert streamed_text(again.text) == streamed_text(first.text) == "Wait."
        assert chunks(again.text)[-1]["choices"] == chunks(first.text)[-1]["choices"]
    else:
        assert again.json()["choices"] == first.json()["choices"]
        assert again.json()["usage"] == first.json()["usage"]
    assert len(await stored(gateway, session)) == 2
    other = body | {"messages": [user("something else")]}
    refused = await gateway.http.post(URL, json=other, headers=headers)
    assert error_of(refused) == (400, "idempotency_key_reused")
    await answer_call(gateway, session)


# One turn at a time, written when it is complete


async def test_a_second_request_waits_its_turn(gateway: Gateway, session: str) -> None:
    questions = [f"question {number}\n!demo first_delay=0.05" for number in range(4)]
    answers = await asyncio.gather(*(ask(gateway, session, text) for text in questions))
    assert all(answer.status_code == 200 for answer in answers)
    kept = [message["content"] for message in await stored(gateway, session)]
    assert sorted(kept[::2]) == questions
    lengths = [len(request.messages) for request in gateway.upstream.requests]
    assert lengths == [1, 3, 5, 7]


async def test_a_wait_that_is_too_long_is_a_409(make_gateway: MakeGateway) -> None:
    async with make_gateway(session_wait_seconds=0.05) as gateway:
        running = asyncio.create_task(ask(gateway, "x", "!demo silent"))
        await gateway.upstream.wait_for_requests(1)
        for attempt in (ask(gateway, "x", "hi"), ask(gateway, "x", "hi", stream=True)):
            busy = await attempt
            assert error_of(busy) == (409, "session_busy")
            assert int(busy.headers["retry-after"]) > 0
        assert (await ask(gateway, "y", "hi")).status_code == 200
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("accident", "stream"),
    [
        ("error=529", False),
        ("error=529", True),
        ("error_midstream=overloaded_error", False),
        ("cut=2", True),
    ],
)
async def test_a_turn_that_fails_keeps_the_history_and_says_so(
    gateway: Gateway, session: str, accident: str, stream: bool
) -> None:
    await ask(gateway, session, "one")
    response = await ask(gateway, session, f"!demo {accident} error_after=2", stream=stream)
    assert "The session keeps its history as it was before this request." in response.text
    if response.status_code != 200:
        assert response.headers["x-session-status"] == "unchanged"
    assert len(await stored(gateway, session)) == 2, response.text
    await ask(gateway, session, "two")
    assert [text for _, text in heard(gateway)][::2] == ["one", "two"]


async def test_a_first_turn_that_fails_leaves_no_session(gateway: Gateway, session: str) -> None:
    await ask(gateway, session, "!demo error=529")
    assert (await gateway.http.get(f"/v1/sessions/{session}")).status_code == 404
    assert (await ask(gateway, session, "hi")).headers["x-session-status"] == "new"


async def test_a_client_that_leaves_keeps_the_history_and_frees_the_session(
    gateway: Gateway, session: str
) -> None:
    await ask(gateway, session, "one")
    body = asking("!demo tokens=500 rate=20", session_id=session, stream=True)
    async with gateway.http.stream("POST", URL, json=body) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if "word2" in line:
                break
    await ask(gateway, session, "two")  # waits until the session is free
    assert [text for _, text in heard(gateway)][::2] == ["one", "two"]
    assert len(await stored(gateway, session)) == 4


async def test_a_session_that_is_deleted_under_a_turn_stays_deleted(
    gateway: Gateway, session: str
) -> None:
    await ask(gateway, session, "one")
    running = asyncio.create_task(ask(gateway, session, "!demo first_delay=1"))
    await gateway.upstream.wait_for_requests(2)
    assert (await gateway.http.delete(f"/v1/sessions/{session}")).status_code == 200
    assert error_of(await running) == (409, "session_conflict")
    assert (await gateway.http.get(f"/v1/sessions/{session}")).status_code == 404
