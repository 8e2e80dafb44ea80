"""`response_format`: native where the API takes the schema, else as the input of a tool."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import openai
import pytest
from pydantic import BaseModel, Field

from dialects import json_schema
from tests.support.harness import Gateway, said, system_texts
from tests.support.wire import MODEL, URL, asking, chunks, streamed_text


class Place(BaseModel):
    city: str
    country: str | None


class Trip(BaseModel):
    """A trip."""

    name: str = Field(min_length=1, description="What it is called")
    days: int = Field(ge=1, le=30)
    places: list[Place]
    kind: str = Field(json_schema_extra={"enum": ["work", "fun"]})


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
OPEN = {"type": "object", "additionalProperties": {"type": "integer"}}
ANSWER_TOOL = "StructuredOutput"


def schema_format(schema: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, **fields}}


async def content(gateway: Gateway, body: dict[str, Any]) -> str:
    """The answer's text; the same with and without a stream."""
    answer = await gateway.http.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "stop"
    text: str = choice["message"]["content"]
    streamed = (await gateway.http.post(URL, json={**body, "stream": True})).text
    assert streamed_text(streamed) == text
    assert chunks(streamed)[-1]["choices"][0]["finish_reason"] == "stop"
    return text


@pytest.mark.parametrize("strict", [True, False, None])
async def test_a_schema_is_native_and_the_answer_follows_it(
    gateway: Gateway, strict: bool | None
) -> None:
    body = asking("Who?", response_format=schema_format(PERSON, strict=strict))
    jsonschema.validate(json.loads(await content(gateway, body)), PERSON)
    assert len(gateway.upstream.requests) == 2
    for request in gateway.upstream.requests:
        assert request.body["output_config"]["format"] == {"type": "json_schema", "schema": PERSON}
        assert request.body["tools"] == []


async def test_native_answers_are_in_their_conversation_as_they_were(gateway: Gateway) -> None:
    body = asking("Who?", response_format=schema_format(PERSON))
    first = (await gateway.http.post(URL, json=body)).json()["choices"][0]["message"]
    more = [*body["messages"], first, {"role": "user", "content": "And who else?"}]
    await gateway.http.post(URL, json={**body, "messages": more})
    assert said(gateway.upstream.requests[-1].messages[1]) == (
        "assistant",
        [{"type": "text", "text": first["content"]}],
    )


async def test_parse_and_stream_of_the_official_client_give_pydantic_models(
    gateway: Gateway,
) -> None:
    asked: Any = {"model": MODEL, "messages": [{"role": "user", "content": "Plan a trip"}]}
    parsed = await gateway.client.chat.completions.parse(**asked, response_format=Trip)
    assert isinstance(parsed.choices[0].message.parsed, Trip)
    async with gateway.client.chat.completions.stream(**asked, response_format=Trip) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_completion()
    assert "content.delta" in kinds
    assert kinds[-1] == "content.done"
    assert final.choices[0].message.parsed == parsed.choices[0].message.parsed
    sent = gateway.upstream.requests[-1].body["output_config"]["format"]["schema"]
    assert sent["additionalProperties"] is False
    assert sent["properties"]["days"]["description"] == '{"maximum": 30, "minimum": 1}'


async def test_parse_with_tools_gives_parsed_arguments(gateway: Gateway) -> None:
    tool = openai.pydantic_function_tool(Place, name="look_up")
    text = '!demo call=look_up args={"city":"Rome","country":null}'
    answer = await gateway.client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": text}], tools=[tool]
    )
    [call] = answer.choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == Place(city="Rome", country=None)
    assert gateway.upstream.requests[-1].body["tools"][0]["strict"] is True


@pytest.mark.parametrize(
    "text",
    [
        "Tell me a story, no JSON!",
        """!demo text='{"a": [1, {"b": "é"}]}' chars=2""",
        """!demo text='```json\n{"a": 1}\n```\nThat is it.' chars=3""",
        "!demo text='Not { even close'",
    ],
)
async def test_json_object_is_always_one_object_at_the_cost_of_one_request(
    gateway: Gateway, text: str
) -> None:
    body = asking(text, response_format={"type": "json_object"})
    assert isinstance(json.loads(await content(gateway, body)), dict)
    assert len(gateway.upstream.requests) == 2  # one with and one without a stream
    request = gateway.upstream.requests[-1]
    assert request.body["tools"] == []
    assert "exactly one JSON object" in system_texts(request.body)[-1]


