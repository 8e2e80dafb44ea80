"""What users of servers of this kind report about calls of functions and the shape of
conversations: each fault as a client meets it, and what the model receives."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.turn import FunctionTool, Turn
from engine.key_names import KeyNames
from tests.support.harness import Gateway, said, system_texts
from tests.support.wire import URL, asking, chunks

ALWAYS_THINKS = "claude-sonnet-5-5"
TAKES_PREFILL = "claude-haiku-4-5"


def function(name: str, parameters: Any = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters or {}}}


def called(name: str, arguments: str, call_id: str = "call_1") -> dict[str, Any]:
    call = {"name": name, "arguments": arguments}
    tool_calls = [{"id": call_id, "type": "function", "function": call}]
    return {"role": "assistant", "content": None, "tool_calls": tool_calls}


def result(content: str, call_id: str = "call_1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


async def answer(gateway: Gateway, body: dict[str, Any]) -> dict[str, Any]:
    response = await gateway.http.post(URL, json=body)
    assert response.status_code == 200, response.text
    choice: dict[str, Any] = response.json()["choices"][0]
    return choice


def asked_with(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**asking("", **fields), "messages": [{"role": "user", "content": "Go."}, *messages]}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "now"}}])
async def test_a_forced_call_of_a_model_that_always_thinks_leaves_a_usable_process(
    gateway: Gateway, choice: Any
) -> None:
    fields = {"model": ALWAYS_THINKS, "tools": [function("now")], "tool_choice": choice}
    for _ in range(3):
        first = await answer(gateway, asking("Which time is it?", **fields))
        [call] = first["message"]["tool_calls"]
        assert (call["function"]["name"], call["function"]["arguments"]) == ("now", "{}")
        assert first["finish_reason"] == "tool_calls"
    request = gateway.upstream.requests[-1]
    assert request.body.get("tool_choice", {}).get("type", "auto") == "auto"
    assert "`now`" in system_texts(request.body)[-1]
    assert (await answer(gateway, asking("Hello")))["finish_reason"] == "stop"


async def test_words_instead_of_a_required_call_are_content(gateway: Gateway) -> None:
    fields = {"model": ALWAYS_THINKS, "tools": [function("now")], "tool_choice": "required"}
    choice = await answer(gateway, asking('!demo text="No clock here."', **fields))
    assert choice["message"]["content"] == "No clock here."
    assert "tool_calls" not in choice["message"]


async def test_a_required_call_and_a_format_go_together(gateway: Gateway) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    fields = {
        "tools": [function("now")],
        "tool_choice": "required",
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    }
    assert (await answer(gateway, asking("now?", **fields)))["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("tools", [[], [function("other")]])
async def test_a_call_of_a_function_that_is_not_offered_goes_on_with_its_result(
    gateway: Gateway, tools: list[dict[str, Any]]
) -> None:
    history = (called("Bash", '{"command": "ls"}'), result("no such tool"))
    fields = {"tools": tools} if tools else {}
    assert (await answer(gateway, asked_with(*history, **fields)))["finish_reason"] == "stop"
    [request] = gateway.upstream.requests
    assert said(request.messages[-1])[1][0]["content"] == [{"type": "text", "text": "no such tool"}]
    names = {tool["name"] for tool in request.tools}
    assert names == ({"other"} if tools else {"Bash"})
    if not tools:
        assert request.body["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_without_arguments_joins_to_an_empty_object(
    gateway: Gateway, stream: bool
) -> None:
    body = asking("!demo call=now,now", tools=[function("now")], stream=stream)
    raw = await gateway.http.post(URL, json=body)
    arguments = ["", ""]
    if stream:
        for chunk in chunks(raw.text):
            for call in chunk["choices"][0]["delta"].get("tool_calls") or ():
                arguments[call["index"]] += call["function"].get("arguments", "")
    else:
        calls = raw.json()["choices"][0]["message"]["tool_calls"]
        arguments = [call["function"]["arguments"] for call in calls]
    assert arguments == ["{}", "{}"]


@pytest.mark.parametrize(
    "text",
    ['{"city": "Ro', "[1, 2]", "Rome", '{"a":1}{"b":2}', '{"a": NaN}', '{"a": 1e999}', "[" * 2_000],
)
async def test_arguments_that_are_not_an_object_reach_the_model_as_text(
    gateway: Gateway, text: str
) -> None:
    history = (called("weather", text), result("Which city?"))
    await answer(gateway, asked_with(*history, tools=[function("weather")]))
    [request] = gateway.upstream.requests
    assert said(request.messages[1])[1][0]["input"] == {"invalid_json": text}


@pytest.mark.parametrize("text", ["", "  ", "null"])
async def test_no_arguments_are_an_empty_object(gateway: Gateway, text: str) -> None:
    history = (called("now", text), result("12:00"))
    await answer(gateway, asked_with(*history, tools=[function("now")]))
    assert said(gateway.upstream.requests[-1].messages[1])[1][0]["input"] == {}


NAMES = ["$top", "filter[name]", "Account Number", "都市", "x" * 70]


@pytest.mark.parametrize("stream", [True, False])
async def test_property_names_that_the_api_refuses_are_mapped_there_and_back(
    gateway: Gateway, stream: bool
) -> None:
    properties = {name: {"type": "integer"} for name in NAMES}
    schema = {"type": "object", "properties": properties, "required": NAMES}
    tools = [function("find", schema)]
    history = (called("find", json.dumps({"$top": 1})), result("none"))
    body = asked_with(*history, {"role": "user", "content": "find"}, tools=tools, stream=stream)
    raw = await gateway.http.post(URL, json=body)
    assert raw.status_code == 200, raw.text
    if stream:
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks(raw.text)]
        calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
        arguments = "".join(call["function"].get("arguments", "") for call in calls)
    else:
        [call] = raw.json()["choices"][0]["message"]["tool_calls"]
        arguments = call["function"]["arguments"]
    assert set(json.loads(arguments)) == set(NAMES)
    request = gateway.upstream.requests[-1]
    sent = request.tools[0]["input_schema"]
    assert set(sent["properties"]) == set(sent["required"])
    assert not set(NAMES) & set(sent["properties"])
    assert set(said(request.messages[1])[1][0]["input"]) < set(sent["properties"])


def test_patterns_of_names_are_no_names() -> None:
    schema = {"type": "object", "patternProperties": {"^x-": {}}, "properties": {"a": {}}}
    turn = Turn("m", (), tools=(FunctionTool("f", "", schema),))
    assert not KeyNames(turn)
    assert KeyNames(turn).apply(turn) is turn


@pytest.mark.parametrize("form", ["anyOf", "oneOf", "allOf"])
async def test_parameters_whose_root_is_a_choice_become_one_object(
    gateway: Gateway, form: str
) -> None:
    variants = [
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]},
    ]
    await answer(gateway, asking("Hello", tools=[function("f", {form: variants})]))
    sent = gateway.upstream.requests[-1].tools[0]["input_schema"]
    assert set(sent["properties"]) == {"a", "b"}
    assert sent.get("required", []) == (["a", "b"] if form == "allOf" else [])
    assert (form in sent.get("description", "")) == (form != "allOf")


async def test_required_as_an_object_is_required(gateway: Gateway) -> None:
    body = asking("Hello", tools=[function("f")], tool_choice={"type": "required"})
    await answer(gateway, body)
    assert gateway.upstream.requests[-1].body["tool_choice"] == {"type": "any"}


async def test_an_answer_at_the_end_is_continued_natively_where_the_model_can(
    gateway: Gateway,
) -> None:
    begun = {"role": "assistant", "content": "Once upon "}
    await answer(gateway, asked_with(begun, model=TAKES_PREFILL))
    messages = gateway.upstream.requests[-1].messages
    assert said(messages[-1]) == ("assistant", [{"type": "text", "text": "Once upon"}])


@pytest.mark.parametrize("closing", [[], [{"role": "system", "content": "Be brief."}]])
async def test_elsewhere_the_model_is_asked_to_go_on(
    gateway: Gateway, closing: list[dict[str, Any]]
) -> None:
    begun = {"role": "assistant", "content": "Once upon "}
    await answer(gateway, asked_with(begun, *closing))
    *_, before, last = gateway.upstream.requests[-1].messages
    assert said(before) == ("assistant", [{"type": "text", "text": "Once upon "}])
    assert last["role"] == "user"
    assert "Continue" in said(last)[1][0]["text"]
