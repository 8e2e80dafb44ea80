"""Claude Code's own tools through the engine: the real CLI works in real directories."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from errors import UpstreamError
from events import (
    Event,
    Finished,
    FunctionTool,
    Message,
    OwnToolResult,
    OwnTools,
    OwnToolUse,
    Reply,
    ToolCallStart,
    Turn,
    text_block,
)
from process_tree import MARK
from sandbox import missing_for_sandbox
from session_answer import NativeAnswer
from tests.conftest import MakeGateway
from tests.harness import Gateway

MODEL = "claude-sonnet-5"
Step = tuple[str, dict[str, Any]]
PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)
WEATHER = FunctionTool(
    "weather", "", {"type": "object", "properties": {"city": {"type": "string"}}}
)


def granted(directory: Path | None, *tools: str, **fields: Any) -> OwnTools:
    allow = fields.pop("allow", tools)
    return OwnTools(tools, allow, directory=str(directory) if directory else None, **fields)


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


def answered(events: list[Event]) -> Any:
    """The message that a session keeps."""
    answer = NativeAnswer()
    for event in events:
        answer.feed(event)
    return answer.message()


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


async def test_usage_counts_what_sub_agents_ask_once(gateway: Gateway, tmp_path: Path) -> None:
    own = granted(tmp_path, "Agent", "Bash")
    work = script(bash("true"), input="1000")
    agent = {"description": "some work", "prompt": work, "subagent_type": "general-purpose"}
    text = script(("Agent", agent), ("weather", {}), bash("true"), input="10")
    first = await run(gateway, asked(text, own, tools=(WEATHER,)))
    assert finished(first).reason == "tool_use"
    assert finished(first).usage.input_tokens == 10 + 2 * 1000 + 10
    said, result = answered(first), [text_block("sunny")]
    taken: Any = {"type": "tool_result", "tool_use_id": said.content[-1]["id"], "content": result}
    turn = asked(text, own, tools=(WEATHER,))
    held = replace(turn, messages=(*turn.messages, said, Message("user", (taken,))))
    assert finished(await run(gateway, held)).usage.input_tokens == 10 + 10


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


def names_in(directory: Path) -> list[str] | None:
    """What stands there; None where there is no such directory. The sandbox leaves `.claude`."""
    if not directory.exists():
        return None
    return sorted(path.name for path in directory.iterdir() if path.name != ".claude")


async def test_file_tools_stay_in_their_directory(gateway: Gateway, tmp_path: Path) -> None:
    work, outside = tmp_path / "work", tmp_path / "outside"
    work.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (work / "link.txt").symlink_to(outside / "secret.txt")
    (work / "linked").symlink_to(outside)
    steps: list[Step] = [
        ("Read", {"file_path": f"{outside}/secret.txt"}),
        ("Read", {"file_path": "../outside/secret.txt"}),
        ("Read", {"file_path": "link.txt"}),
        ("Write", {"file_path": "linked/new.txt", "content": "x"}),
        ("Glob", {"pattern": "*", "path": str(outside)}),
        ("Grep", {"pattern": "s", "path": f"{outside}/secret.txt"}),
    ]
    own = granted(work, "Read", "Write", "Glob", "Grep")
    outcomes = results(await run(gateway, asked(script(*steps), own)))
    assert [is_error for is_error, _ in outcomes] == [True] * len(steps)
    for _, said in outcomes:
        assert "is outside" in said
    assert names_in(outside) == ["secret.txt"]


async def test_what_no_rule_allows_is_denied_at_once(gateway: Gateway, tmp_path: Path) -> None:
    text = script(bash("touch made"), bash("git --version"), ("Write", {"file_path": "x"}))
    own = granted(tmp_path, "Bash", "Write", allow=("Bash(git *)",), deny=("Write",))
    outcomes = results(await run(gateway, asked(text, own)))
    assert [is_error for is_error, _ in outcomes] == [True, False, True]
    assert "denied" in outcomes[0][1]
    assert outcomes[1][1].startswith("git version")
    assert "No such tool" in outcomes[2][1]
    assert not (tmp_path / "made").exists()


async def test_plan_mode_changes_nothing(gateway: Gateway, tmp_path: Path) -> None:
    text = script(("Write", {"file_path": "x", "content": "x"}))
    own = granted(tmp_path, "Write", permission_mode="plan")
    [(is_error, _)] = results(await run(gateway, asked(text, own)))
    assert is_error
    assert names_in(tmp_path) == []


async def test_the_limit_of_turns_ends_with_what_there_is(gateway: Gateway, tmp_path: Path) -> None:
    text = script(bash("echo 1"), bash("echo 2"), bash("echo 3"), say='"Working."')
    events = await run(gateway, asked(text, granted(tmp_path, "Bash", max_turns=2)))
    assert [said for _, said in results(events)] == ["1", "2"]
    assert finished(events).reason == "max_turns"
    assert finished(events).cost_usd
    assert Reply.of(events).text == "Working.\n\nWorking."


async def test_the_budget_ends_with_what_there_is(gateway: Gateway, tmp_path: Path) -> None:
    own = granted(tmp_path, "Bash", max_budget_usd=0.000001)
    events = await run(gateway, asked(script(bash("echo 1")), own))
    assert finished(events).reason == "max_budget"
    assert finished(events).cost_usd


async def test_a_limit_of_tokens_ends_the_turn(gateway: Gateway, tmp_path: Path) -> None:
    turn = asked("!demo tokens=50\nCount.", granted(tmp_path, "Read"))
    events = await run(gateway, replace(turn, sampling=replace(turn.sampling, max_tokens=3)))
    assert finished(events).reason == "max_tokens"
    assert Reply.of(events).text == "word1 word2 word3 "


async def test_a_command_over_its_time_is_ended(make_gateway: MakeGateway, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    async with make_gateway(command_timeout_seconds=1, sandbox="off") as gateway:
        text = script(bash("echo begun; python3 -c 'import time; time.sleep(60)'"))
        [(is_error, said)] = results(await run(gateway, asked(text, granted(work, "Bash"))))
    assert is_error
    assert "timed out" in said


async def test_a_command_sees_no_credentials(gateway: Gateway, tmp_path: Path) -> None:
    text = script(bash("env | sort; echo ---; echo $ANTHROPIC_API_KEY"))
    [(_, said)] = results(await run(gateway, asked(text, granted(tmp_path, "Bash"))))
    assert "PATH=" in said
    assert "ANTHROPIC_" not in said
    assert "sk-ant" not in said


@pytest.mark.skipif(missing_for_sandbox() is not None, reason=str(missing_for_sandbox()))
async def test_in_the_sandbox_a_command_writes_only_in_its_directory(
    gateway: Gateway, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    text = script(bash("touch inside; touch ../outside; curl -sm2 http://127.0.0.1:1; echo $?"))
    [(_, said)] = results(await run(gateway, asked(text, granted(work, "Bash"))))
    assert "Read-only file system" in said
    assert (work / "inside").exists()
    assert not (tmp_path / "outside").exists()


async def test_without_a_directory_it_works_in_one_that_goes_with_the_process(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway() as gateway:
        text = script(bash("pwd; echo x > made.txt"), ("Read", {"file_path": "made.txt"}))
        outcomes = results(await run(gateway, asked(text, granted(None, "Bash", "Read"))))
        directory = Path(outcomes[0][1].strip())
        assert "x" in outcomes[1][1]
        assert names_in(directory) == ["made.txt"]
    assert names_in(directory) is None


async def test_the_same_conversation_goes_on_in_its_process_and_no_other_does(
    gateway: Gateway,
) -> None:
    own = granted(None, "Bash")
    first = await run(gateway, asked(script(bash("pwd; echo x > made.txt")), own))
    [(_, directory)] = results(first)
    said = (
        Message("user", (text_block(script(bash("pwd; echo x > made.txt"))),)),
        Message("assistant", (text_block(Reply.of(first).text),)),
    )
    again = await run(gateway, asked(script(bash("pwd; cat made.txt")), own, *said))
    assert results(again) == [(False, f"{directory}\nx")]
    other = await run(gateway, asked(script(bash("pwd; ls")), own))
    assert directory not in results(other)[0][1]
    assert "made.txt" not in results(other)[0][1]


async def test_functions_of_the_caller_and_own_tools_mix(gateway: Gateway, tmp_path: Path) -> None:
    own = granted(tmp_path, "Bash")
    text = script(bash("echo 12 > t"), ("weather", {"city": "Rome"}), bash("cat t"))
    events = await run(gateway, asked(text, own, tools=(WEATHER,)))
    [call] = [event for event in events if isinstance(event, ToolCallStart)]
    assert call.name == "weather"
    assert finished(events).reason == "tool_use"
    assert [said for _, said in results(events)] == [""] or len(results(events)) == 1

    said = answered(events)
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": [text_block("sunny")]}
    turn = Turn(
        MODEL,
        (Message("user", (text_block(text),)), said, Message("user", (result,))),
        tools=(WEATHER,),
        own_tools=own,
    )
    before = gateway.engine.pool.counts["continue"]
    held = await run(gateway, turn)
    assert gateway.engine.pool.counts["continue"] == before + 1
    assert [said for _, said in results(held)] == ["12"]
    assert Reply.of(held).text == "Done."


async def test_a_kept_turn_is_replayed_as_the_model_knew_it(
    gateway: Gateway, tmp_path: Path
) -> None:
    (tmp_path / "a.pdf").write_bytes(PDF)
    own = granted(tmp_path, "Bash", "Read")
    two = [bash("echo 1"), bash("echo 2", description="which takes a while to write" * 4)]
    reads: list[Step] = [("Read", {"file_path": name}) for name in ("none", "a.pdf")]
    text = script(two, *reads, say='"So."', rate="60")
    answer = NativeAnswer()
    for event in await run(gateway, asked(text, own)):
        answer.feed(event)
    known = gateway.upstream.requests[-1].messages
    kept = answer.message()
    assert kept is not None
    elsewhere = replace(own, max_turns=9)  # another process
    await run(
        gateway,
        asked("And?", elsewhere, Message("user", (text_block(text),)), kept),
    )
    replayed = gateway.upstream.requests[-1].messages
    assert spoken(replayed)[: len(spoken(known))] == spoken(known)
    assert len(spoken(replayed)) == len(spoken(known)) + 2
    assert base64.b64encode(PDF).decode() in json.dumps(replayed)


def spoken(messages: list[dict[str, Any]]) -> list[Any]:
    """Roles and blocks, without the CLI's marks and its note."""
    return [
        [message["role"], [_plain(block) for block in _blocks(message["content"])]]
        for message in messages
        if message["role"] != "system"
    ]


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _plain(block: dict[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in block.items() if key != "cache_control"}
    if plain["type"] == "tool_result":
        plain = {"is_error": False, **plain, "content": _blocks(plain["content"])}
    return plain


async def test_without_tools_only_what_was_said_is_sent(gateway: Gateway, tmp_path: Path) -> None:
    answer = NativeAnswer()
    text = script(bash("echo 1"), say='"So."')
    for event in await run(gateway, asked(text, granted(tmp_path, "Bash"))):
        answer.feed(event)
    kept = answer.message()
    assert kept is not None
    before = (Message("user", (text_block("Begin."),)), kept)
    await run(gateway, replace(asked("And?", granted(None), *before), own_tools=None))
    received = spoken(gateway.upstream.requests[-1].messages)
    assert received[1] == ["assistant", [{"type": "text", "text": "So.\n\nDone."}]]


async def test_functions_after_own_tools_receive_the_same_conversation(
    gateway: Gateway, tmp_path: Path
) -> None:
    answer = NativeAnswer()
    text = script(bash("echo 1"), say='"So."')
    for event in await run(gateway, asked(text, granted(tmp_path, "Bash"))):
        answer.feed(event)
    kept = answer.message()
    assert kept is not None
    before = (Message("user", (text_block("Begin."),)), kept)
    turn = asked("And?", granted(None), *before, tools=(WEATHER,))
    await run(gateway, replace(turn, own_tools=None))
    received = spoken(gateway.upstream.requests[-1].messages)
    assert [role for role, _ in received] == ["user", "assistant"] * 2 + ["user"]
    assert received[2][1][0]["type"] == "tool_result"


async def test_a_directory_that_was_replaced_by_a_link_is_not_entered(
    gateway: Gateway, tmp_path: Path
) -> None:
    outside, work = tmp_path / "outside", tmp_path / "work"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    work.symlink_to(outside)
    text = script(("Read", {"file_path": "secret.txt"}))
    with pytest.raises(UpstreamError):
        await run(gateway, asked(text, granted(work, "Read")))
    assert not gateway.upstream.requests


async def test_nothing_is_left_in_the_operators_own_config_directory(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    async with make_gateway() as gateway:
        await run(gateway, asked(script(bash("echo 1")), granted(None, "Bash")))
        await run(gateway, replace(asked("Hello.", granted(None)), own_tools=None))
    config = tmp_path / ".claude"
    assert names_in(config / "sessions") in (None, [])
    assert names_in(config / "shell-snapshots") in (None, [])


@pytest.mark.parametrize("sandbox", ["off", "auto"])
async def test_a_client_that_leaves_ends_the_command_and_all_it_started(
    make_gateway: MakeGateway, tmp_path: Path, sandbox: str
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    seconds = str(int(time.time()))  # by which this run's are known
    detached = f"(setsid nohup sleep {seconds} >/dev/null 2>&1 &); env -i setsid -f sleep {seconds}"
    command = f"{detached}; sleep {seconds} & touch begun; while true; do sleep 1; done"
    async with make_gateway(sandbox=sandbox) as gateway:
        task = asyncio.create_task(
            run(gateway, asked(script(bash(command)), granted(work, "Bash")))
        )
        async with asyncio.timeout(20):
            while "begun" not in (names_in(work) or ()):  # noqa: ASYNC110  # a file has no event
                await asyncio.sleep(0.02)
        assert len(marked(work)) >= 4
        assert len(sleeping(seconds)) == 3
        task.cancel()
        async with asyncio.timeout(2):
            while marked(work) or sleeping(seconds):  # noqa: ASYNC110  # nor another's process
                await asyncio.sleep(0.05)


def sleeping(seconds: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cmdline() == ["sleep", seconds]:
                found.append(process.pid)
    return found


def marked(work: Path) -> list[int]:
    """The processes of own tools in this directory, and what they started."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            variables = process.environ()
            is_here = MARK in variables and variables.get("PWD") == str(work)
            if is_here and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found
