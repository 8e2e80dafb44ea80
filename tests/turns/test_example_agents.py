"""The agents of docs/agents.md, chosen like models, through the real CLI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from demo import FakeAnthropic
from tests.engine.test_builtin_tools import bash, script
from tests.support.harness import Gateway, gateway_at, system_texts
from tests.support.wire import URL, asking

AGENTS = Path(__file__).parents[2] / "examples" / "agents"
MAKEFILE = 'test:\n\t@grep -q fixed code.txt && echo "1 passed"\n'


@pytest.fixture
async def gateway(upstream: FakeAnthropic, tmp_path: Path) -> AsyncIterator[Gateway]:
    repository = tmp_path / "workspaces" / "repository"
    repository.mkdir(parents=True)
    (repository / "main.py").write_text("print('hello')\n")
    settings: dict[str, Any] = {"agents_dir": AGENTS, "allowed_tools": ("all",), "pool_warm": 0}
    async with gateway_at(upstream, tmp_path, approval_seconds=1, **settings) as running:
        yield running


async def answer(gateway: Gateway, agent: str, text: str, **fields: Any) -> dict[str, Any]:
    body = {**asking(text, **fields), "model": agent}
    response = await gateway.http.post(URL, json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["choices"][0]["message"]
    return found


def work(message: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["name"], entry["status"]) for entry in message["claude_activity"]]


async def test_all_are_in_the_list_of_models(gateway: Gateway) -> None:
    listed = (await gateway.http.get("/v1/models")).json()["data"]
    assert {"repo-reader", "test-fixer", "web-researcher"} <= {model["id"] for model in listed}


async def test_the_reader_reads_its_repository_and_cannot_change_it(gateway: Gateway) -> None:
    new = ("Write", {"file_path": "new.txt", "content": "no"})
    text = script(("Grep", {"pattern": "hello"}), ("Read", {"file_path": "main.py"}), new)
    message = await answer(gateway, "repo-reader", text)
    assert work(message)[:2] == [("Grep", "finished"), ("Read", "finished")]
    assert "print('hello')" in str(gateway.upstream.requests[-1].messages)
    root: Path = gateway.app.state.gateway.settings.workspace_root
    assert [path.name for path in (root / "repository").iterdir()] == ["main.py"]
    system = " ".join(system_texts(gateway.upstream.requests[0].body))
    assert "You answer questions about the repository" in system


async def test_the_fixer_makes_the_tests_pass_and_asks_for_other_commands(
    gateway: Gateway,
) -> None:
    await gateway.http.post("/v1/sessions", json={"id": "fix"})
    for name, content in {"Makefile": MAKEFILE, "code.txt": "broken\n"}.items():
        await gateway.http.put(f"/v1/sessions/fix/files/{name}", content=content.encode())
    edit = {"file_path": "code.txt", "old_string": "broken", "new_string": "fixed"}
    steps = [bash("make test"), ("Read", {"file_path": "code.txt"}), ("Edit", edit)]
    text = script(*steps, bash("make test"), bash("touch unasked.txt"))
    message = await answer(gateway, "test-fixer", text, session_id="fix")
    assert work(message) == [
        ("Bash", "failed"),
        ("Read", "finished"),
        ("Edit", "finished"),
        ("Bash", "finished"),
        ("Bash", "failed"),  # there was no approval in time
    ]
    assert "1 passed" in str(gateway.upstream.requests[-1].messages)
    changed = (await gateway.http.get("/v1/sessions/fix/changes")).json()["data"]
    assert [(file["path"], file["change"]) for file in changed] == [("code.txt", "modified")]


async def test_the_researcher_searches_and_lets_another_agent_check(gateway: Gateway) -> None:
    task = {
        "description": "Check it",
        "prompt": "!demo text=Supported.",
        "subagent_type": "fact-checker",
    }
    text = script(("WebSearch", {"query": "rivers"}), ("Agent", task), text="Found.")
    message = await answer(gateway, "web-researcher", text)
    assert message["content"].endswith("Found.")
    assert [name for name, _ in work(message)] == ["WebSearch", "Agent"]
    checking = [r for r in gateway.upstream.requests if "You are given one claim" in str(r.body)]
    assert checking
