"""Files of agents: what they say, and where what is wrong in them is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project.test_architecture import ROOT
from toolbox.agent_files import AgentError, read_agent
from toolbox.agents import CLAUDE_CODE, Agents, Problem, read_agents

WHOLE = """\
---
description: Looks after the repository
model: opus
effort: max
preset: claude_code
tools: Read, Bash(git *), run_command(make *)
ask: [Write, mcp__calc__add]
deny: Bash(rm *)
mcp_servers: calc
sub_agents: {}
workspace: repo
max_turns: 7
max_budget_usd: 0.5
timeout_seconds: 60
activity: none
keys: [alice, ci]
---

You look after it.

---
Really.
"""


def written(folder: Path, text: str, name: str = "helper.md") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_every_field_is_read(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    agent = read_agent(written(tmp_path, WHOLE), tmp_path)
    assert agent.name == "helper"
    assert (agent.description, agent.model) == ("Looks after the repository", "opus")
    assert (agent.effort, agent.claude_code) == ("max", True)
    assert agent.tools == ("Read", "Bash(git *)", "Bash(make *)")
    assert agent.ask == ("Write", "mcp__calc__add")
    assert agent.tool_names == ("Read", "Bash", "Write")
    assert agent.deny == ("Bash(rm *)",)
    assert agent.mcp_servers == ("calc",)
    assert agent.workspace == tmp_path / "repo"
    assert (agent.max_turns, agent.max_budget_usd, agent.timeout_seconds) == (7, 0.5, 60)
    assert agent.activity == "none"
    assert agent.keys == frozenset({"alice", "ci"})
    assert agent.prompt == "You look after it.\n\n---\nReally."


def test_a_description_is_enough(tmp_path: Path) -> None:
    agent = read_agent(written(tmp_path, "---\ndescription: A voice\n---"), tmp_path)
    assert (agent.tools, agent.workspace, agent.keys, agent.prompt) == ((), None, None, "")


def test_all_tools_are_all_that_are_allowed(tmp_path: Path) -> None:
    text = "---\ndescription: Everything\ntools: all\n---"
    assert read_agent(written(tmp_path, text), tmp_path).tools is None


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "must begin with a line ---"),
        ("Hello", 1, "must begin with a line ---"),
        ("---\ndescription: x\n", 2, "the front matter has no end: a line --- is missing"),
        ("---\n- a\n---", 2, "must be fields such as `description: …`"),
        ("---\n---", 2, "must be fields such as `description: …`"),
        ("---\ndescription: x\ntools: [Read\n---", 3, "expected ',' or ']', but got"),
        ("---\ndescription: x\nmodel: a\nfoo: 1\n---", 4, "foo: is not a field: name, descr"),
        ("---\nmodel: sonnet\n---", 2, "description: Field required"),
        ("---\ndescription: x\ntools:\n  - Fly\n---", 3, "tools: 'Fly' is not one of Claude"),
        ("---\ndescription: x\ntools: mcp__calc\n---", 3, "tools: 'mcp__calc' belongs under"),
        ("---\ndescription: x\nask: Bash(rm *)\n---", 3, "ask: 'Bash(rm *)': a tool is asked"),
        ("---\ndescription: x\nmax_turns: 0\n---", 3, "max_turns: Input should be greater"),
        ("---\ndescription: x\nmax_budget_usd: .nan\n---", 3, "max_budget_usd: Input should"),
        ("---\ndescription: x\nworkspace: gone\n---", 3, "workspace: there is no directory"),
        ("---\ndescription: x\nworkspace: .sessions/a\n---", 3, "workspace: there is no direc"),
        ("---\ndescription: x\nname: a b\n---", 3, "name: must be 1 to 64 letters"),
        ("---\ndescription: x\nread_only: on\ntools: Edit\n---", 2, "read_only does not go wit"),
        ("---\ndescription: x\ndeny: 2020-02-31\n---", 2, "holds a value that YAML cannot read"),
        (
            "---\ndescription: x\ntools: Agent\nsub_agents:\n  a:\n    description: y\n---",
            5,
            "sub_agents.a.prompt: Field required",
        ),
        (
            "---\ndescription: x\nsub_agents: {a: {description: y, prompt: z}}\n---",
            2,
            "sub_agents need the tool Agent",
        ),
        (
            "---\ndescription: x\ntools: Read\nplan: true\n---",
            2,
            "plan needs the tool Write, by which the plan is written down",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    (tmp_path / ".sessions" / "a").mkdir(parents=True)
    with pytest.raises(AgentError) as raised:
        read_agent(written(tmp_path, text), tmp_path)
    assert (raised.value.line, raised.value.reason[: len(reason)]) == (line, reason)


def test_a_bad_file_leaves_the_others(tmp_path: Path) -> None:
    written(tmp_path, "---\ndescription: x\n---", "good.md")
    written(tmp_path, "---\ndescription: y\nname: GOOD\n---", "other.md")
    written(tmp_path, "no front matter", "bad.md")
    (tmp_path / "binary.md").write_bytes(b"\xff\xfe")
    (tmp_path / "folder.md").mkdir()
    written(tmp_path, "about the folder", "README.md")
    found = read_agents(tmp_path, tmp_path)
    assert [*found.agents] == ["claude-code", "good"]
    assert [str(problem) for problem in found.problems] == [
        "bad.md, line 1: must begin with a line ---",
        "binary.md, line 1: is not UTF-8 text",
        "folder.md, line 1: cannot be read: Is a directory",
        "other.md, line 1: good.md has the name 'GOOD' too",
    ]


async def test_a_change_is_seen_within_a_second(tmp_path: Path) -> None:
    now = 0.0
    agents = Agents(tmp_path / "agents", tmp_path, clock=lambda: now)
    assert await agents.all() == (CLAUDE_CODE,)
    (tmp_path / "agents").mkdir()
    written(tmp_path / "agents", "---\ndescription: x\n---")
    assert await agents.find("helper") is None
    now = 1.1
    found = await agents.find("Helper")
    assert found is not None
    assert found.description == "x"
    written(tmp_path / "agents", "---\ndescription: longer\nnonsense: 1\n---")
    now = 2.2
    assert await agents.find("helper") is None
    assert [(problem.file, problem.line) for problem in agents.problems] == [("helper.md", 3)]
    assert isinstance(agents.problems[0], Problem)


def test_a_file_takes_the_place_of_claude_code(tmp_path: Path) -> None:
    written(tmp_path, "---\ndescription: Ours\n---", "claude-code.md")
    assert read_agents(tmp_path, tmp_path).agents["claude-code"].description == "Ours"


def test_the_examples_are_agents(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    found = read_agents(ROOT / "examples" / "agents", tmp_path)
    assert found.problems == ()
    assert {*found.agents} == {"claude-code", "repo-reader", "test-fixer", "web-researcher"}
