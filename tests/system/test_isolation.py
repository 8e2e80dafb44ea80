"""No conversation ever sees another: hundreds of them, interleaved, through one process."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from claude_cli import ClaudeEngine
from core.conversation import Block, JsonObject, Message, ToolResultBlock, text_block
from core.errors import GatewayError
from core.events import Reply, TextDelta
from core.turn import FunctionTool, ToolGrant, Turn
from demo.recording import RecordedRequest
from engine.launch_profile import LaunchProfile
from engine.request import user_id
from sessions.answer import message_of
from tests.conftest import MakeGateway
from tests.support.harness import said, system_texts

MARKER = re.compile(r"mark-[0-9a-f]{12}")
CLIENTS = 4
SHARED = "You are shared by two principals."
LOOK = FunctionTool(
    "look", "Looks it up", {"type": "object", "properties": {"q": {"type": "string"}}}
)
PROFILES: dict[tuple[str, str, tuple[FunctionTool, ...]], int] = {
    ("ann", SHARED, ()): 70,
    ("bob", "", (LOOK,)): 60,
    ("bob", SHARED, (LOOK,)): 40,
    ("cay", "Of nobody else.", ()): 30,
}
"""How many conversations each has."""


@dataclass(slots=True)
class Conversation:
    """One client: what it says holds its marker, and so does what it should ever get back."""

    marker: str
    principal: str
    system: str
    tools: tuple[FunctionTool, ...]
    messages: tuple[Message, ...] = ()
    sent: list[list[tuple[str, list[Any]]]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    def turn(self, *blocks: Block, model: str = "claude-sonnet-5") -> Turn:
        self.messages += (Message("user", blocks),)
        self.sent.append([(message.role, list(message.content)) for message in self.messages])
        return Turn(model, self.messages, self.system, tools=self.tools, principal=self.principal)

    def says(self, order: str) -> Block:
        return text_block(
            f"{self.marker} {len(self.sent)}\n!demo {order}" if order else self.marker
        )


async def answered(engine: ClaudeEngine, conversation: Conversation, turn: Turn) -> Reply:
    """A whole turn; its answer joins the conversation."""
    reply = Reply()
    async with aclosing(engine.run(turn)) as events:
        async for event in events:
            reply.feed(event)
    if (message := message_of(reply)) is not None:
        conversation.messages += (message,)
    conversation.answers.append(reply.text)
    return reply


async def ask(engine: ClaudeEngine, it: Conversation) -> None:
    await answered(engine, it, it.turn(it.says("")))


async def recall(engine: ClaudeEngine, it: Conversation) -> None:
    await answered(engine, it, it.turn(it.says("recall")))


async def call(engine: ClaudeEngine, it: Conversation) -> None:
    """Calls a tool and answers it; without tools, just asks."""
    if not it.tools:
        return await ask(engine, it)
    order = f"call=look,look args={json.dumps({'q': it.marker})}"
    reply = await answered(engine, it, it.turn(it.says(order)))
    results: list[ToolResultBlock] = [
        {"type": "tool_result", "tool_use_id": call.id, "content": [text_block(it.marker)]}
        for call in reply.tool_calls
    ]
    await answered(engine, it, it.turn(*results))


async def abandon_a_call(engine: ClaudeEngine, it: Conversation) -> None:
    """The results never come; the client starts again."""
    if it.tools:
        order = f"call=look args={json.dumps({'q': it.marker})}"
        await answered(engine, it, it.turn(it.says(order)))
        it.messages = ()
    await ask(engine, it)


async def edit(engine: ClaudeEngine, it: Conversation) -> None:
    """The client goes back to where it began: nothing that was said since may be remembered."""
    it.messages = ()
    await recall(engine, it)


async def leave_in_the_middle(engine: ClaudeEngine, it: Conversation) -> None:
    kept = it.messages
    async with aclosing(engine.run(it.turn(it.says("tokens=50 delay_after=3:5")))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    it.messages = kept


async def leave_at_once(engine: ClaudeEngine, it: Conversation) -> None:
    """Cancelled wherever it just is: in the queue, before its request is written, after."""
    kept = it.messages
    leaving = asyncio.create_task(answered(engine, it, it.turn(it.says("hang"))))
    for _ in range(int(it.marker[-2:], 16) % 40):
        await asyncio.sleep(0)
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    it.messages = kept


async def fail(engine: ClaudeEngine, it: Conversation, order: str) -> None:
    kept = it.messages
    with pytest.raises(GatewayError):
        await answered(engine, it, it.turn(it.says(order)))
    it.messages = kept


Action = Callable[[ClaudeEngine, Conversation], Any]
FAILURES = ("error=500", "error_midstream=overloaded_error error_after=2 tokens=5", "cut=3")
USUAL: list[Action] = [*[ask] * 10, *[recall] * 8, *[call] * 9, *[edit] * 7]
FAULTS: list[Action] = [
    *[leave_in_the_middle] * 20,
    *[leave_at_once] * 20,
    *[partial(fail, order=order) for order in FAILURES * 8],
]


def planned(dice: random.Random) -> list[tuple[Conversation, list[Action]]]:
    """What each conversation does, in any order; the faults befall any of them."""
    plans = []
    for profile in (profile for profile, many in PROFILES.items() for _ in range(many)):
        talk = Conversation(f"mark-{dice.randbytes(6).hex()}", *profile)
        plans.append((talk, dice.choices(USUAL, k=dice.choice((1, 1, 1, 1, 1, 3)))))
    dice.shuffle(plans)
    with_tools = [plan for plan in plans if plan[0].tools]
    for faults, whom in ((FAULTS, plans), ([abandon_a_call] * 5, with_tools)):
        for fault in faults:
            _, actions = dice.choice(whom)
            actions.insert(dice.randrange(len(actions) + 1), fault)
    return plans


@pytest.mark.timeout(150)  # 10 s on two idle cores
@pytest.mark.parametrize("seed", [1])
async def test_every_request_holds_its_own_conversation_and_nothing_of_another(
    make_gateway: MakeGateway, seed: int
) -> None:
    plans = planned(random.Random(seed))
    waiting = iter(plans)

    async def client(engine: ClaudeEngine) -> None:
        for talk, actions in waiting:
            for action in actions:
                await action(engine, talk)

    async with make_gateway(max_processes=1, pool_max_uses=10_000, queue_timeout=60) as gateway:
        await asyncio.gather(*(client(gateway.engine) for _ in range(CLIENTS)))
        requests = list(gateway.upstream.requests)
    assert len(requests) > len(plans) == 200
    outcomes = {request.outcome for request in requests}
    assert outcomes == {"answered", "disconnected", "error 500", "error 529"}
    talks = [talk for talk, _ in plans]
    by_marker = {talk.marker: talk for talk in talks}
    for request in requests:
        check(request, by_marker)
    for talk in talks:
        for answer in talk.answers:
            assert set(MARKER.findall(answer)) <= {talk.marker}
    check_processes(requests, by_marker)


def check(request: RecordedRequest, by_marker: dict[str, Conversation]) -> None:
    """Exactly one marker, and exactly a conversation that its owner sent."""
    [marker] = set(MARKER.findall(json.dumps(request.body)))
    owner = by_marker[marker]
    got = [said(message) for message in request.messages]
    assert got in owner.sent
    assert system_texts(request.body) == ([owner.system] if owner.system else [])
    assert [tool["name"] for tool in request.tools] == [tool.name for tool in owner.tools]
    asked = Turn("claude-sonnet-5", (), principal=owner.principal)
    assert request.body["metadata"] == {"user_id": user_id(asked)}
    assert not MARKER.search(str(request.headers))


def check_processes(requests: list[RecordedRequest], by_marker: dict[str, Conversation]) -> None:
    """The processes, told by the session id that they send, were few, and any served everybody."""
    principals: defaultdict[str, set[str]] = defaultdict(set)
    conversations: defaultdict[str, set[str]] = defaultdict(set)
    for request in requests:
        [marker] = set(MARKER.findall(json.dumps(request.body)))
        process = request.headers["x-claude-code-session-id"]
        principals[process].add(by_marker[marker].principal)
        conversations[process].add(marker)
    assert len(principals) < len(FAULTS)
    assert {"ann", "bob", "cay"} in principals.values()
    assert max(len(markers) for markers in conversations.values()) > 20


def test_profiles_differ_wherever_the_model_would_see_a_difference() -> None:
    schemas: list[JsonObject] = [
        {"a": 1, "b": 2},
        {"b": 2, "a": 1},
        {"a": 1.0, "b": 2},
        {"a": True, "b": 2},
    ]

    def profile(*functions: FunctionTool, owner: str = "") -> LaunchProfile:
        return LaunchProfile.of_grant(ToolGrant(("Read",)), "s", functions, owner)

    assert len({profile(FunctionTool("f", "d", one)) for one in schemas}) == 4
    assert profile(LOOK) == profile(LOOK)
    assert profile(owner="p") != profile(owner="q")
