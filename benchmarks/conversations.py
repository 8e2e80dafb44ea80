"""What is asked: each scenario in OpenAI's shape, and the same in the Messages API's for the floor.

The fake upstream answers at once; `!demo` lines in the system prompt say how (demo/README.md).
"""

from __future__ import annotations

import itertools
import json
from typing import Any

from benchmarks.client import Exchange

Body = dict[str, Any]

MODEL = "claude-sonnet-5"
SYSTEM = "You are a helpful assistant. Answer in one sentence.\n!demo tokens=20"
TOOL_SYSTEM = "You are a helpful assistant with tools.\n!demo call=weather args={} text='Mild.'"
WEATHER: Body = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PACE = "!demo tokens=100 rate=50 first_delay=0.5"
"""A real model's: half a second to the first token, then 20 ms a token, a hundred of them."""

LONG = 200
_numbers = itertools.count(1)


def _body(messages: list[Body], **more: Any) -> Body:
    return {"model": MODEL, "stream": True, "messages": messages, **more}


def fresh() -> Body:
    """A new conversation with the usual system prompt."""
    return _body([{"role": "system", "content": SYSTEM}, _user()])


def unseen() -> Body:
    """A new conversation whose system prompt was never seen before."""
    system = f"You are assistant number {next(_numbers)}.\n!demo tokens=20"
    return _body([{"role": "system", "content": system}, _user()])


def paced() -> Body:
    """A new conversation that is answered at a real model's pace."""
    system = f"You are a helpful assistant. Take your time.\n{PACE}"
    return _body([{"role": "system", "content": system}, _user()])


def long_history() -> Body:
    """A question after LONG messages that no server has seen before, not even in part."""
    said = {"role": "assistant", "content": "It is the smallest of its kind, as far as is known."}
    turns = [message for _ in range(LONG // 2) for message in (_user(), said)]
    return _body([{"role": "system", "content": SYSTEM}, *turns, _user()])


def with_tool() -> Body:
    """A question that the model answers with a call of the caller's function."""
    return _body([{"role": "system", "content": TOOL_SYSTEM}, _user()], tools=[WEATHER])


def long_answer(tokens: int, rate: int | None = None) -> Body:
    """So many tokens, at once or at so many a second."""
    order = f"!demo tokens={tokens}" + (f" rate={rate}" if rate else "")
    question = {"role": "user", "content": f"{order}\nNumber {next(_numbers)}"}
    return _body([{"role": "system", "content": SYSTEM}, question])


def refused() -> Body:
    """A question that the upstream answers with an error."""
    question = {"role": "user", "content": f"!demo error=529\nNumber {next(_numbers)}"}
    return _body([{"role": "system", "content": SYSTEM}, question])


def _user() -> Body:
    return {"role": "user", "content": f"What is special about the number {next(_numbers)}?"}


def continued(body: Body, exchange: Exchange) -> Body:
    """The next request of a client that resends the whole history: another question, or the
    results of the calls."""
    answer = answer_message(exchange.events())
    calls = answer.get("tool_calls", [])
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "18 C"} for call in calls]
    return {**body, "messages": [*body["messages"], answer, *(results or [_user()])]}


def answer_message(events: list[Body]) -> Body:
    """The streamed answer of either dialect as OpenAI's assistant message."""
    text, calls = "", list[Body]()
    for event in events:
        for choice in event.get("choices", []):
            text += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls", []):
                if "id" in call:
                    calls.append(_call(call["id"], call["function"]["name"]))
                calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
        if event.get("type") == "content_block_start":
            block = event["content_block"]
            calls += [_call(block["id"], block["name"])] if block["type"] == "tool_use" else []
        if event.get("type") == "content_block_delta":
            text += event["delta"].get("text", "")
            if "partial_json" in event["delta"]:
                calls[-1]["function"]["arguments"] += event["delta"]["partial_json"]
    message: Body = {"role": "assistant", "content": text or None}
    return {**message, "tool_calls": calls} if calls else message


def _call(call_id: str, name: str) -> Body:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}


def for_messages_api(body: Body) -> Body:
    """The same request as the fake upstream takes it directly."""
    system, *messages = body["messages"]
    native: Body = {
        "model": body["model"],
        "stream": True,
        "max_tokens": 32_000,
        "system": system["content"],
        "messages": [_native(message) for message in messages],
    }
    if "tools" in body:
        functions = [tool["function"] for tool in body["tools"]]
        native["tools"] = [
            {"name": f["name"], "description": f["description"], "input_schema": f["parameters"]}
            for f in functions
        ]
    return native


def _native(message: Body) -> Body:
    if message["role"] == "tool":
        result = {"type": "tool_result", "tool_use_id": message["tool_call_id"]}
        return {"role": "user", "content": [{**result, "content": message["content"]}]}
    blocks = [{"type": "text", "text": message["content"]}] if message["content"] else []
    for call in message.get("tool_calls", []):
        name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
        blocks.append({"type": "tool_use", "id": call["id"], "name": name, "input": arguments})
    return {"role": message["role"], "content": blocks}
