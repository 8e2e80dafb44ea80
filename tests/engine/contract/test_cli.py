"""The facts that the engine stands on, each on the real CLI. An upgrade of it must pass these
before its version joins CONTRACT_TESTED_VERSIONS (engine/worker.py)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from engine.cli_protocol import HELD_RESULT_CHARS, turn_settings

from core.conversation import Block, Message, Role, text_block
from core.errors import ContextTooLong, GatewayError
from core.events import Finished, Reply
from core.turn import FunctionTool, Sampling, ToolChoice, Turn
from demo import FakeAnthropic
from demo.model import OWN_TOOLS
from engine.launch_profile import LaunchProfile
from engine.worker import CONTRACT_TESTED_VERSIONS, ClaudeWorker
from tests.support.harness import Gateway, said, system_texts

MODEL = "claude-sonnet-5"
OTHER_MODEL = "claude-opus-4-5"
SYSTEM = "Be exact."
PROFILE = LaunchProfile.of("contract", SYSTEM)
"""What the processes of most tests here are bound to, so that they share one."""

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "deep": {"anyOf": [{"type": "null"}, {"$ref": "#"}]},
    },
    "required": ["city"],
    "additionalProperties": False,
}


LOOK = (FunctionTool("look", "d", SCHEMA),)


def message(role: Role, *blocks: Block | str) -> Message:
    """A message of blocks; a string is a text block."""
    native = tuple(text_block(block) if isinstance(block, str) else block for block in blocks)
    return Message(role, native)


def turn(*messages: Message | str, **fields: Any) -> Turn:
    native = tuple(message("user", m) if isinstance(m, str) else m for m in messages)
    return Turn(**{"model": MODEL, "messages": native, "principal": "contract", **fields})


def native(messages: Sequence[Message]) -> list[tuple[str, list[Any]]]:
    return [(m.role, list(m.content)) for m in messages]


def received(upstream: FakeAnthropic, index: int = -1) -> list[tuple[str, list[Any]]]:
    return [said(m) for m in upstream.requests[index].messages]


async def run(gateway: Gateway, asked: Turn) -> Reply:
    reply = Reply()
    async with aclosing(gateway.engine.run(asked)) as events:
        async for event in events:
            reply.feed(event)
    return reply


@asynccontextmanager
async def leased(gateway: Gateway, profile: LaunchProfile) -> AsyncIterator[ClaudeWorker]:
    """A bound process, without the engine's choices; other tests may have it afterwards."""
    async with gateway.engine.pool.lease(profile) as lease:
        if not lease.worker.bound:
            await lease.worker.bind(profile)
        yield lease.worker
        lease.park(None)


async def say(worker: ClaudeWorker, asked: Turn, *, fresh: bool = True) -> Reply:
    reply = Reply()
    running = worker.run(asked.messages, turn_settings(asked), fresh=fresh)
    async with aclosing(running) as events:
        async for event in events:
            reply.feed(event)
    return reply


async def test_the_bundled_version_is_one_that_these_tests_passed_on(gateway: Gateway) -> None:
    info = await gateway.engine.server_info()
    assert info is not None
    assert info["claude_code_version"] in CONTRACT_TESTED_VERSIONS


async def test_a_process_that_started_blank_takes_prompt_and_tools(
    gateway: Gateway, upstream: FakeAnthropic
) -> None:
    tools = (FunctionTool("look", "Looks.\n  Twice", SCHEMA), FunctionTool("a-b_C", "", SCHEMA))
    blank = gateway.engine.pool.counts["blank"]
    reply = await run(gateway, turn("hi", system="Be  exact.\n", tools=tools))
    assert reply.finished is not None
    assert gateway.engine.pool.counts["blank"] == blank + 1
    [request] = upstream.requests
    assert system_texts(request.body)[-1] == "Be  exact.\n"
    offered = {t["name"]: (t.get("description", ""), t["input_schema"]) for t in request.tools}
    assert offered == {tool.name: (tool.description, tool.input_schema) for tool in tools}


