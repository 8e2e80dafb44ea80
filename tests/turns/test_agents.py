"""Agents as models: a plain chat call works in a workspace, through the real CLI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo import FakeAnthropic
from tests.conftest import MakeGateway
from tests.engine.test_builtin_tools import bash, script
from tests.support.harness import Gateway, gateway_at
from tests.support.wire import MODEL, URL, asking, until

KEYS = "alice:sk-alice,bob:sk-bob"
HELPER = """\
---
description: Reads, changes and runs things in the repository
model: claude-sonnet-5
effort: low
tools: Read, Edit, Bash(cat *), Bash(wc *)
deny: Bash(cat secret*)
workspace: repository
max_turns: 5
---
You look after the repository.
"""
AGENTS = {
    "repo-helper": HELPER,
    "private": "---\ndescription: Bob's\nkeys: bob\n---\nYou are Bob's.",
    "preset": "---\ndescription: As Claude Code\npreset: claude_code\ntools: Read\n---\nBe brief.",
    "broken": "---\ndescription: x\nmodel: [\n---",
    "flier": "---\ndescription: Needs what is not allowed\ntools: WebFetch\n---",
    "delegating": """\
---
description: Has a second agent
tools: Read, Agent
sub_agents:
  reviewer: {description: Reviews, prompt: You review., tools: "Read, Bash"}
