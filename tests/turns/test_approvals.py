"""A person in the loop, through the real CLI: nothing runs that nobody allowed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo import FakeAnthropic
from stores.usage import TurnRecord
from tests.engine.test_builtin_tools import bash, script
from tests.support.harness import Gateway, gateway_at
from tests.support.responses_cases import events
from tests.support.responses_types import typed_event, typed_response
from tests.support.wire import URL, asking, streamed_text, until
from tests.turns.test_usage import ledger_usage, upstream_usage
from turns.approvals import is_yes

AGENTS = {
    "asking": "---\ndescription: Asks\ntools: Read\nask: Bash\nworkspace: work\n---\nYou ask.",
    "partly": """\
---
description: Runs some commands, asks before others
tools: Bash(echo *)
ask: Bash
workspace: work
---
""",
    "both": """\
---
description: Names tools in both places, as those who know Claude Code would
tools: Read, Write, Bash
ask: Write, Bash
workspace: work
---
""",
    "questions": "---\ndescription: May ask\ntools: Read\nquestions: true\nworkspace: work\n---\n",
    "planning": """\
---
description: Shows a plan first
tools: Read, Write, Bash(touch *)
plan: true
workspace: work
---
""",
    "in-session": "---\ndescription: In a session\ntools: Write\nask: Bash\n---",
}
APPROVE = {
    "type": "function",
    "function": {"name": "approve", "parameters": {"type": "object", "properties": {}}},
}
TOUCH = script(bash("touch made.txt"), text="Touched.")


async def started(upstream: FakeAnthropic, home: Path, **settings: Any) -> AsyncIterator[Gateway]:
    work, folder = home / "workspaces" / "work", home / "agents"
    work.mkdir(parents=True)
    folder.mkdir()
    for name, text in AGENTS.items():
        (folder / f"{name}.md").write_text(text)
    given = {
        "agents_dir": folder,
        "allowed_tools": ("Read", "Write", "Bash"),
        "api_keys": "alice:sk-alice,bob:sk-bob,default:sk-operator",
        "pool_warm": 0,
        **settings,
    }
    async with gateway_at(upstream, home, **given) as gateway:
        gateway.http.headers["authorization"] = "Bearer sk-alice"
        yield gateway


@pytest.fixture(scope="module")
async def shared_asking(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    async for gateway in started(shared_upstream, tmp_path_factory.mktemp("home")):
        yield gateway


@pytest.fixture
async def gateway(shared_asking: Gateway, upstream: FakeAnthropic) -> Gateway:
    made(shared_asking).unlink(missing_ok=True)
    await shared_asking.app.state.gateway.approvals.aclose()  # what an earlier test left waiting
    return shared_asking


@pytest.fixture
async def hasty(upstream: FakeAnthropic, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A server that waits half a second for a person."""
    async for gateway in started(upstream, tmp_path, approval_seconds=0.5):
        yield gateway


def made(gateway: Gateway) -> Path:
    root: Path = gateway.app.state.gateway.settings.workspace_root
    return root / "work" / "made.txt"


def body(text: str, model: str = "asking", **fields: Any) -> dict[str, Any]:
    return {**asking(text), "model": model, **fields}


async def waiting(gateway: Gateway, key: str = "sk-alice") -> list[dict[str, Any]]:
    headers = {"authorization": f"Bearer {key}"}
    answer = await gateway.http.get("/v1/approvals", headers=headers)
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def first_waiting(gateway: Gateway) -> dict[str, Any]:
    await until(lambda: bool(gateway.app.state.gateway.approvals.pending(None)))
    return (await waiting(gateway))[0]


async def decide(
    gateway: Gateway, approval: dict[str, Any], allow: bool, key: str = "sk-alice"
) -> httpx.Response:
    return await gateway.http.post(
        f"/v1/approvals/{approval['id']}",
        json={"approve": allow},
        headers={"authorization": f"Bearer {key}"},
    )


async def test_what_is_approved_runs_and_not_before(gateway: Gateway) -> None:
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(gateway.http.post(URL, json=body(TOUCH)))
        approval = await first_waiting(gateway)
        assert not made(gateway).exists()
        assert (approval["tool"], approval["input"]["command"]) == ("Bash", "touch made.txt")
        assert (await decide(gateway, approval, allow=True)).status_code == 200
    assert asked.result().json()["choices"][0]["message"]["content"] == "Touched."
    assert made(gateway).exists()
    assert await waiting(gateway) == []


async def test_what_is_denied_does_not_run_and_the_model_is_told(gateway: Gateway) -> None:
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(gateway.http.post(URL, json=body(TOUCH)))
        await decide(gateway, await first_waiting(gateway), allow=False)
    assert asked.result().status_code == 200
    assert not made(gateway).exists()
    assert "did not allow" in str(gateway.upstream.requests[-1].messages)