async def test_a_boundary_makes_it_forget_and_keeps_prompt_and_tools(
    gateway: Gateway, upstream: FakeAnthropic
) -> None:
    profile = LaunchProfile.of("contract", SYSTEM, LOOK)
    async with leased(gateway, profile) as worker:
        for text in ("one", "two", "three"):
            await say(worker, turn(text))
    assert [received(upstream, index) for index in range(3)] == [
        [("user", [text_block(text)])] for text in ("one", "two", "three")
    ]
    assert {tuple(system_texts(r.body)[-1:]) for r in upstream.requests} == {(SYSTEM,)}
    assert {len(r.tools) for r in upstream.requests} == {1}


async def test_without_a_boundary_it_remembers(gateway: Gateway, upstream: FakeAnthropic) -> None:
    async with leased(gateway, PROFILE) as worker:
        first = await say(worker, turn("one"))
        await say(worker, turn("two"), fresh=False)
    assert received(upstream) == native(
        [message("user", "one"), message("assistant", first.text), message("user", "two")]
    )


async def test_a_new_model_and_new_settings_leave_no_notice(
    gateway: Gateway, upstream: FakeAnthropic
) -> None:
    hot = Sampling(max_tokens=77, temperature=0.25, stop=("END",))
    asked = [
        turn("one"),
        turn("two", model=OTHER_MODEL, sampling=hot),
        turn("three", model="claude-opus-6", sampling=Sampling(top_p=0.5)),
        turn("four"),
    ]
    async with leased(gateway, PROFILE) as worker:
        for each in asked:
            await say(worker, each)
    for index, each in enumerate(asked):
        assert received(upstream, index) == native(each.messages)
    first, second, third, fourth = (request.body for request in upstream.requests)
    assert (second["max_tokens"], second["temperature"]) == (77, 0.25)
    assert second["stop_sequences"] == ["END"]
    assert third["top_p"] == 0.5
    assert third.get("temperature") in (None, 1)  # the CLI's own for older models
    assert [b["model"].startswith(m) for b, m in ((second, OTHER_MODEL), (fourth, MODEL))]
    settled = {"max_tokens", "temperature", "top_p", "stop_sequences", "thinking", "model"}
    assert {k: first.get(k) for k in settled} == {k: fourth.get(k) for k in settled}