async def test_an_answer_by_tool_leaves_a_clean_process_and_a_plain_history(
    gateway: Gateway,
) -> None:
    body = asking("Hello", response_format=schema_format(OPEN))
    first = await gateway.http.post(URL, json=body)
    assert first.json()["usage"]["cost_usd"] > 0
    message = first.json()["choices"][0]["message"]
    more = [*body["messages"], message, {"role": "user", "content": "Again"}]
    gateway.engine.pool.counts.clear()
    await gateway.http.post(URL, json={**body, "messages": more})
    counts = gateway.engine.pool.counts
    assert (counts["reuse"], counts["blank"]) == (1, 0)
    assert [said(m) for m in gateway.upstream.requests[-1].messages] == [
        ("user", [{"type": "text", "text": "Hello"}]),
        ("assistant", [{"type": "text", "text": message["content"]}]),
        ("user", [{"type": "text", "text": "Again"}]),
    ]


async def test_a_model_that_always_thinks_is_told_to_answer_by_the_tool(
    gateway: Gateway,
) -> None:
    """It may not be forced to call one."""
    fields: dict[str, Any] = {"model": "sonnet", "response_format": schema_format(OPEN)}
    one = asking(f'!demo call={ANSWER_TOOL} args={{"a":1}} say="Here it is:"', **fields)
    answer = await gateway.http.post(URL, json=one)
    choice = answer.json()["choices"][0]
    assert (json.loads(choice["message"]["content"]), choice["finish_reason"]) == ({"a": 1}, "stop")
    assert "x-ignored-parameters" not in answer.headers
    [request] = gateway.upstream.requests
    assert [tool["name"] for tool in request.tools] == [ANSWER_TOOL]
    assert "any" not in request.body.get("tool_choice", {}).values()
    assert system_texts(request.body)[-1] == (
        f"Give your whole answer by calling the tool `{ANSWER_TOOL}` once."
    )


async def test_what_a_model_says_instead_of_calling_the_tool_is_its_answer(
    gateway: Gateway,
) -> None:
    fields: dict[str, Any] = {"model": "sonnet", "response_format": schema_format(OPEN)}
    body = asking("!demo text='{\"a\": 2}'", **fields)
    assert json.loads(await content(gateway, body)) == {"a": 2}


async def test_a_schema_without_a_native_form_is_asked_for_as_a_tool(gateway: Gateway) -> None:
    body = asking("Hello", response_format=schema_format(OPEN, strict=True))
    answer = await gateway.http.post(URL, json=body)
    assert isinstance(json.loads(answer.json()["choices"][0]["message"]["content"]), dict)
    assert answer.headers["x-ignored-parameters"] == "response_format.json_schema.strict"
    [request] = gateway.upstream.requests
    assert request.body["tools"][0]["input_schema"] == OPEN
    assert "format" not in request.body["output_config"]


async def test_a_model_without_native_output_falls_back_and_is_remembered(
    gateway: Gateway,
) -> None:
    text = '!demo error=400 error_times=1 message="output_config.format: not supported"'
    body = asking(text, model="claude-no-format", response_format=schema_format(PERSON))
    jsonschema.validate(json.loads(await content(gateway, body)), PERSON)
    formats = ["format" in r.body.get("output_config", {}) for r in gateway.upstream.requests]
    assert formats == [True, False, False]
    other = asking("Hello", model="claude-no-format", response_format=schema_format(PERSON))
    await gateway.http.post(URL, json=other)
    assert "format" not in gateway.upstream.requests[-1].body.get("output_config", {})


async def test_a_schema_that_the_api_refuses_says_nothing_of_others(gateway: Gateway) -> None:
    text = '!demo error=400 error_times=1 message="output_config.format.schema: too complex"'
    refused = {**PERSON, "description": "refused"}
    model = "claude-picky-of-schemas"
    await gateway.http.post(
        URL, json=asking(text, model=model, response_format=schema_format(refused))
    )
    await gateway.http.post(
        URL, json=asking("Hello", model=model, response_format=schema_format(PERSON))
    )
    formats = ["format" in r.body.get("output_config", {}) for r in gateway.upstream.requests]
    assert formats == [True, False, True]


async def test_tools_and_an_open_object_together_call_or_answer(gateway: Gateway) -> None:
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
    fields: dict[str, Any] = {"tools": [tool], "response_format": schema_format(OPEN)}
    first = asking("!demo call=look_up", **fields)
    called = (await gateway.http.post(URL, json=first)).json()
    assert called["choices"][0]["finish_reason"] == "tool_calls"
    assert gateway.upstream.requests[-1].body["tool_choice"] == {"type": "any"}
    message = called["choices"][0]["message"]
    result = {
        "role": "tool",
        "tool_call_id": message["tool_calls"][0]["id"],
        "content": "42",
    }
    history = [*first["messages"], message, result]
    again = (await gateway.http.post(URL, json={**first, "messages": history})).json()
    assert again["choices"][0]["finish_reason"] in ("stop", "tool_calls")
    asked = asking(f"!demo call=look_up,{ANSWER_TOOL}", **fields)
    both = (await gateway.http.post(URL, json=asked)).json()["choices"][0]
    assert (both["message"]["content"], both["finish_reason"]) == ("{}", "tool_calls")
    assert [c["function"]["name"] for c in both["message"]["tool_calls"]] == ["look_up"]