async def test_a_command_that_only_reads_is_asked_for_too(gateway: Gateway) -> None:
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(gateway.http.post(URL, json=body(script(bash("ls")))))
        approval = await first_waiting(gateway)
        assert approval["input"]["command"] == "ls"
        await decide(gateway, approval, allow=True)
    assert asked.result().status_code == 200


async def test_what_a_rule_allows_is_not_asked_for(gateway: Gateway) -> None:
    text = script(bash("echo one"), bash("touch made.txt"))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.http.post(URL, json=body(text, "partly")))
        approval = await first_waiting(gateway)
        assert approval["input"]["command"] == "touch made.txt"
        await decide(gateway, approval, allow=False)
    assert not made(gateway).exists()


async def test_a_stream_stays_open_while_it_waits(gateway: Gateway) -> None:
    fields = {"model": "asking"}
    request = gateway.http.build_request("POST", URL, json=body(TOUCH, stream=True, **fields))
    response = await gateway.http.send(request, stream=True)
    await decide(gateway, await first_waiting(gateway), allow=True)
    raw = (await response.aread()).decode()
    assert streamed_text(raw) == "Touched."
    assert made(gateway).exists()


async def test_only_the_key_itself_or_an_operator_may_answer(gateway: Gateway) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.http.post(URL, json=body(TOUCH)))
        approval = await first_waiting(gateway)
        assert await waiting(gateway, "sk-bob") == []
        assert (await decide(gateway, approval, allow=True, key="sk-bob")).status_code == 404
        everybody = {"authorization": "Bearer sk-operator"}
        listed = await gateway.http.get("/v1/approvals/all", headers=everybody)
        assert [one["id"] for one in listed.json()["data"]] == [approval["id"]]
        assert (await gateway.http.get("/v1/approvals/all")).status_code == 403
        assert not made(gateway).exists()
        assert (await decide(gateway, approval, allow=True, key="sk-operator")).status_code == 200
    assert made(gateway).exists()


async def test_no_answer_in_time_is_a_no(hasty: Gateway) -> None:
    answer = await hasty.http.post(URL, json=body(TOUCH))
    assert answer.json()["choices"][0]["message"]["content"] == "Touched."
    assert "did not allow" in str(hasty.upstream.requests[-1].messages)
    assert not made(hasty).exists()


async def test_a_client_that_leaves_takes_the_question_with_it(gateway: Gateway) -> None:
    before = {process.pid for process in gateway.processes()}
    request = gateway.http.build_request("POST", URL, json=body(TOUCH, stream=True))
    response = await gateway.http.send(request, stream=True)
    approval = await first_waiting(gateway)
    await response.aclose()
    await until(lambda: not gateway.app.state.gateway.approvals.pending(None))
    assert (await decide(gateway, approval, allow=True)).status_code == 404
    await until(lambda: {process.pid for process in gateway.processes()} <= before)
    assert not made(gateway).exists()


def call_of(answer: httpx.Response) -> dict[str, Any]:
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    found: dict[str, Any] = call
    return found


async def go_on(
    gateway: Gateway, first: dict[str, Any], answer: httpx.Response, result: str
) -> httpx.Response:
    message = answer.json()["choices"][0]["message"]
    said = {"role": "tool", "tool_call_id": call_of(answer)["id"], "content": result}
    messages = [*first["messages"], message, said]
    return await gateway.http.post(URL, json={**first, "messages": messages})


async def test_a_client_with_a_function_approve_is_asked_by_a_call_of_it(gateway: Gateway) -> None:
    text = script(bash("touch made.txt"), bash("rm made.txt"), text="Both.")
    first = body(text, tools=[APPROVE])
    answer = await gateway.http.post(URL, json=first)
    call = call_of(answer)
    arguments = json.loads(call["function"]["arguments"])
    assert (call["function"]["name"], arguments["tool"]) == ("approve", "Bash")
    assert arguments["input"]["command"] == "touch made.txt"
    assert not made(gateway).exists()
    asked = len(gateway.upstream.requests)
    answer = await go_on(gateway, first, answer, '{"approve": true}')
    assert made(gateway).exists()
    assert json.loads(call_of(answer)["function"]["arguments"])["input"]["command"] == "rm made.txt"
    answer = await go_on(gateway, first, answer, "no")
    assert answer.json()["choices"][0]["message"]["content"] == "Both."
    assert made(gateway).exists()
    assert len(gateway.upstream.requests) == asked + 2  # one turn all along: nothing is replayed
    assert "approve" not in {t["name"] for t in gateway.upstream.requests[-1].body["tools"]}