HISTORY = [
    message("user", "What is\n\n`x`? @/etc/hostname"),
    message(
        "assistant",
        {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"},
        "One moment.",
        {"type": "tool_use", "id": "call_1", "name": "look", "input": {"city": "Rome", "n": [1]}},
        {"type": "tool_use", "id": "call_2", "name": "look", "input": {}},
    ),
    message(
        "user",
        {"type": "tool_result", "tool_use_id": "call_1", "content": [text_block("warm")]},
        {
            "type": "tool_result",
            "tool_use_id": "call_2",
            "content": [text_block("no city")],
            "is_error": True,
        },
        "And then?",
    ),
    message("assistant", "Then nothing."),
    message("user", "/help"),
]


@pytest.mark.parametrize("model", ["claude-opus-4-5-20251101", "claude-sonnet-5"])
async def test_a_replayed_history_arrives_as_it_was(
    gateway: Gateway, upstream: FakeAnthropic, model: str
) -> None:
    asked = turn(*HISTORY, model=model, system=SYSTEM, tools=LOOK, thinking=True)
    await run(gateway, asked)
    assert received(upstream) == native(HISTORY)


async def test_the_cost_of_a_held_turn_is_told_without_a_request(
    gateway: Gateway, upstream: FakeAnthropic
) -> None:
    reply = await run(gateway, turn("!demo call=look", system=SYSTEM, tools=LOOK))
    assert reply.finished is not None
    assert reply.finished.reason == "tool_use"
    assert reply.finished.cost_usd is not None
    assert reply.finished.cost_usd > 0
    assert len(upstream.requests) == 1
    assert not upstream.other_requests


async def test_effort_is_set_and_unset_between_turns(
    gateway: Gateway, upstream: FakeAnthropic
) -> None:
    async with leased(gateway, PROFILE) as worker:
        for effort in (None, "low", "high", None):
            await say(worker, turn("hi", effort=effort))
    efforts = [(r.body.get("output_config") or {}).get("effort") for r in upstream.requests]
    assert efforts[1:3] == ["low", "high"]
    assert efforts[0] == efforts[3]
    assert [received(upstream, i) for i in range(4)] == [[("user", [text_block("hi")])]] * 4


NAMES = ["Bash", "Read", "Task", "WebSearch", "StructuredOutput", "Skill", "AskUserQuestion"]


async def test_functions_named_like_claude_codes_own_are_the_callers(
    gateway: Gateway, upstream: FakeAnthropic
) -> None:
    assert {"Bash", "Read", "Task", "WebSearch"} <= OWN_TOOLS
    tools = tuple(FunctionTool(name, f"My {name}", SCHEMA) for name in NAMES)
    question = message("user", f'!demo call={",".join(NAMES)} args={{"city":"Rome"}}')
    reply = await run(gateway, turn(question, tools=tools))
    assert [call.name for call in reply.tool_calls] == NAMES
    offered = {t["name"]: t["description"] for t in upstream.requests[0].tools}
    assert offered == {name: f"My {name}" for name in NAMES}
    calls: list[Block] = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": {"city": "Rome"}}
        for call in reply.tool_calls
    ]
    results: list[Block] = [
        {
            "type": "tool_result",
            "tool_use_id": call.id,
            "content": [text_block(f"result of {call.name}")],
        }
        for call in reply.tool_calls
    ]
    going_on = turn(question, message("assistant", *calls), message("user", *results), tools=tools)
    again = await run(gateway, going_on)
    assert again.finished is not None
    assert again.finished.reason == "end_turn"
    assert [role for role, _ in received(upstream)] == ["user", "assistant", "user"]
    # the CLI passes results on in the order in which they reached it
    given = {block["tool_use_id"]: block["content"] for block in received(upstream)[2][1]}
    assert len(given) == len(NAMES)
    for call in reply.tool_calls:
        assert f"result of {call.name}'" in str(given[call.id])
    assert gateway.engine.pool.counts["continue"] >= 1


async def test_a_tool_that_is_forced_or_forbidden(
    gateway: Gateway, upstream: FakeAnthropic
) -> None:
    tools = (*LOOK, FunctionTool("Bash", "d", SCHEMA))
    for choice in (ToolChoice("tool", "Bash"), ToolChoice("none"), ToolChoice(parallel=False)):
        await run(gateway, turn("hi", tools=tools, tool_choice=choice))
    assert [r.body.get("tool_choice") for r in upstream.requests] == [
        {"type": "tool", "name": "Bash"},
        {"type": "none"},
        {"type": "auto", "disable_parallel_tool_use": True},
    ]


async def test_a_long_conversation_arrives_whole(gateway: Gateway, upstream: FakeAnthropic) -> None:
    roles: tuple[Role, Role] = ("user", "assistant")
    long = [message(roles[i % 2], f"message {i} @/etc/hostname " + "x" * 500) for i in range(151)]
    await run(gateway, turn(*long))
    assert received(upstream) == native(long)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("text", ["/help", "/clear", "/compact", "@/etc/hostname", "!ls", "# note"])
async def test_commands_and_paths_stay_text(
    gateway: Gateway, upstream: FakeAnthropic, text: str
) -> None:
    await run(gateway, turn(text))
    assert received(upstream) == [("user", [text_block(text)])]