async def test_a_callers_tool_of_the_same_name_is_told_apart(gateway: Gateway) -> None:
    tool = {"type": "function", "function": {"name": ANSWER_TOOL, "parameters": {}}}
    fields: dict[str, Any] = {"tools": [tool], "response_format": schema_format(OPEN)}
    text = f'!demo call={ANSWER_TOOL} args={{"a":1}}'  # ours: its process is free again
    answered = (await gateway.http.post(URL, json=asking(text, **fields))).json()
    assert answered["choices"][0]["message"]["content"] == '{"a": 1}'
    own, ours = [tool["name"] for tool in gateway.upstream.requests[-1].body["tools"]]
    assert ours == ANSWER_TOOL
    answer = (await gateway.http.post(URL, json=asking(f"!demo call={own}", **fields))).json()
    [call] = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == ANSWER_TOOL


async def test_a_cut_answer_is_a_length_finish(gateway: Gateway) -> None:
    text = f'!demo call={ANSWER_TOOL} args={{"a":"{"x" * 200}"}} delay_after=2:0.2'
    body = asking(text, response_format=schema_format(OPEN), max_tokens=5)
    choice = (await gateway.http.post(URL, json=body)).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"].startswith('{"a": "xxx')


@pytest.mark.parametrize(
    ("response_format", "param"),
    [
        ({"type": "xml"}, "response_format.type"),
        ({}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.schema"),
        ({"type": "json_schema", "json_schema": []}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {}}, "response_format.json_schema.schema"),
        (schema_format("no"), "response_format.json_schema.schema"),
        (schema_format({"type": "objekt"}), "response_format.json_schema.schema.type"),
        (schema_format({"type": "array"}), "response_format.json_schema.schema.type"),
        (schema_format({"anyOf": [PERSON, OPEN]}), "response_format.json_schema.schema.type"),
        (
            schema_format({**PERSON, "properties": {"a": {"minLength": "x"}}}),
            "response_format.json_schema.schema.properties.a.minLength",
        ),
        (
            schema_format({"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}),
            "response_format.json_schema.schema",
        ),
        (
            schema_format({"type": "object", "$ref": "https://schemas.example/a.json"}),
            "response_format.json_schema.schema",
        ),
    ],
)
async def test_a_schema_that_cannot_be_served_is_a_400_with_the_reason(
    gateway: Gateway, response_format: dict[str, Any], param: str
) -> None:
    answer = await gateway.http.post(URL, json=asking("Hello", response_format=response_format))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert not gateway.upstream.requests


STRING = {"type": "string"}
NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}


@pytest.mark.parametrize(
    ("schema", "native"),
    [
        ({"type": "string", "format": "date", "minLength": 3}, {"format": "date", "minLength": 3}),
        ({"type": ["string", "null"]}, {"anyOf": [STRING, {"type": "null"}]}),
        ({"enum": ["a", 1, None]}, {"enum": ["a", 1, None]}),
        ({"oneOf": [STRING, {"type": "null"}]}, {"anyOf": [STRING, {"type": "null"}]}),
        ({"type": "array", "items": STRING, "minItems": 1}, None),
        ({"type": "object"}, "none"),
        ({}, "none"),
        ({"enum": [{"a": 1}]}, "none"),
        ({"type": "array"}, None),
        ({"type": "object", "properties": {"a": STRING}, "patternProperties": {}}, "none"),
        ({"type": "object", "properties": {"a": STRING}, "additionalProperties": True}, "none"),
        ({"not": STRING, "type": "string"}, "none"),
    ],
)
def test_the_native_form_of_a_property(schema: dict[str, Any], native: Any) -> None:
    whole = {"type": "object", "properties": {"p": schema}}
    if native == "none":
        assert json_schema.native(whole) is None
        return
    expected = schema if native is None else native
    if schema.get("minLength"):
        expected = {"type": "string", "format": "date", "description": '{"minLength": 3}'}
    assert json_schema.native(whole) == {
        "type": "object",
        "properties": {"p": expected},
        "additionalProperties": False,
    }


def test_recursive_schemas_have_no_native_form_and_references_keep_theirs() -> None:
    root = {"type": "object", "properties": {"a": {"$ref": "#/$defs/Node"}}}
    assert json_schema.native({**root, "$defs": {"Node": NODE}}) is None
    flat = json_schema.native({**root, "$defs": {"Node": PERSON}})
    assert flat == {**root, "$defs": {"Node": PERSON}, "additionalProperties": False}
