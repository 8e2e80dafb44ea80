"""Function calling: what the model sees, how calls stream, and how results go back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.harness import Gateway, png, said
from tests.support.wire import URL, asking, chunks


def function(name: str, **schema: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, **schema}
    described = {"name": name, "description": f"Does {name}.", "parameters": parameters}
    return {"type": "function", "function": described}


TOOLS = [function("weather"), function("clock"), function("alarm")]
CALLS = '!demo calls=[{"name":"weather","input":{"city":"Rome"}},{"name":"clock","input":{}}]'


async def post(gateway: Gateway, body: dict[str, Any]) -> dict[str, Any]:
    answer = await gateway.http.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    read: dict[str, Any] = answer.json()
    return read


async def called(gateway: Gateway, text: str = CALLS, **fields: Any) -> list[dict[str, Any]]:
    """The conversation up to an answer with calls."""
    body = asking(text, tools=TOOLS, **fields)
    answer = await post(gateway, body)
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    return [*body["messages"], answer["choices"][0]["message"]]


def result(call: dict[str, Any], content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call["id"], "content": content}


async def done(gateway: Gateway, history: list[dict[str, Any]], **fields: Any) -> None:
    """Answers the calls at the end of the history."""
    results = [result(call, "fine") for call in history[-1]["tool_calls"]]
    body = {**asking("", tools=TOOLS, **fields), "messages": [*history, *results]}
    assert (await post(gateway, body))["choices"][0]["finish_reason"] == "stop"


async def test_the_model_sees_the_callers_own_tools_and_nothing_else(gateway: Gateway) -> None:
    """Their order, descriptions of any length, and schemas with any keyword."""
    schema = {
        "title": "T",
        "properties": {"z": {"$ref": "#/$defs/Z"}, "a": {"enum": ["é", None, 1.5]}},
        "$defs": {"Z": {"type": "array", "items": {"oneOf": [{"type": "string"}, True]}}},
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
        "x-own": {"deep": []},
    }
    tools = [function("zeta", **schema), function("alpha"), function("Bash")]
    tools[1]["function"]["description"] = "Very long. " * 3_000
    del tools[2]["function"]["description"]
    await post(gateway, asking("Hello", tools=tools))
    expected = [
        {
            "name": tool["function"]["name"],
            **{k: v for k, v in tool["function"].items() if k == "description"},
            "input_schema": tool["function"]["parameters"],
        }
        for tool in tools
    ]
    expected[-1]["cache_control"] = {"type": "ephemeral"}
    received = gateway.upstream.requests[-1].body["tools"]
    assert json.dumps(received) == json.dumps(expected)


async def test_strict_functions_are_strict_upstream(gateway: Gateway) -> None:
    strict = function("weather", required=["city"], additionalProperties=False)
    strict["function"]["strict"] = True
    answer = await gateway.http.post(URL, json=asking("Hello", tools=[strict, function("clock")]))
    assert [t.get("strict") for t in gateway.upstream.requests[-1].body["tools"]] == [True, None]
    assert "x-ignored-parameters" not in answer.headers


async def test_a_strict_schema_that_the_api_refuses_is_sent_without_it(gateway: Gateway) -> None:
    strict = function("weather", required=["city"], maxProperties=3)
    strict["function"]["strict"] = True
    answer = await gateway.http.post(URL, json=asking("Hello", tools=[strict]))
    assert answer.status_code == 200
    assert answer.headers["x-ignored-parameters"] == "tools.function.strict"
    assert [len(r.body["tools"]) for r in gateway.upstream.requests] == [1, 1]
    assert "strict" not in gateway.upstream.requests[-1].body["tools"][0]


async def test_names_that_the_api_refuses_are_mapped_and_mapped_back(gateway: Gateway) -> None:
    tools = [function("my.weather/now"), function("my_weather_now"), function("x" * 64)]
    first = await post(gateway, asking("Hello", tools=tools))
    native = [tool["name"] for tool in gateway.upstream.requests[-1].body["tools"]]
    assert first["choices"][0]["finish_reason"] == "stop"
    assert native[1:] == ["my_weather_now", "x" * 64]
    assert len({*native}) == 3
    text = f"!demo call={native[0]}"
    messages = asking(text)["messages"]
    answer = await post(gateway, asking(text, tools=tools))
    [call] = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "my.weather/now"
    history = [*messages, answer["choices"][0]["message"], result(call, "fine")]
    await post(gateway, {"model": "claude-sonnet-5", "messages": history, "tools": tools})
    assert said(gateway.upstream.requests[-1].messages[1])[1][0]["name"] == native[0]
    forced = {"type": "function", "function": {"name": "my.weather/now"}}
    await post(gateway, asking("Hello", tools=tools, tool_choice=forced))
    assert gateway.upstream.requests[-1].body["tool_choice"] == {"type": "tool", "name": native[0]}


@pytest.mark.parametrize(
    ("asked", "received", "names"),
    [
        ("auto", {"type": "auto"}, ["clock", "alarm"]),
        ("required", {"type": "any"}, ["clock", "alarm"]),
    ],
)
async def test_allowed_tools_leave_the_model_just_these(
    gateway: Gateway, asked: str, received: dict[str, Any], names: list[str]
) -> None:
    allowed = [{"type": "function", "function": {"name": name}} for name in names]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": asked, "tools": allowed}}
    await post(gateway, asking("Hello", tools=TOOLS, tool_choice=choice))
    body = gateway.upstream.requests[-1].body
    assert [tool["name"] for tool in body["tools"]] == names
    assert body.get("tool_choice", {"type": "auto"}) == received


async def test_a_call_streams_its_id_name_and_index_before_its_arguments(gateway: Gateway) -> None:
    body = asking(f'{CALLS} say="One moment."', tools=TOOLS, stream=True)
    read = chunks((await gateway.http.post(URL, json=body)).text)
    deltas = [chunk["choices"][0]["delta"] for chunk in read]
    assert "".join(delta.get("content") or "" for delta in deltas) == "One moment."
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    begun: list[int] = []
    arguments = {0: "", 1: ""}
    for call in calls:
        if call["index"] not in begun:
            begun.append(call["index"])
            assert call["id"]
            assert call["type"] == "function"
            assert call["function"] == {
                "name": ["weather", "clock"][call["index"]],
                "arguments": "",
            }
        else:
            assert set(call) == {"index", "function"}
            arguments[call["index"]] += call["function"]["arguments"]
    assert begun == [0, 1]
    assert json.loads(arguments[0]) == {"city": "Rome"}
    assert read[-1]["choices"][0]["finish_reason"] == "tool_calls"
    whole = [
        {"id": call["id"], "type": "function", "function": {**call["function"], "arguments": text}}
        for call, text in zip((c for c in calls if "id" in c), arguments.values(), strict=True)
    ]
    answer = {"role": "assistant", "content": "One moment.", "tool_calls": whole}
    await done(gateway, [*body["messages"], answer])


async def test_text_and_calls_of_one_answer_both_arrive(gateway: Gateway) -> None:
    history = await called(gateway, f'{CALLS} say="One moment."')
    assert history[-1]["content"] == "One moment."
    calls = history[-1]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["weather", "clock"]
    await done(gateway, history)


async def test_arguments_are_byte_for_byte_what_the_model_wrote(gateway: Gateway) -> None:
    wanted = {"city": 'é✓ "quoted" \\ \n\t', "n": 1.0, "deep": [{"a": None}], "big": 12345678901234}
    text = f"!demo call=weather args={json.dumps(wanted)} chars=3"
    history = await called(gateway, text)
    [call] = history[-1]["tool_calls"]
    assert call["function"]["arguments"] == json.dumps(wanted, ensure_ascii=False)
    await done(gateway, history)


async def test_legacy_functions_are_answered_in_the_legacy_form(gateway: Gateway) -> None:
    body = asking(
        '!demo call=weather args={"city":"Rome"}', functions=[tool["function"] for tool in TOOLS]
    )
    whole = (await post(gateway, body))["choices"][0]
    assert whole["finish_reason"] == "function_call"
    assert whole["message"]["function_call"]["name"] == "weather"
    assert "tool_calls" not in whole["message"]
    history = [
        *body["messages"],
        whole["message"],
        {"role": "function", "name": "weather", "content": "sunny"},
    ]
    again = await post(gateway, {**body, "messages": history})
    assert again["choices"][0]["message"]["content"] == "Demo model: tool results: weather: sunny"
    read = chunks((await gateway.http.post(URL, json={**body, "stream": True})).text)
    deltas = [chunk["choices"][0]["delta"].get("function_call") for chunk in read]
    assert next(d for d in deltas if d) == {"name": "weather", "arguments": ""}


async def test_parallel_calls_can_be_turned_off(gateway: Gateway) -> None:
    history = await called(gateway, parallel_tool_calls=False)
    assert len(history[-1]["tool_calls"]) == 1
    await done(gateway, history, parallel_tool_calls=False)


Answer = Callable[[dict[str, Any], dict[str, Any]], list[dict[str, Any]]]


def image(text: str) -> list[dict[str, Any]]:
    url = f"data:image/png;base64,{png()}"
    return [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]


RESULTS: dict[str, Answer] = {
    "in the order of the calls": lambda a, b: [result(a, "A"), result(b, "B")],
    "in another order": lambda a, b: [result(b, "B"), result(a, "A")],
    "text parts": lambda a, b: [
        result(a, [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]),
        result(b, "B\n\né"),
    ],
    "an image": lambda a, b: [result(a, image("look")), result(b, "B")],
    "nothing": lambda a, b: [result(a, ""), result(b, [])],
    "an error as its content": lambda a, b: [result(a, "Error: no such city"), result(b, "B")],
    "long": lambda a, b: [result(a, "long " * 20_000), result(b, "B")],
    "with a question": lambda a, b: [
        result(a, "A"),
        result(b, "B"),
        {"role": "user", "content": "And in short?"},
    ],
}


RECEIVED: dict[str, Callable[[str, str], list[dict[str, Any]]]] = {
    "in the order of the calls": lambda a, b: [native(a, "A"), native(b, "B")],
    "in another order": lambda a, b: [native(b, "B"), native(a, "A")],
    "text parts": lambda a, b: [native(a, "1", "2"), native(b, "B\n\né")],
    "nothing": lambda a, b: [native(a), native(b)],
    "an error as its content": lambda a, b: [native(a, "Error: no such city"), native(b, "B")],
    "long": lambda a, b: [native(a, "long " * 20_000), native(b, "B")],
    "with a question": lambda a, b: [
        native(a, "A"),
        native(b, "B"),
        {"type": "text", "text": "And in short?"},
    ],
}
"""What the model receives of RESULTS."""


def native(use_id: str, *texts: str) -> dict[str, Any]:
    parts = [{"type": "text", "text": text} for text in texts]
    return {"type": "tool_result", "tool_use_id": use_id, "content": parts}


@pytest.mark.parametrize("way", RESULTS)
async def test_results_reach_the_model_as_they_were_given(gateway: Gateway, way: str) -> None:
    history = await called(gateway)
    one, two = history[-1]["tool_calls"]
    messages = [*history, *RESULTS[way](one, two)]
    await post(gateway, {**asking("", tools=TOOLS), "messages": messages})
    first, second = gateway.upstream.requests
    asked, answered, results = (said(message) for message in second.messages)
    assert [asked] == [said(message) for message in first.messages]
    assert [(block["id"], block["input"]) for block in answered[1]] == [
        (one["id"], {"city": "Rome"}),
        (two["id"], {}),
    ]
    if way == "an image":
        assert [part["type"] for part in results[1][0]["content"]] == ["text", "image"]
        assert results[1][0]["content"][1]["source"]["data"] == png()
    else:
        expected = RECEIVED.get(way, RECEIVED["in the order of the calls"])
        assert results == ("user", expected(one["id"], two["id"]))
    settled = ("tools", "thinking", "output_config", "max_tokens", "model")
    assert [first.body.get(name) for name in settled] == [second.body.get(n) for n in settled]


async def test_a_history_of_another_server_replays_natively(gateway: Gateway) -> None:
    calls = [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
        {"id": "call:2", "type": "function", "function": {"name": "gone", "arguments": ""}},
    ]
    messages = [
        {"role": "user", "content": "!demo recall"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        result(calls[1], "B"),
        result(calls[0], "A"),
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "!demo recall"},
    ]
    await post(gateway, {**asking("", tools=TOOLS), "messages": messages})
    received = [said(message) for message in gateway.upstream.requests[-1].messages]
    first, second = received[1][1]
    assert (first["id"], first["name"], first["input"]) == ("call_1", "weather", {})
    assert (second["name"], second["input"]) == ("gone", {})
    assert [block["tool_use_id"] for block in received[2][1]] == [second["id"], "call_1"]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda a, b: [result(a, "A")], "b"),
        (lambda a, b: [result(a, "A"), result(b, "B"), result(a, "A")], "a"),
        (lambda a, b: [result(a, "A"), result(b, "B"), result({"id": "call_x"}, "")], "call_x"),
    ],
    ids=["missing", "duplicate", "unasked"],
)
async def test_results_that_do_not_fit_the_calls_are_a_400_that_names_the_id(
    gateway: Gateway, make: Answer, named: str
) -> None:
    calls = [
        {"id": name, "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        for name in ("a", "b")
    ]
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        *make(*calls),
    ]
    answer = await gateway.http.post(URL, json={**asking(""), "messages": messages})
    assert answer.status_code == 400
    assert f"{named}" in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == "invalid_tool_results"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [function("a"), function("a")]}, "tools"),
        ({"tools": TOOLS, "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"function": {"name": "nope"}}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": {"type": "text"}}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": ["auto"]}}, "tool_choice"),
        ({"tools": [function("a", type="array")]}, "tools[0].function.parameters"),
    ],
)
async def test_tools_that_cannot_be_used_are_a_400_that_names_the_place(
    gateway: Gateway, fields: dict[str, Any], param: str
) -> None:
    answer = await gateway.http.post(URL, json=asking("Hello", **fields))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
