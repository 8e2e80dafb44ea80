"""Hundreds of conversations of several keys through one process, with cancellations and errors:
what the model receives is one conversation's, byte for byte, and nothing of another."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from claude_cli import ClaudeEngine
from core.conversation import Message, text_block
from core.errors import GatewayError
from core.events import Reply, TextDelta
from core.turn import FunctionTool, Sampling, Turn
from demo.recording import RecordedRequest
from tests.conftest import MakeGateway
from tests.support.exact import javascript, pieces, unmarked

MARKER = re.compile(rb"mark-[0-9a-f]{12}")
KEYS = ("ann", "bob", "cleo", "local")
CONVERSATIONS = 300
CLIENTS = 12
LOOK = FunctionTool(
    "look", "Looks it up", {"type": "object", "properties": {"q": {"type": "string"}}}
)


@dataclass(slots=True)
class Conversation:
    """One client of one key. All that it says, its system prompt too, holds its marker."""

    marker: str
    principal: str
    system: str | None
    tools: tuple[FunctionTool, ...]
    messages: tuple[Message, ...] = ()
    expected: list[dict[str, bytes]] = field(default_factory=list)
    """The parts of the body of each turn that was begun, as they have to arrive."""

    answers: list[str] = field(default_factory=list)

    def says(self, order: str = "") -> dict[str, Any]:
        text = f"{self.marker} {len(self.expected)}"
        return dict(text_block(f"{text}\n!demo {order}" if order else text))

    def turn(self, *blocks: Any, **more: Any) -> Turn:
        self.messages += (Message("user", blocks),)
        limit = 1_000 + len(self.expected)
        sampling = more.pop("sampling", Sampling(max_tokens=limit, stop=(self.marker[5:],)))
        written = [{"role": m.role, "content": list(m.content)} for m in self.messages]
        self.expected.append(
            {
                "messages": javascript(written),
                "max_tokens": javascript(sampling.max_tokens),
                "system": javascript([text_block(self.system)] if self.system else []),
            }
        )
        return Turn(
            "claude-sonnet-5",
            self.messages,
            self.system,
            tools=self.tools,
            principal=self.principal,
            sampling=sampling,
            **more,
        )


async def answered(engine: ClaudeEngine, it: Conversation, turn: Turn) -> Reply:
    """A whole turn; its answer joins the conversation."""
    reply = Reply()
    async with aclosing(engine.run(turn)) as events:
        async for event in events:
            reply.feed(event)
    it.messages += (Message("assistant", tuple(blocks_of(reply))),)
    it.answers.append(reply.text)
    return reply


def blocks_of(reply: Reply) -> list[Any]:
    """An answer as its client sends it back."""
    calls = [
        {"type": "tool_use", "id": c.id, "name": c.name, "input": json.loads(c.arguments)}
        for c in reply.tool_calls
    ]
    return [*([text_block(reply.text)] if reply.text else []), *calls]


async def ask(engine: ClaudeEngine, it: Conversation) -> None:
    await answered(engine, it, it.turn(it.says()))


async def recall(engine: ClaudeEngine, it: Conversation) -> None:
    await answered(engine, it, it.turn(it.says("recall")))


async def write_much(engine: ClaudeEngine, it: Conversation) -> None:
    """A body of a quarter of a megabyte, and a small one behind it."""
    much = dict(text_block(f"{it.marker} {'x' * 250_000}"))
    await answered(engine, it, it.turn(much, it.says()))
    it.messages = ()
    await recall(engine, it)


async def call(engine: ClaudeEngine, it: Conversation) -> None:
    """Calls a tool twice and answers the calls; without tools, just asks."""
    if not it.tools:
        return await ask(engine, it)
    order = f"call=look,look args={json.dumps({'q': it.marker})}"
    reply = await answered(engine, it, it.turn(it.says(order)))
    results = [
        {"type": "tool_result", "tool_use_id": made.id, "content": [it.says()]}
        for made in reply.tool_calls
    ]
    await answered(engine, it, it.turn(*results))


async def end_early(engine: ClaudeEngine, it: Conversation, order: str) -> None:
    """An ending after which the CLI would ask again by itself: it must not."""
    kept = it.messages
    with suppress(GatewayError):
        await answered(engine, it, it.turn(it.says(order)))
    it.messages = kept


async def reach_the_limit(engine: ClaudeEngine, it: Conversation) -> None:
    kept = it.messages
    limit = Sampling(max_tokens=3)
    await answered(engine, it, it.turn(it.says("tokens=50"), sampling=limit))
    it.messages = kept


async def leave_in_the_middle(engine: ClaudeEngine, it: Conversation) -> None:
    kept = it.messages
    async with aclosing(engine.run(it.turn(it.says("tokens=50 delay_after=3:5")))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    it.messages = kept


async def leave_before(engine: ClaudeEngine, it: Conversation, steps: int) -> None:
    """Cancelled wherever it just is: in the queue, at the settings line, before the first token."""
    kept = it.messages
    leaving = asyncio.create_task(answered(engine, it, it.turn(it.says("hang"))))
    for _ in range(steps):
        await asyncio.sleep(0)
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    it.messages = kept


Action = Callable[[ClaudeEngine, Conversation], Awaitable[object]]
ENDINGS = (
    "empty",
    "stop=refusal text=no",
    "stop=pause_turn text=wait",
    "stop=model_context_window_exceeded text=full",
    "error=400 message=no",
    "error=429",
    "error=500",
    "error=529",
    "error_midstream=overloaded_error error_after=2 tokens=5",
    "cut=3 tokens=9",
)
USUAL: list[Action] = [*[ask] * 6, *[recall] * 6, *[call] * 5, write_much, reach_the_limit]
FAULTS: list[Action] = [
    *[partial(end_early, order=order) for order in ENDINGS],
    *[leave_in_the_middle] * 2,
    *[partial(leave_before, steps=steps) for steps in (0, 1, 5, 20, 60, 200)],
]


def planned(dice: random.Random) -> list[tuple[Conversation, list[Action]]]:
    """What each conversation does: some of the usual, and in every third one a fault."""
    plans = []
    for number in range(CONVERSATIONS):
        marker = f"mark-{dice.randbytes(6).hex()}"
        system = dice.choice((None, f"You are {marker}.", "You are shared."))
        tools = dice.choice(((), (LOOK,)))
        talk = Conversation(marker, KEYS[number % len(KEYS)], system, tools)
        actions = dice.choices(USUAL, k=dice.choice((1, 1, 2)))
        if number % 3 == 0:
            actions.insert(dice.randrange(len(actions) + 1), dice.choice(FAULTS))
        plans.append((talk, actions))
    return plans


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
async def test_one_process_serves_all_keys_and_mixes_nothing(
    make_gateway: MakeGateway, seed: int
) -> None:
    plans = planned(random.Random(seed))
    waiting = iter(plans)

    async def client(engine: ClaudeEngine) -> None:
        for talk, actions in waiting:
            for action in actions:
                await action(engine, talk)

    async with make_gateway(max_processes=1, queue_timeout=240, queue_size=50) as gateway:
        await asyncio.gather(*(client(gateway.engine) for _ in range(CLIENTS)))
        requests = list(gateway.upstream.requests)
    talks = {talk.marker.encode(): talk for talk, _ in plans}
    for request in requests:
        check(request, talks)
    for talk in talks.values():
        for answer in talk.answers:
            assert set(MARKER.findall(answer.encode())) <= {talk.marker.encode()}
    check_counts(requests, talks)
    check_processes(requests)


def check(request: RecordedRequest, talks: dict[bytes, Conversation]) -> None:
    """One marker in the whole body, and a turn that its owner really asked for."""
    markers = set(MARKER.findall(request.raw))
    assert len(markers) == 1, markers
    owner = talks[markers.pop()]
    got = pieces(request.raw)
    asked_for = {name: unmarked(got[name]) for name in ("messages", "max_tokens", "system")}
    assert asked_for in owner.expected
    tools = [tool["name"] for tool in json.loads(got["tools"])]
    assert tools == [tool.name for tool in owner.tools]


def check_counts(requests: list[RecordedRequest], talks: dict[bytes, Conversation]) -> None:
    """No turn asked the model twice, whatever its end; only one that left early may not have."""
    seen = Counter(unmarked(pieces(request.raw)["messages"]) for request in requests)
    assert [times for times in seen.values() if times > 1] == []
    begun = {parts["messages"]: parts for talk in talks.values() for parts in talk.expected}
    missing = [messages for messages in begun if messages not in seen]
    assert all(b"!demo hang" in messages for messages in missing)


def check_processes(requests: list[RecordedRequest]) -> None:
    """Processes were used again and again, by all keys: only a process that had to be ended has a
    successor. With two hundred uses a process at most, two are the least."""
    served = Counter(request.headers["x-claude-code-session-id"] for request in requests)
    assert sum(served.values()) > CONVERSATIONS
    assert max(served.values()) > 50
