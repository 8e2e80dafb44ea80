"""An agent's loop through the official client: with every step the model receives all of it."""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from tests.support.harness import Gateway, said
from tests.support.wire import MODEL

STEPS: list[list[dict[str, Any]]] = [
    [
        {"name": "weather", "input": {"city": "Rome"}},
        {"name": "weather", "input": {"city": "Łódź"}},
    ],
    [{"name": "clock", "input": {}}],
    [
        {"name": "clock", "input": {"zone": "UTC"}},
        {"name": "weather", "input": {"city": "Oslo"}},
        {"name": "note", "input": {"text": 'a "quoted"\nline'}},
    ],
    [{"name": "note", "input": {"text": "b"}}, {"name": "clock", "input": {"zone": "CET"}}],
    [{"name": "weather", "input": {"city": "Bern"}}],
]
ASKED = f"Plan my day.\n!demo steps={json.dumps(STEPS)} chars=5"


def tool(name: str, argument: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {argument: {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [tool("weather", "city"), tool("clock", "zone"), tool("note", "text")]


@dataclass
class Run:
    """What an agent saw, and what the model received, ids numbered by their first appearance."""

    events: list[list[str]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    received: list[Any] = field(default_factory=list)
    usage: list[tuple[int, int]] = field(default_factory=list)

    def numbered(self) -> str:
        calls = [call for message in self.messages for call in message.get("tool_calls", [])]
        whole = [self.events, self.messages, self.received, self.usage]
        text = json.dumps(whole, sort_keys=True)
        for number, call in enumerate(calls):
            text = text.replace(call["id"], f"id-{number}")
        return text


def outcome(call: dict[str, Any], number: int) -> dict[str, Any]:
    """What the agent's function gave: a string, or parts."""
    text = f"{call['function']['name']} #{number}: ok"
    content: Any = text if number % 2 else [{"type": "text", "text": text}]
    return {"role": "tool", "tool_call_id": call["id"], "content": content}


async def agent(gateway: Gateway, *, lost_at: Container[int] = ()) -> Run:
    """Calls until it has the answer; before these steps' results are sent, no process is left."""
    run = Run(messages=[{"role": "user", "content": ASKED}])
    gateway.upstream.clear()
    while run.messages[-1]["role"] != "assistant":
        if len(run.events) in lost_at:
            for slot in gateway.engine.pool.in_state("idle", "blank"):
                slot.worker.kill()
        asked: Any = {"model": MODEL, "messages": run.messages, "tools": TOOLS}
        async with gateway.client.chat.completions.stream(
            **asked, stream_options={"include_usage": True}
        ) as stream:
            run.events.append(sorted({event.type async for event in stream}))
            completion = await stream.get_final_completion()
        assert completion.usage is not None
        run.usage.append((completion.usage.prompt_tokens, completion.usage.completion_tokens))
        answer = completion.choices[0].message.model_dump(exclude_none=True)
        calls = [
            {"id": c["id"], "type": "function", "function": {k: c["function"][k] for k in PARTS}}
            for c in answer.get("tool_calls") or []
        ]
        kept = {"tool_calls": calls} if calls else {}
        run.messages.append({"role": "assistant", "content": answer.get("content"), **kept})
        results = [outcome(call, number) for number, call in enumerate(calls)]
        run.messages.extend(reversed(results))  # in any order
    for request in gateway.upstream.requests:
        apart = ("messages", "metadata")
        parameters = {k: v for k, v in request.body.items() if k not in apart}
        run.received.append([[said(message) for message in request.messages], parameters])
    return run


PARTS = ("name", "arguments")


async def test_a_five_step_loop_is_the_same_whatever_process_serves_it(gateway: Gateway) -> None:
    one = await agent(gateway)
    other = await agent(gateway, lost_at=(1, 3, 5))  # after two calls, three calls and one
    assert one.numbered() == other.numbered()
    called = [
        [
            {"name": call["function"]["name"], "input": json.loads(call["function"]["arguments"])}
            for call in message["tool_calls"]
        ]
        for message in one.messages
        if message.get("tool_calls")
    ]
    assert called == STEPS
    assert len(one.received) == 6
    for step, (messages, _) in enumerate(one.received):
        assert [role for role, _ in messages] == ["user", *["assistant", "user"] * step]
        assert messages == one.received[-1][0][: len(messages)]
    assert one.messages[-1]["content"] == "Demo model: tool results: weather: weather #0: ok"
    assert {"tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= {
        *one.events[0]
    }