---
""",
    "in-session": "---\ndescription: In the session's directory\ntools: Write\n---",
}


@pytest.fixture(scope="module")
async def shared_agents(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    repository, folder = home / "workspaces" / "repository", home / "agents"
    repository.mkdir(parents=True)
    folder.mkdir()
    for name, text in AGENTS.items():
        (folder / f"{name}.md").write_text(text)
    settings: dict[str, Any] = {
        "agents_dir": folder,
        "allowed_tools": ("Read", "Edit", "Write", "Bash", "Agent"),
        "api_keys": KEYS,
        "pool_warm": 0,
    }
    async with gateway_at(shared_upstream, home, **settings) as gateway:
        gateway.http.headers["authorization"] = "Bearer sk-alice"
        yield gateway


@pytest.fixture
def gateway(shared_agents: Gateway, upstream: FakeAnthropic) -> Gateway:
    return shared_agents


@pytest.fixture
def repository(gateway: Gateway) -> Path:
    root: Path = gateway.app.state.gateway.settings.workspace_root
    (root / "repository" / "notes.txt").write_text("one\n")
    return root / "repository"


async def ask(gateway: Gateway, model: str, text: str, **fields: Any) -> httpx.Response:
    return await gateway.http.post(URL, json={**asking(text), **fields, "model": model})


def tool_names(gateway: Gateway) -> set[str]:
    return {tool["name"] for tool in gateway.upstream.requests[-1].body["tools"]}


def system(gateway: Gateway) -> str:
    blocks = gateway.upstream.requests[-1].body["system"]
    return "\n".join(block["text"] for block in blocks)


async def test_a_plain_chat_call_reads_edits_and_runs(gateway: Gateway, repository: Path) -> None:
    client = gateway.client.with_options(api_key="sk-alice")
    edit = {"file_path": "notes.txt", "old_string": "one", "new_string": "one and two"}
    text = script(("Read", {"file_path": "notes.txt"}), ("Edit", edit), bash("wc -w notes.txt"))
    stream = await client.chat.completions.create(
        model="repo-helper", messages=[{"role": "user", "content": text}], stream=True
    )
    said, work = "", ""
    async for chunk in stream:
        for choice in chunk.choices:
            said += choice.delta.content or ""
            work += (choice.delta.model_extra or {}).get("reasoning_content") or ""
    assert said == "Done."
    assert (repository / "notes.txt").read_text() == "one and two\n"
    assert [name in work for name in ("Read", "Edit", "Bash")] == [True] * 3
    assert "3 notes.txt" in str(gateway.upstream.requests[-1].messages)
    assert tool_names(gateway) == {"Read", "Edit", "Bash"}
    assert "You look after the repository." in system(gateway)
    assert gateway.upstream.requests[-1].body["model"] == MODEL
    assert gateway.upstream.requests[-1].body["output_config"] == {"effort": "low"}


async def test_what_the_agent_does_not_allow_does_not_run(
    gateway: Gateway, repository: Path
) -> None:
    (repository / "secret.txt").write_text("hush")
    text = script(bash("touch made.txt"), bash("cat secret.txt"))
    answer = await ask(gateway, "repo-helper", text)
    assert answer.status_code == 200
    assert not (repository / "made.txt").exists()
    assert "hush" not in str(gateway.upstream.requests[-1].body)


async def test_a_client_can_take_tools_away_and_not_add_any(
    gateway: Gateway, repository: Path
) -> None:
    fields = {"claude_tools": ["Write", "Read"], "disallowed_tools": ["Bash"]}
    assert (await ask(gateway, "repo-helper", "hi", **fields)).status_code == 200
    assert tool_names(gateway) == {"Read", "Edit"}


async def test_the_client_has_its_say_beside_the_agent(gateway: Gateway, repository: Path) -> None:
    messages = [
        {"role": "system", "content": "Answer in French."},
        {"role": "user", "content": "weather"},
    ]
    function = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]
    body = {"model": "repo-helper", "messages": messages, "tools": tools}
    answer = await gateway.http.post(URL, json={**body, "reasoning_effort": "high"})
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert system(gateway).index("You look after") < system(gateway).index("Answer in French.")
    assert tool_names(gateway) == {"Read", "Edit", "Bash", "weather"}
    assert gateway.upstream.requests[-1].body["output_config"] == {"effort": "high"}


async def test_the_preset_is_claude_codes_own_prompt_and_the_agents_behind_it(
    gateway: Gateway,
) -> None:
    await ask(gateway, "preset", "hi")
    assert len(system(gateway)) > 1000
    assert system(gateway).rstrip().endswith("Be brief.")


async def test_a_session_keeps_the_agents_files_and_not_its_prompt(gateway: Gateway) -> None:
    fields = {"session_id": "agent-session"}
    write = ("Write", {"file_path": "a.txt", "content": "A"})
    assert (await ask(gateway, "in-session", script(write), **fields)).status_code == 200
    assert (await ask(gateway, "in-session", "!demo recall", **fields)).status_code == 200
    assert "tool_use" in str(gateway.upstream.requests[-1].messages)
    file = await gateway.http.get("/v1/sessions/agent-session/files/a.txt")
    assert file.text == "A"
    session = await gateway.http.get("/v1/sessions/agent-session")
    assert session.json()["system_prompt"] is None


async def test_a_second_agent_has_no_tool_that_the_first_has_not(gateway: Gateway) -> None:
    use = {"description": "d", "prompt": "review it", "subagent_type": "reviewer"}
    await ask(gateway, "delegating", script(("Agent", use)))
    asked = [request.body for request in gateway.upstream.requests]
    second = next(body for body in asked if "You review." in str(body["system"]))
    assert {tool["name"] for tool in second["tools"]} == {"Read"}


async def test_a_session_whose_files_are_too_many_bytes_gets_no_further_turn(
    upstream: FakeAnthropic, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"allowed_tools": ("Write",), "max_workspace_bytes": 10_000}
    async with gateway_at(upstream, tmp_path, pool_warm=0, **settings) as gateway:
        write = ("Write", {"file_path": "a.txt", "content": "A" * 20_000})
        fields = {"session_id": "large"}
        assert (await ask(gateway, "claude-code", script(write), **fields)).status_code == 200
        upstream.clear()
        answer = await ask(gateway, "claude-code", "hi", **fields)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "session_too_large")
        assert not upstream.requests


async def test_an_agent_that_runs_commands_without_a_sandbox_says_so(
    upstream: FakeAnthropic, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"allowed_tools": ("Bash",), "sandbox": "off"}
    async with gateway_at(upstream, tmp_path, pool_warm=0, **settings) as gateway:
        shown = await gateway.http.get("/v1/models/claude-code")
        assert shown.json()["description"].endswith("(Runs commands without a sandbox.)")


async def test_the_list_has_the_agents_that_a_key_may_use(gateway: Gateway) -> None:
    for_alice = await gateway.http.get("/v1/models")
    agents = {m["id"]: m for m in for_alice.json()["data"] if m["owned_by"] == "agents"}
    assert {*agents} == {"claude-code", "repo-helper", "preset", "delegating", "in-session"}
    assert agents["repo-helper"]["description"].startswith("Reads, changes and runs")
    headers = {"authorization": "Bearer sk-bob"}
    for_bob = await gateway.http.get("/v1/models", headers=headers)
    assert "private" in {model["id"] for model in for_bob.json()["data"]}
    one = await gateway.http.get("/v1/models/Repo-Helper")
    assert one.json() == agents["repo-helper"]


@pytest.mark.parametrize(
    ("model", "fields", "code"),
    [
        ("private", {}, "model_not_found"),
        ("broken", {}, "model_not_found"),
        ("flier", {}, "tools_not_allowed"),
        ("repo-helper", {"cwd": "other"}, "path_not_allowed"),
        ("repo-helper", {"enable_tools": False}, "invalid_value"),
        ("repo-helper", {"n": 2}, "invalid_value"),
        ("repo-helper", {"max_turns": 1000}, "ok"),
    ],
)
async def test_what_is_refused_is_refused_before_the_model_is_asked(
    gateway: Gateway, model: str, fields: dict[str, Any], code: str
) -> None:
    answer = await ask(gateway, model, "hi", **fields)
    if code == "ok":
        assert answer.status_code == 200
        return
    assert answer.json()["error"]["code"] == code
    assert not gateway.upstream.requests


async def test_the_messages_api_has_the_agents_too(gateway: Gateway, repository: Path) -> None:
    text = script(("Read", {"file_path": "notes.txt"}))
    body = {"model": "repo-helper", "max_tokens": 500}
    headers = {"anthropic-version": "2023-06-01", "x-api-key": "sk-alice"}
    messages = [{"role": "user", "content": text}]
    answer = await gateway.http.post(
        "/v1/messages", json={**body, "messages": messages}, headers=headers
    )
    assert [b["text"] for b in answer.json()["content"] if b["type"] == "text"] == ["Done."]
    assert "You look after the repository." in system(gateway)
    assert "one" in str(gateway.upstream.requests[-1].messages)
    counted = {"model": "repo-helper", "messages": messages}
    count = await gateway.http.post("/v1/messages/count_tokens", json=counted, headers=headers)
    assert count.json()["input_tokens"] > 0
    listed = await gateway.http.get("/v1/models?limit=100", headers=headers)
    assert "repo-helper" in {model["id"] for model in listed.json()["data"]}


async def test_the_responses_api_has_the_agents_too(gateway: Gateway, repository: Path) -> None:
    client = gateway.client.with_options(api_key="sk-alice")
    text = script(("Read", {"file_path": "notes.txt"}))
    answer = await client.responses.create(model="repo-helper", input=text)
    assert answer.output_text == "Done."
    assert "You look after the repository." in system(gateway)
    again = await client.responses.create(
        model="repo-helper", input="!demo recall", previous_response_id=answer.id
    )
    assert '["assistant", "Done."], ["user", "!demo recall"]' in again.output_text
    assert tool_names(gateway) == {"Read", "Edit", "Bash"}


async def test_a_prompt_to_be_completed_is_not_an_agents_to_answer(gateway: Gateway) -> None:
    body = {"model": "repo-helper", "prompt": "Once upon a time"}
    answer = await gateway.http.post("/v1/completions", json=body)
    assert answer.status_code == 400
    assert not gateway.upstream.requests


async def test_claude_code_is_there_where_tools_are_allowed(gateway: Gateway) -> None:
    assert (await ask(gateway, "claude-code", "hi")).status_code == 200
    assert tool_names(gateway) == {"Read", "Edit", "Write", "Bash", "Agent"}
    assert len(system(gateway)) > 1000


async def test_a_preview_shows_what_the_agent_is_granted(gateway: Gateway) -> None:
    shown = await gateway.http.post(
        "/v1/debug/request", json={**asking("hi"), "model": "repo-helper"}
    )
    assert shown.status_code == 200
    assert "Bash(wc *)" in shown.text


async def test_a_process_is_ready_for_the_second_turn_of_an_agent(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    """Of one in a session the process itself stays."""
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "in-session.md").write_text(AGENTS["in-session"])
    settings: dict[str, Any] = {"agents_dir": folder, "allowed_tools": ("Write",), "pool_warm": 1}
    async with make_gateway(**settings, max_processes=4) as gateway:
        pool = gateway.engine.pool

        def ready() -> list[int]:
            return [s.worker.describe()["pid"] for s in pool.in_state("blank") if s.kind]

        assert (await ask(gateway, "in-session", "one")).status_code == 200
        await until(lambda: len(ready()) == 1)
        [pid] = ready()
        stream = await gateway.client.chat.completions.create(
            model="in-session",
            messages=[{"role": "user", "content": "!demo tokens=50 rate=50"}],
            stream=True,
        )
        await anext(aiter(stream))
        assert [slot.worker.describe()["pid"] for slot in pool.in_state("busy")] == [pid]
        await stream.close()
        assert (await ask(gateway, "in-session", "two", session_id="s")).status_code == 200
        assert [s.kind is not None for s in pool.in_state("idle")] == [True]