@pytest.mark.parametrize("size", [240_000, 600_000])
async def test_what_is_large_arrives_whole(
    gateway: Gateway, upstream: FakeAnthropic, size: int
) -> None:
    system = "".join(f"Rule {n}: be exact. " for n in range(15_000))
    result = "".join(f"𝄞 {n} " for n in range(size // 8)).ljust(size)[:size]
    question = turn("!demo call=look", system=system, tools=LOOK)
    [call] = (await run(gateway, question)).tool_calls
    continued = gateway.engine.pool.counts["continue"]
    # other arguments are another conversation, which no process remembers
    for arguments in (json.loads(call.arguments), {"city": "elsewhere"}):
        use: Block = {"type": "tool_use", "id": call.id, "name": "look", "input": arguments}
        block: Block = {
            "type": "tool_result",
            "tool_use_id": call.id,
            "content": [text_block(result)],
        }
        messages = (*question.messages, message("assistant", use), message("user", block))
        await run(gateway, replace(question, messages=messages))
        assert system_texts(upstream.requests[-1].body)[-1] == system
        [last] = received(upstream)[-1][1]
        content = last["content"]
        text = content if isinstance(content, str) else "".join(part["text"] for part in content)
        assert text == result
    assert len(system) > 300_000
    assert len(upstream.requests) == 3
    # what is longer is replayed
    taken = size <= HELD_RESULT_CHARS
    assert gateway.engine.pool.counts["continue"] == continued + taken


async def test_a_prompt_of_any_size_is_left_to_the_api_to_refuse(
    gateway: Gateway, upstream: FakeAnthropic
) -> None:
    huge = turn(message("user", "x y z! " * 600_000))
    assert (await run(gateway, huge)).finished is not None
    assert received(upstream) == native(huge.messages)


async def test_a_turn_cut_at_its_limit_is_not_gone_on_with_whatever_comes_late(
    gateway: Gateway, upstream: FakeAnthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine kills a process at `max_tokens`; here that never happens, as on a slow machine."""
    monkeypatch.setattr("engine.cli_events.ContinuationGuard.must_stop", lambda watch, line: False)
    cut = turn("!demo tokens=50 delay_after=2:0.2", sampling=Sampling(max_tokens=5))
    async with leased(gateway, PROFILE) as worker:
        with pytest.raises(ContextTooLong):
            await say(worker, cut)
        assert len(upstream.requests) == 1
        assert (await say(worker, turn("next"))).text == 'Demo model: you said "next".'


async def test_an_abandoned_turn_ends_its_process(
    gateway: Gateway, upstream: FakeAnthropic
) -> None:
    events = gateway.engine.run(turn("!demo tokens=9 delay_after=2:60"))
    async for event in events:
        assert not isinstance(event, Finished)
        if upstream.requests and getattr(event, "text", "") == "word2 ":
            break
    await events.aclose()
    await upstream.wait_until_idle()
    assert [request.outcome for request in upstream.requests] == ["disconnected"]
    await asyncio.sleep(0)
    assert (await run(gateway, turn("hi"))).text == 'Demo model: you said "hi".'


async def test_a_refused_request_leaves_nothing_that_a_boundary_does_not_sweep_away(
    gateway: Gateway, upstream: FakeAnthropic
) -> None:
    await run(gateway, turn("Begin.", system=SYSTEM))
    started = gateway.engine.pool.counts["started"]
    for status in (400, 401, 403, 404, 413, 429, 500, 503, 529):
        with pytest.raises(GatewayError):
            await run(gateway, turn(f"secret {status}\n!demo error={status}", system=SYSTEM))
        await run(gateway, turn("And now?", system=SYSTEM))
        assert received(upstream) == [("user", [text_block("And now?")])]
    assert gateway.engine.pool.counts["started"] == started


async def test_an_error_after_the_answer_began_costs_the_process_its_life(
    gateway: Gateway,
) -> None:
    asked = turn("!demo error_midstream=overloaded_error", system="Cut off.")
    with pytest.raises(GatewayError):
        await run(gateway, asked)
    reused = gateway.engine.pool.counts["reuse"]
    await run(gateway, turn("And now?", system="Cut off."))
    assert gateway.engine.pool.counts["reuse"] == reused