async def test_a_session_stores_what_was_approved(gateway: Gateway) -> None:
    write = ("Write", {"file_path": "a.txt", "content": "A"})
    first = body(script(write, bash("cat a.txt")), "in-session", session_id="appr", tools=[APPROVE])
    answer = await gateway.http.post(URL, json=first)
    said = {"role": "tool", "tool_call_id": call_of(answer)["id"], "content": "yes"}
    answer = await gateway.http.post(URL, json={**first, "messages": [said]})
    assert answer.json()["choices"][0]["message"]["content"] == "Done."
    last = {"role": "user", "content": "!demo recall"}
    await gateway.http.post(URL, json={**first, "messages": [last]})
    received = str(gateway.upstream.requests[-1].messages)
    assert "cat a.txt" in received
    assert "'A'" in received or '"A"' in received


async def test_a_held_agents_usage_is_in_the_ledger(gateway: Gateway) -> None:
    asked, before = len(gateway.upstream.requests), await ledger_usage(gateway)
    first = body(TOUCH, tools=[APPROVE])
    answer = await gateway.http.post(URL, json=first)
    await go_on(gateway, first, answer, "yes")
    used = upstream_usage([*gateway.upstream.requests][asked:])
    assert used.output_tokens > 0
    assert await ledger_usage(gateway) == before + used


async def approvals_in_ledger(gateway: Gateway) -> list[dict[str, Any]]:
    headers = {"authorization": "Bearer sk-operator"}
    await gateway.app.state.gateway.usage.flush()
    listed = await gateway.http.get("/v1/usage/requests", headers=headers)
    found: list[dict[str, Any]] = listed.json()["data"]
    return [approval for record in found for approval in record["approvals"]]


async def test_who_answered_is_in_the_ledger(gateway: Gateway, hasty: Gateway) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.http.post(URL, json=body(TOUCH)))
        await decide(gateway, await first_waiting(gateway), allow=True, key="sk-operator")
    first = body(TOUCH, tools=[APPROVE])
    await go_on(gateway, first, await gateway.http.post(URL, json=first), "no")
    denied, approved = (await approvals_in_ledger(gateway))[:2]
    assert approved == {"tool": "Bash", "decision": "approved", "by": "default"}
    assert denied == {"tool": "Bash", "decision": "denied", "by": "alice"}
    await hasty.http.post(URL, json=body(TOUCH))
    expired = {"tool": "Bash", "decision": "expired", "by": ""}
    assert await approvals_in_ledger(hasty) == [expired]


@pytest.mark.parametrize("tool", ["Write", "Bash"])
async def test_a_tool_that_is_named_in_both_places_is_asked_for(
    gateway: Gateway, tool: str
) -> None:
    written = {"file_path": str(made(gateway)), "content": "made"}
    step = ("Write", written) if tool == "Write" else bash("touch made.txt")
    answering = asyncio.create_task(gateway.http.post(URL, json=body(script(step), model="both")))
    approval = await first_waiting(gateway)
    assert approval["tool"] == tool
    await decide(gateway, approval, allow=False)
    assert (await answering).status_code == 200
    assert not made(gateway).exists()


async def test_a_held_agent_that_nobody_comes_back_to_is_in_the_ledger_too(
    hasty: Gateway,
) -> None:
    records: list[TurnRecord] = []
    hasty.app.state.gateway.usage.listeners.append(records.append)
    assert call_of(await hasty.http.post(URL, json=body(TOUCH, tools=[APPROVE])))
    await until(lambda: len(records) == 2)
    assert records[1].usage.output_tokens > 0
    assert (records[1].key, records[1].status) == ("alice", 499)


async def test_a_held_agent_ends_when_nobody_answers(hasty: Gateway) -> None:
    before = {process.pid for process in hasty.processes()}
    first = body(TOUCH, tools=[APPROVE])
    answer = await hasty.http.post(URL, json=first)
    assert call_of(answer)
    await until(lambda: {process.pid for process in hasty.processes()} <= before)
    assert not made(hasty).exists()
    assert hasty.app.state.gateway.approvals.pending(None) == []


async def test_another_key_cannot_go_on_with_a_held_agent(gateway: Gateway) -> None:
    first = body(TOUCH, tools=[APPROVE])
    answer = await gateway.http.post(URL, json=first)
    gateway.http.headers["authorization"] = "Bearer sk-bob"
    try:
        await go_on(gateway, first, answer, "yes")
    finally:
        gateway.http.headers["authorization"] = "Bearer sk-alice"
    assert not made(gateway).exists()
    assert (await go_on(gateway, first, answer, "yes")).status_code == 200
    assert made(gateway).exists()


