"""Claude Code's built-in tools through the engine: the real CLI works in real directories."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from config.sandbox import missing_for_sandbox
from core.conversation import Message, text_block
from core.errors import UpstreamError
from core.events import BuiltinToolResult, BuiltinToolUse, Event, Finished, Reply, ToolCallStart
from core.turn import FunctionTool, ToolGrant, Turn
from demo import FakeAnthropic
from engine.process_tree import PROCESS_MARK_VARIABLE
from sessions.answer import message_of
from tests.conftest import MakeGateway
from tests.support.harness import Gateway, gateway_at

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


def granted(directory: Path | None, *tools: str, **fields: Any) -> ToolGrant:
    allow = fields.pop("allow", tools)
    return ToolGrant(tools, allow, directory=str(directory) if directory else None, **fields)


def script(*steps: list[Step] | Step, text: str = "Done.", **more: str) -> str:
    """What makes the demo model use these tools, one list of them after the other."""
    rounds = [step if isinstance(step, list) else [step] for step in steps]
    calls = [[{"name": name, "input": given} for name, given in step] for step in rounds]
    extra = "".join(f" {key}={value}" for key, value in more.items())
    return f"!demo steps={json.dumps(calls)} text={json.dumps(text)}{extra}\nPlease."


def bash(command: str, **fields: Any) -> Step:
    return "Bash", {"command": command, "description": "a command", **fields}


def asked(text: str, own: ToolGrant, *before: Message, **fields: Any) -> Turn:
    messages = (*before, Message("user", (text_block(text),)))
    return Turn(MODEL, messages, builtin_tools=own, **fields)


@pytest.fixture(scope="module")
async def shared_engine(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    async with gateway_at(shared_upstream, tmp_path_factory.mktemp("home"), pool_warm=0) as made:
        yield made


@pytest.fixture(scope="module")
async def shared_unboxed_engine(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    async with gateway_at(shared_upstream, home, pool_warm=0, sandbox="off") as made:
        yield made


@pytest.fixture
def gateway(shared_engine: Gateway, upstream: FakeAnthropic) -> Gateway:
    """Its commands run in the sandbox where there is one. No process is started ahead: none of
    them would serve a turn with built-in tools."""
    return shared_engine


@pytest.fixture
def unboxed(shared_unboxed_engine: Gateway, upstream: FakeAnthropic) -> Gateway:
    """Its commands run without the sandbox, whose start costs as much as a process of its own."""
    return shared_unboxed_engine


async def run(gateway: Gateway, turn: Turn) -> list[Event]:
    async with aclosing(gateway.engine.run(turn)) as events:
        return [event async for event in events]


def answered(events: list[Event]) -> Any:
    """The message that a session keeps."""
    return message_of(Reply.of(events))


def results(events: list[Event]) -> list[tuple[bool, str]]:
    return [
        (event.is_error, "".join(part["text"] for part in event.content if part["type"] == "text"))
        for event in events
        if isinstance(event, BuiltinToolResult)
    ]


def finished(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


async def test_claude_reads_edits_runs_and_answers(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("hello world\n")
    edit = {"file_path": "README.md", "old_string": "hello", "new_string": "goodbye"}
    credentials = bash("env | sort; echo ---; echo $ANTHROPIC_API_KEY")
    steps = [("Read", {"file_path": "README.md"}), ("Edit", edit), bash("cat README.md")]
    text = script(*steps, credentials, input="100")
    events = await run(gateway, asked(text, granted(tmp_path, "Read", "Edit", "Bash")))
    assert [event.name for event in events if isinstance(event, BuiltinToolUse)] == [
        "Read",
        "Edit",
        "Bash",
        "Bash",
    ]
    assert [error for error, _ in results(events)] == [False] * 4
    assert results(events)[2][1] == "goodbye world"
    assert (tmp_path / "README.md").read_text() == "goodbye world\n"
    assert Reply.of(events).text == "Done."
    done = finished(events)
    assert done.reason == "end_turn"
    assert done.usage.input_tokens == 5 * 100  # of all answers in the turn
    assert done.cost_usd is not None
    assert done.cost_usd > 500 * 2e-6
    seen = results(events)[3][1]
    assert "PATH=" in seen
    assert "ANTHROPIC_" not in seen
    assert "sk-ant" not in seen
    assert "BUN_" not in seen  # how the CLI's own runtime is set


async def test_the_callers_words_and_limit_arrive_beside_one_note_on_the_environment(
    gateway: Gateway, tmp_path: Path
) -> None:
    text = "!demo tokens=50\nCount."
    turn = asked(text, granted(tmp_path, "Read"), system="You are Bob.")
    events = await run(gateway, replace(turn, sampling=replace(turn.sampling, max_tokens=3)))
    body = gateway.upstream.requests[-1].body
    assert [block["text"] for block in body["system"]][1:] == ["You are Bob."]
    assert [tool["name"] for tool in body["tools"]] == ["Read"]
    assert [block["text"] for block in body["messages"][0]["content"]] == [text]
    notes = json.dumps(body["messages"][1:])
    assert str(tmp_path) in notes
    assert "Co-Authored-By" not in json.dumps(body)
    assert finished(events).reason == "max_tokens"
    assert Reply.of(events).text == "word1 word2 word3 "


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
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    text = script(*[("Glob", {"pattern": name}) for name in ("a", "b", "c")], say='"Working."')
    events = await run(gateway, asked(text, granted(tmp_path, "Glob", max_turns=2)))
    assert [said for _, said in results(events)] == ["a", "b"]
    assert finished(events).reason == "max_turns"
    assert finished(events).cost_usd
    assert Reply.of(events).text == "Working.\n\nWorking."


async def test_the_budget_ends_with_what_there_is(gateway: Gateway, tmp_path: Path) -> None:
    own = granted(tmp_path, "Glob", max_budget_usd=0.000001)
    events = await run(gateway, asked(script(("Glob", {"pattern": "*"})), own))
    assert finished(events).reason == "max_budget"
    assert finished(events).cost_usd


async def test_a_command_over_its_time_is_ended(make_gateway: MakeGateway, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    async with make_gateway(command_timeout_seconds=1, sandbox="off") as gateway:
        text = script(bash("echo begun; python3 -c 'import time; time.sleep(60)'"))
        [(is_error, said)] = results(await run(gateway, asked(text, granted(work, "Bash"))))
    assert is_error
    assert "timed out" in said


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


async def test_without_a_directory_each_request_works_in_one_that_goes_with_its_process(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    own = granted(None, "Bash", "Read")
    text = script(bash("pwd; echo x > made.txt"), ("Read", {"file_path": "made.txt"}))
    async with make_gateway() as gateway:
        first = await run(gateway, asked(text, own))
        [(_, directory), (_, read)] = results(first)
        assert "x" in read
        assert names_in(Path(directory)) == ["made.txt"]
        [(_, other)] = results(await run(gateway, asked(script(bash("pwd; ls")), own)))
        assert directory not in other
        assert "made.txt" not in other
        await run(gateway, replace(asked("Hello.", own), builtin_tools=None))
    assert names_in(Path(directory)) is None
    config = tmp_path / ".claude"  # the operator's own
    assert names_in(config / "sessions") in (None, [])
    assert names_in(config / "shell-snapshots") in (None, [])


async def test_functions_of_the_caller_and_own_tools_mix_and_all_is_counted_once(
    unboxed: Gateway, tmp_path: Path
) -> None:
    own = granted(tmp_path, "Agent", "Bash")
    work = {"prompt": script(bash("echo 12 > t"), input="1000"), "description": "some work"}
    agent = ("Agent", {**work, "subagent_type": "general-purpose"})
    text = script(agent, ("weather", {"city": "Rome"}), bash("cat t"), input="10")
    turn = asked(text, own, tools=(WEATHER,))
    events = await run(unboxed, turn)
    [call] = [event for event in events if isinstance(event, ToolCallStart)]
    assert call.name == "weather"
    assert finished(events).reason == "tool_use"
    assert finished(events).usage.input_tokens == 10 + 2 * 1000 + 10
    assert len(results(events)) == 1

    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": [text_block("sunny")]}
    messages = (*turn.messages, answered(events), Message("user", (result,)))
    rest = await run(unboxed, replace(turn, messages=messages))
    assert [said for _, said in results(rest)] == ["12"]
    assert Reply.of(rest).text == "Done."
    assert finished(rest).usage.input_tokens == 10 + 10


async def test_a_kept_turn_is_replayed_as_the_model_knew_it(
    unboxed: Gateway, tmp_path: Path
) -> None:
    (tmp_path / "a.pdf").write_bytes(PDF)
    own = granted(tmp_path, "Bash", "Read")
    two = [bash("echo 1"), bash("echo 2", description="which takes a while to write" * 4)]
    reads: list[Step] = [("Read", {"file_path": name}) for name in ("none", "a.pdf")]
    text = script(two, *reads, say='"So."', rate="60")
    kept = answered(await run(unboxed, asked(text, own)))
    known = unboxed.upstream.requests[-1].messages
    before = (Message("user", (text_block(text),)), kept)

    async def replayed(**changes: Any) -> list[Any]:
        """What another process sends of it."""
        await run(unboxed, replace(asked("And?", own, *before), **changes))
        return unboxed.upstream.requests[-1].messages

    messages = await replayed(builtin_tools=replace(own, max_turns=9))
    assert spoken(messages)[: len(spoken(known))] == spoken(known)
    assert len(spoken(messages)) == len(spoken(known)) + 2
    assert base64.b64encode(PDF).decode() in json.dumps(messages)
    with_functions = spoken(await replayed(builtin_tools=None, tools=(WEATHER,)))
    assert [role for role, _ in with_functions] == ["user", "assistant"] * 4 + ["user"]
    assert with_functions[2][1][0]["type"] == "tool_result"
    only_said = spoken(await replayed(builtin_tools=None))
    text_of_all = "\n\n".join(["So."] * 3 + ["Done."])
    assert only_said[1] == ["assistant", [{"type": "text", "text": text_of_all}]]


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


@pytest.mark.parametrize("is_boxed", [True, False])
async def test_a_client_that_leaves_ends_the_command_and_all_it_started(
    gateway: Gateway, unboxed: Gateway, tmp_path: Path, is_boxed: bool
) -> None:
    server = gateway if is_boxed else unboxed
    work = tmp_path / "work"
    work.mkdir()
    seconds = f"{time.time():.7f}"  # by which this test's are known
    detached = f"(setsid nohup sleep {seconds} >/dev/null 2>&1 &); env -i setsid -f sleep {seconds}"
    command = f"{detached}; sleep {seconds} & while true; do sleep 1; done"
    task = asyncio.create_task(run(server, asked(script(bash(command)), granted(work, "Bash"))))
    async with asyncio.timeout(20):
        while len(sleeping(seconds)) < 3:  # noqa: ASYNC110  # another's process has no event
            await asyncio.sleep(0.02)
    assert len(marked(work)) >= 4
    task.cancel()
    async with asyncio.timeout(2):
        while marked(work) or sleeping(seconds):  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.05)


def sleeping(seconds: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cmdline() == ["sleep", seconds]:
                found.append(process.pid)
    return found


def marked(work: Path) -> list[int]:
    """The processes of built-in tools in this directory, and what they started."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            variables = process.environ()
            is_here = PROCESS_MARK_VARIABLE in variables and variables.get("PWD") == str(work)
            if is_here and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found
