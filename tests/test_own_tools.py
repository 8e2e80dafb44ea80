"""Claude Code's own tools through the engine: the real CLI works in real directories."""

from __future__ import annotations

import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

from events import (
    Event,
    Finished,
    FunctionTool,
    Message,
    OwnToolResult,
    OwnTools,
    OwnToolUse,
    Reply,
    Turn,
    text_block,
)
from tests.harness import Gateway

MODEL = "claude-sonnet-5"
Step = tuple[str, dict[str, Any]]
WEATHER = FunctionTool(
    "weather", "", {"type": "object", "properties": {"city": {"type": "string"}}}
)


def granted(directory: Path | None, *tools: str, **fields: Any) -> OwnTools:
    allow = fields.pop("allow", tools)
    return OwnTools(tools, allow, directory=directory and str(directory), **fields)


def script(*steps: list[Step] | Step, text: str = "Done.", **more: str) -> str:
    """What makes the demo model use these tools, one list of them after the other."""
    rounds = [step if isinstance(step, list) else [step] for step in steps]
    calls = [[{"name": name, "input": given} for name, given in step] for step in rounds]
    extra = "".join(f" {key}={value}" for key, value in more.items())
    return f"!demo steps={json.dumps(calls)} text={json.dumps(text)}{extra}\nPlease."


def bash(command: str, **fields: Any) -> Step:
    return "Bash", {"command": command, "description": "a command", **fields}


def asked(text: str, own: OwnTools, *before: Message, **fields: Any) -> Turn:
    messages = (*before, Message("user", (text_block(text),)))
    return Turn(MODEL, messages, own_tools=own, **fields)


async def run(gateway: Gateway, turn: Turn) -> list[Event]:
    async with aclosing(gateway.engine.run(turn)) as events:
        return [event async for event in events]


def results(events: list[Event]) -> list[tuple[bool, str]]:
    return [
        (event.is_error, "".join(part["text"] for part in event.content if part["type"] == "text"))
        for event in events
        if isinstance(event, OwnToolResult)
    ]


def finished(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


async def test_claude_reads_edits_runs_and_answers(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("hello world\n")
    edit = {"file_path": "README.md", "old_string": "hello", "new_string": "goodbye"}
    text = script(("Read", {"file_path": "README.md"}), ("Edit", edit), bash("cat README.md"))
    events = await run(gateway, asked(text, granted(tmp_path, "Read", "Edit", "Bash")))
    assert [event.name for event in events if isinstance(event, OwnToolUse)] == [
        "Read",
        "Edit",
        "Bash",
    ]
    assert [error for error, _ in results(events)] == [False, False, False]
    assert results(events)[2][1] == "goodbye world"
    assert (tmp_path / "README.md").read_text() == "goodbye world\n"
    assert Reply.of(events).text == "Done."
    assert finished(events).reason == "end_turn"


async def test_usage_and_cost_are_of_all_answers_in_the_turn(
    gateway: Gateway, tmp_path: Path
) -> None:
    text = script(bash("true"), bash("true"), input="100")
    done = finished(await run(gateway, asked(text, granted(tmp_path, "Bash"))))
    assert done.usage.input_tokens == 300
    assert done.cost_usd is not None
    assert done.cost_usd > 300 * 2e-6


async def test_the_callers_words_arrive_beside_one_note_on_the_environment(
    gateway: Gateway, tmp_path: Path
) -> None:
    own = granted(tmp_path, "Read")
    await run(gateway, asked("Hello.", own, system="You are Bob."))
    body = gateway.upstream.requests[-1].body
    assert [block["text"] for block in body["system"]][1:] == ["You are Bob."]
    assert [tool["name"] for tool in body["tools"]] == ["Read"]
    assert [block["text"] for block in body["messages"][0]["content"]] == ["Hello."]
    notes = json.dumps(body["messages"][1:])
    assert str(tmp_path) in notes
    assert "Co-Authored-By" not in json.dumps(body)