async def test_an_interrupted_agent_keeps_what_it_did(gateway: Gateway) -> None:
    write = ("Write", {"file_path": "a.txt", "content": "A"})
    text = script(write, bash("rm a.txt"))
    asked = body(text, "in-session", session_id="stopped")
    async with asyncio.TaskGroup() as tasks:
        turn = tasks.create_task(gateway.http.post(URL, json=asked))
        await first_waiting(gateway)
        stopped = await gateway.http.post("/v1/sessions/stopped/interrupt")
        assert stopped.json() == {"id": "stopped", "object": "session.interrupted"}
    assert turn.result().json()["choices"][0]["finish_reason"] == "stop"
    assert await waiting(gateway) == []
    file = await gateway.http.get("/v1/sessions/stopped/files/a.txt")
    assert file.text == "A"
    again = await gateway.http.post("/v1/sessions/stopped/interrupt")
    assert again.status_code == 404


ASKS = {"type": "mcp", "server_label": "claude-code"}


async def respond(gateway: Gateway, given: Any, **fields: Any) -> dict[str, Any]:
    asked = {"model": "asking", "input": given, "tools": [ASKS], **fields}
    answer = await gateway.http.post("/v1/responses", json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    typed_response(found)
    return found


def question_of(response: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = response["output"][-1]
    assert (found["type"], found["server_label"]) == ("mcp_approval_request", "claude-code")
    return found


def decision(question: dict[str, Any], approve: bool) -> dict[str, Any]:
    about = {"approval_request_id": question["id"], "approve": approve}
    return {"type": "mcp_approval_response", **about}


async def test_a_client_of_responses_is_asked_by_an_item_and_goes_on(gateway: Gateway) -> None:
    first = await respond(
        gateway, script(bash("touch made.txt"), bash("rm made.txt"), text="Both.")
    )
    question = question_of(first)
    assert (question["name"], json.loads(question["arguments"])["command"]) == (
        "Bash",
        "touch made.txt",
    )
    assert not made(gateway).exists()
    before = first["id"]
    second = await respond(gateway, [decision(question, True)], previous_response_id=before)
    assert made(gateway).exists()
    last = [decision(question_of(second), False)]
    third = await respond(gateway, last, previous_response_id=second["id"])
    assert third["output"][-1]["content"][0]["text"] == "Both."
    assert made(gateway).exists()
    assert len(gateway.upstream.requests) == 3  # one turn all along: nothing is replayed
    after = await respond(gateway, "!demo text=Well.", previous_response_id=third["id"])
    assert after["output"][-1]["content"][0]["text"] == "Well."


async def test_a_stateless_client_answers_with_the_whole_history(gateway: Gateway) -> None:
    said = {"role": "user", "content": TOUCH}
    first = await respond(gateway, [said], store=False)
    history = [said, *first["output"], decision(question_of(first), False)]
    second = await respond(gateway, history, store=False)
    assert second["output"][-1]["content"][0]["text"] == "Touched."
    assert "did not allow" in str(gateway.upstream.requests[-1].messages)
    assert not made(gateway).exists()


async def test_a_function_approve_of_the_clients_stays_a_function(gateway: Gateway) -> None:
    """Where no tool needs an approval, its call is the model's own."""
    function = {"type": "function", "name": "approve", "parameters": {"type": "object"}}
    text = '!demo call=approve args={"plan":"b"}'
    answer = await respond(gateway, text, model="sonnet", tools=[ASKS, function])
    [call] = answer["output"]
    assert (call["type"], call["name"]) == ("function_call", "approve")


async def test_an_approval_request_is_streamed(gateway: Gateway) -> None:
    asked = {"model": "asking", "input": TOUCH, "tools": [ASKS], "stream": True}
    stream = await gateway.http.post("/v1/responses", json=asked)
    shown = events(stream.text)
    for event in shown:
        typed_event(event)
    items = [event["item"] for event in shown if event["type"] == "response.output_item.done"]
    assert items[-1] == question_of(shown[-1]["response"])


async def test_a_decision_that_comes_too_late_is_an_error_and_runs_nothing(hasty: Gateway) -> None:
    first = await respond(hasty, TOUCH)
    await until(lambda: not hasty.app.state.gateway.approvals.pending(None))
    late = {"model": "asking", "previous_response_id": first["id"], "tools": [ASKS]}
    given = [decision(question_of(first), True)]
    answer = await hasty.http.post("/v1/responses", json={**late, "input": given})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")
    assert "took too long" in answer.json()["error"]["message"]
    assert not made(hasty).exists()


@pytest.mark.parametrize("text", ["yes", " Approved ", "true", '{"approve": true}', '"ok"'])
def test_a_yes_is_a_yes(text: str) -> None:
    assert is_yes(text)


@pytest.mark.parametrize("text", ["", "no", "not yes", "1", "[true]", '{"approve": "maybe"}', "{}"])
def test_all_else_is_a_no(text: str) -> None:
    assert not is_yes(text)
