"""Asking for Claude Code's built-in tools over HTTP: the real CLI works, and the client watches
it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.sandbox import missing_for_sandbox
from demo import FakeAnthropic
from tests.engine.test_builtin_tools import bash, script
from tests.support.harness import Gateway, gateway_at
from tests.support.wire import MODEL, URL, asking, chunks

OPERATOR = {"authorization": "Bearer sk-operator"}
ALICE = {"authorization": "Bearer sk-alice"}
CONFIG = "/v1/tools/config"


@pytest.fixture(scope="module")
async def shared_tools_gateway(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A server with keys, where commands may be asked for that begin with `echo`."""
    settings: dict[str, Any] = {
        "api_key": "sk-operator",
        "api_keys": "alice:sk-alice",
        "allowed_tools": ("Read", "Write", "Bash(echo *)"),
        "disallowed_tools": ("Bash(echo secret*)",),
        "max_turns": 4,
        "pool_warm": 0,
    }
    home = tmp_path_factory.mktemp("home")
    async with gateway_at(shared_upstream, home, **settings) as gateway:
        yield gateway


@pytest.fixture
def tools_gateway(shared_tools_gateway: Gateway, upstream: FakeAnthropic) -> Gateway:
    return shared_tools_gateway


async def ask(
    gateway: Gateway, text: str, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    sent = {**ALICE, **(headers or {})}
    return await gateway.http.post(URL, json=asking(text, **fields), headers=sent)


SHARED: dict[str, Any] = {"session_id": "shared", "enable_tools": True}
"""A session that tests go on with, one turn each: a process with built-in tools serves no other."""


def message(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["choices"][0]["message"]
    return found


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


def received_tools(gateway: Gateway) -> list[str]:
    return [tool["name"] for tool in gateway.upstream.requests[-1].body.get("tools", [])]


WRITE_AND_RUN = script(
    ("Write", {"file_path": "a.txt", "content": "one\ntwo\n"}),
    ("Read", {"file_path": "a.txt"}),
    bash("echo three"),
    say='"Let me see."',
)


async def test_claude_works_and_the_client_watches(tools_gateway: Gateway) -> None:
    tools = ["Read", "write_file", "run_command"]
    asked = {"session_id": SHARED["session_id"], "claude_tools": tools}
    answer = await ask(tools_gateway, WRITE_AND_RUN, stream=True, **asked)
    choices = [chunk["choices"][0] for chunk in chunks(answer.text)]
    reasoning = "".join(choice["delta"].get("reasoning_content") or "" for choice in choices)
    assert [line.partition(" → ")[0].rpartition("/")[2] for line in reasoning.splitlines()] == [
        "Write a.txt",
        "Read a.txt",
        "Bash: echo three",
    ]
    assert reasoning.endswith("Bash: echo three → 1 line")
    content = "".join(choice["delta"].get("content") or "" for choice in choices)
    assert content.endswith("\n\nDone.")
    entries = [c["delta"]["claude_activity"] for c in choices if "claude_activity" in c["delta"]]
    assert [entry["status"] for entry in entries] == ["started", "finished"] * 3
    assert entries[-1]["result"] == "three"
    assert choices[-1]["finish_reason"] == "stop"
    assert received_tools(tools_gateway) == ["Bash", "Read", "Write"]


async def test_headers_ask_for_tools_where_a_body_cannot(tools_gateway: Gateway) -> None:
    headers = {"X-Claude-Allowed-Tools": "Read, write_file", "X-Claude-Tool-Activity": "none"}
    write = ("Write", {"file_path": "a.txt", "content": "one"})
    reported = message(await ask(tools_gateway, script(write), headers))
    assert "reasoning_content" not in reported
    [entry] = reported["claude_activity"]
    assert (entry["friendly_name"], entry["status"]) == ("write_file", "finished")
    assert received_tools(tools_gateway) == ["Read", "Write"]


async def test_the_official_client_reads_every_chunk(tools_gateway: Gateway) -> None:
    stream = await tools_gateway.client.with_options(api_key="sk-alice").chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": script(bash("echo hi"))}],
        stream=True,
        extra_body={**SHARED, "tool_activity": "content"},
    )
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "> Bash: echo hi → 1 line\n\nDone."


async def test_a_use_that_no_rule_allows_is_denied_at_once_and_counted(
    tools_gateway: Gateway,
) -> None:
    async def bash_counts() -> dict[str, int]:
        answer = await tools_gateway.http.get("/v1/tools/stats", headers=ALICE)
        counts: dict[str, int] = answer.json()["tools"].get("Bash", {})
        return {name: counts.get(name, 0) for name in ("uses", "errors", "denials")}

    before = await bash_counts()
    steps = script(bash("touch x"), bash("echo secret"), bash("echo hi"))
    reported = message(await ask(tools_gateway, steps, **SHARED))
    denied, disallowed, done = reported["claude_activity"]
    assert [u["status"] for u in (denied, disallowed, done)] == ["failed", "failed", "finished"]
    assert disallowed["result"].startswith("Permission to use Bash with command echo secret")
    assert denied["result"].startswith("Permission to use Bash has been denied")
    assert "Bash: touch x → failed: Permission to use Bash" in reported["reasoning_content"]
    after = await bash_counts()
    assert {name: after[name] - before[name] for name in after} == {
        "uses": 3,
        "errors": 2,
        "denials": 2,
    }
    others = (await tools_gateway.http.get("/v1/tools/stats", headers=OPERATOR)).json()
    assert others["total"] == {"uses": 0, "errors": 0, "denials": 0}


async def test_a_use_whose_answer_is_given_again_counts_once(tools_gateway: Gateway) -> None:
    async def uses() -> int:
        answer = await tools_gateway.http.get("/v1/tools/stats", headers=ALICE)
        count: int = answer.json()["total"]["uses"]
        return count

    before = await uses()
    for statuses in ({"new", "continued"}, {"repeated"}):
        answer = await ask(
            tools_gateway,
            script(bash("echo hi")),
            {"Idempotency-Key": "once"},
            **SHARED,
        )
        assert answer.headers["x-session-status"] in statuses
        assert len(message(answer)["claude_activity"]) == 1
    assert await uses() == before + 1


REFUSED: list[tuple[dict[str, Any], dict[str, str], tuple[int, str, str]]] = [
    (
        {"claude_tools": ["edit_file"]},
        {},
        (
            403,
            "tools_not_allowed",
            "The tool Edit (edit_file) is not allowed here. Allowed: Read, Write, Bash.",
        ),
    ),
    ({"web_search_options": {}}, {}, (403, "tools_not_allowed", "The tool WebSearch")),
    ({"claude_tools": ["Frob"]}, {}, (400, "invalid_value", "'Frob' is not one of Claude Code's")),
    ({"enable_tools": True, "max_turns": 5}, {}, (400, "invalid_value", "`max_turns` may be 4")),
    ({}, {"X-Claude-Tools": "Agent"}, (403, "tools_not_allowed", "The tool Agent")),
    ({}, {"X-Claude-Max-Turns": "0"}, (400, "invalid_value", "")),
    ({"claude_tools": "," * 5000}, {}, (400, "invalid_value", "")),
    ({}, {"X-Claude-Tools": "," * 5000}, (400, "invalid_value", "")),
    (
        {"enable_tools": True},
        {"X-Claude-Permission-Mode": "bypassPermissions"},
        (403, "tools_not_allowed", "`bypassPermissions` is not available"),
    ),
]


@pytest.mark.parametrize(("fields", "headers", "expected"), REFUSED)
async def test_what_is_not_allowed_is_refused_in_clear_words(
    tools_gateway: Gateway,
    fields: dict[str, Any],
    headers: dict[str, str],
    expected: tuple[int, str, str],
) -> None:
    status, code, words = refusal(await ask(tools_gateway, "Hi", headers, **fields))
    assert (status, code) == expected[:2]
    assert words.startswith(expected[2])
    assert not tools_gateway.upstream.requests


async def test_a_limit_ends_the_turn_with_what_there_is(tools_gateway: Gateway) -> None:
    steps = script(*[("Read", {"file_path": "a.txt"})] * 4)
    answer = await ask(tools_gateway, steps, claude_tools=["Read"], max_turns=2)
    choice = answer.json()["choices"][0]
    assert (choice["finish_reason"], choice["claude_stop_reason"]) == ("length", "max_turns")
    assert choice["message"]["reasoning_content"].endswith("max_turns = 2.")
    assert len(tools_gateway.upstream.requests) == 2


async def test_functions_and_own_tools_work_in_one_request(tools_gateway: Gateway) -> None:
    function = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    steps = script(("Read", {"file_path": "a.txt"}), ("weather", {}))
    answer = await ask(tools_gateway, steps, claude_tools=["Read"], tools=[function])
    reported = message(answer)
    assert answer.json()["choices"][0]["finish_reason"] == "tool_calls"
    assert [call["function"]["name"] for call in reported["tool_calls"]] == ["weather"]
    assert [entry["name"] for entry in reported["claude_activity"]] == ["Read"]
    assert received_tools(tools_gateway) == ["Read", "weather"]
    taken = {"type": "function", "function": {"name": "Read", "parameters": {}}}
    refused = await ask(tools_gateway, "Hi", claude_tools=["Read"], tools=[taken])
    assert refusal(refused)[:2] == (400, "invalid_value")


async def test_the_catalogue_says_what_the_caller_may_use(tools_gateway: Gateway) -> None:
    answer = await tools_gateway.http.get("/v1/tools", headers=ALICE)
    tools = {tool["name"]: tool for tool in answer.json()["data"]}
    assert [name for name, tool in tools.items() if tool["allowed"]] == ["Read", "Write", "Bash"]
    assert tools["Bash"]["rules"] == ["Bash(echo *)"]
    assert tools["Bash"]["risk"] == "execute"
    assert tools["Bash"]["input_schema"]["required"] == ["command"]
    assert tools["Edit"]["why_not"] == "The tool Edit (edit_file) is not allowed here."
    assert tools["Read"]["why_not"] is None


async def test_the_catalogue_says_whether_commands_run_in_a_sandbox(
    tools_gateway: Gateway,
) -> None:
    missing = missing_for_sandbox()
    answer = await tools_gateway.http.get("/v1/tools", headers=ALICE)
    assert answer.json()["sandbox"] == {"active": missing is None, "why_not": missing}


async def test_an_operator_changes_what_is_allowed_from_the_next_request_on(
    tools_gateway: Gateway,
) -> None:
    http = tools_gateway.http
    change = {"key": "alice", "allowed_tools": "Glob, run_command(git *)"}
    for method, body in (("GET", None), ("PUT", change)):
        other = await http.request(method, CONFIG, json=body, headers=ALICE)
        assert refusal(other)[:2] == (403, "not_the_operator")
    changed = await http.put(CONFIG, json=change, headers=OPERATOR)
    assert changed.json() == {
        "object": "tools.config",
        "settings": {
            "allowed_tools": ["Read", "Write", "Bash(echo *)"],
            "disallowed_tools": ["Bash(echo secret*)"],
        },
        "server": None,
        "keys": {"alice": {"allowed_tools": ["Glob", "Bash(git *)"], "disallowed_tools": []}},
        "session": None,
    }
    try:
        assert refusal(await ask(tools_gateway, "Hi", claude_tools=["Read"]))[0] == 403
        message(await ask(tools_gateway, "Hi", enable_tools=True))
        assert received_tools(tools_gateway) == ["Bash", "Glob"]
    finally:
        dropped = await http.put(CONFIG, json={"key": "alice"}, headers=OPERATOR)
    assert dropped.json()["keys"] == {}


async def test_a_session_has_rules_of_its_own(tools_gateway: Gateway) -> None:
    http = tools_gateway.http
    await http.post("/v1/sessions", json={"id": "ruled"}, headers=ALICE)
    change = {"key": "alice", "session_id": "ruled", "allowed_tools": ["Grep"]}
    changed = await http.put(CONFIG, json=change, headers=OPERATOR)
    assert changed.json()["session"] == {"allowed_tools": ["Grep"], "disallowed_tools": []}
    listed = await http.get("/v1/tools", params={"session_id": "ruled"}, headers=ALICE)
    assert [tool["name"] for tool in listed.json()["data"] if tool["allowed"]] == ["Grep"]
    message(await ask(tools_gateway, "Hi", session_id="ruled", enable_tools=True))
    assert received_tools(tools_gateway) == ["Grep"]
    gone = {**change, "session_id": "never-was"}
    assert (await http.put(CONFIG, json=gone, headers=OPERATOR)).status_code == 404


BAD_CHANGES: list[tuple[dict[str, Any], int]] = [
    ({"allowed_tools": ["Frob"]}, 400),
    ({"allowed_tools": ["mcp__calc"]}, 400),
    ({"key": "nobody", "allowed_tools": []}, 404),
    ({"allow": ["Read"]}, 400),
]


@pytest.mark.parametrize(("change", "status"), BAD_CHANGES)
async def test_a_change_that_means_nothing_is_refused(
    tools_gateway: Gateway, change: dict[str, Any], status: int
) -> None:
    answer = await tools_gateway.http.put(CONFIG, json=change, headers=OPERATOR)
    assert answer.status_code == status, answer.text


async def test_a_request_is_explained_with_what_it_is_granted(tools_gateway: Gateway) -> None:
    body = asking("Hi", enable_tools=True, max_turns=3)
    headers = {**ALICE, "X-Claude-Disallowed-Tools": "Read"}
    report = await tools_gateway.http.post("/v1/debug/request", json=body, headers=headers)
    assert report.json()["builtin_tools"] == {
        "tools": ["Write", "Bash"],
        "allow": ["Write", "Bash(echo *)"],
        "deny": ["Bash(echo secret*)"],
        "permission_mode": "default",
        "max_turns": 3,
        "max_budget_usd": None,
        "mcp_servers": [],
    }
    body["claude_tools"] = ["Edit"]
    report = await tools_gateway.http.post("/v1/debug/request", json=body, headers=headers)
    assert report.json()["failure"]["error"]["code"] == "tools_not_allowed"


async def test_a_server_that_others_reach_without_a_key_refuses_all_tools(
    upstream: FakeAnthropic, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "allow_unprotected": True,
        "allowed_tools": ("all",),
        "pool_warm": 0,
    }
    async with gateway_at(upstream, tmp_path, **settings) as gateway:
        asked: list[dict[str, Any]] = [{"enable_tools": True}, {"mcp_servers": ["x"]}]
        for fields in (*asked, {"web_search_options": {}}):
            status, code, words = refusal(await ask(gateway, "Hi", **fields))
            assert (status, code) == (403, "tools_not_allowed")
            assert "without an API key" in words
        changed = await gateway.http.put(CONFIG, json={"allowed_tools": ["Bash"]})
        assert changed.status_code == 403
        tools = (await gateway.http.get("/v1/tools")).json()["data"]
        assert {tool["allowed"] for tool in tools} == {False}
        assert not upstream.requests


async def test_what_an_operator_set_outlives_the_server(
    upstream: FakeAnthropic, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"database_url": f"sqlite:///{tmp_path}/s.db", "pool_warm": 0}
    async with gateway_at(upstream, tmp_path, **settings) as gateway:
        change = {"allowed_tools": ["Grep"], "disallowed_tools": ["Bash"]}
        changed = await gateway.http.put(CONFIG, json=change)
        assert changed.status_code == 200, changed.text
    async with gateway_at(upstream, tmp_path, **settings) as gateway:
        assert (await gateway.http.get(CONFIG)).json()["server"] == change
        tools = (await gateway.http.get("/v1/tools")).json()["data"]
        assert [tool["name"] for tool in tools if tool["allowed"]] == ["Grep"]
