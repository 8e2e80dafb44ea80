"""Forced calls of models that always think, which cannot be forced: they are told to call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.harness import Gateway, system_texts

MODEL = "sonnet"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "The time"}}
OPEN = {
    "type": "function",
    "function": {
        "name": "store",
        "parameters": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
ALL = [WEATHER, OPEN, CLOCK]


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


async def ask(gateway: Gateway, tools: list[Any], choice: Any, **more: Any) -> Any:
    messages = more.pop("messages", [{"role": "user", "content": "Hello"}])
    return await gateway.client.chat.completions.create(
        model=MODEL, messages=messages, tools=tools, tool_choice=choice, **more
    )


@pytest.mark.parametrize(
    ("tools", "choice"), [(ALL, named("get_weather")), ([WEATHER], "required")]
)
async def test_one_function_is_called_with_arguments_of_its_schema(
    gateway: Gateway, tools: list[Any], choice: Any
) -> None:
    answer = await ask(gateway, tools, choice)
    [call] = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    assert call.function.name == "get_weather"
    assert list(json.loads(call.function.arguments)) == ["city"]
    [request] = gateway.upstream.requests
    assert request.body.get("tool_choice", {"type": "auto"})["type"] == "auto"
    assert request.body["thinking"] == {"type": "adaptive"}
    assert "format" not in request.body["output_config"]
    assert [tool["name"] for tool in request.tools] == [tool["function"]["name"] for tool in tools]
    reported = {
        "required": "Respond by calling at least one of the tools `get_weather`.",
        "named": "Respond by calling the tool `get_weather`.",
    }["required" if choice == "required" else "named"]
    assert system_texts(request.body) == [f"{reported} Do not answer with text."]


async def test_of_several_functions_the_model_chooses_one(gateway: Gateway) -> None:
    answer = await ask(gateway, ALL, "required")
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name in ("get_weather", "clock", "store")
    assert isinstance(json.loads(call.function.arguments), dict)


@pytest.mark.parametrize(
    ("tools", "choice", "name"),
    [([OPEN], "required", "store"), (ALL, named("store"), "store"), (ALL, named("clock"), "clock")],
)
async def test_any_schema_can_be_called(
    gateway: Gateway, tools: list[Any], choice: Any, name: str
) -> None:
    answer = await ask(gateway, tools, choice)
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == name
    assert isinstance(json.loads(call.function.arguments), dict)


async def test_the_call_is_streamed_and_its_result_goes_on(gateway: Gateway) -> None:
    stream = await ask(gateway, ALL, named("get_weather"), stream=True)
    pieces = [chunk.choices[0].delta.tool_calls async for chunk in stream if chunk.choices]
    calls = [piece[0] for piece in pieces if piece]
    assert calls[0].id
    assert calls[0].function.name == "get_weather"
    arguments = "".join(call.function.arguments or "" for call in calls)
    said = {
        "role": "assistant",
        "tool_calls": [
            {
                "id": calls[0].id,
                "type": "function",
                "function": {"name": "get_weather", "arguments": arguments},
            }
        ],
    }
    result = {"role": "tool", "tool_call_id": calls[0].id, "content": "sunny"}
    messages = [{"role": "user", "content": "Hello"}, said, result]
    answer = await ask(gateway, ALL, "auto", messages=messages)
    assert "sunny" in answer.choices[0].message.content
    received = gateway.upstream.requests[-1].messages
    assert received[1]["content"][0]["input"] == json.loads(arguments)
