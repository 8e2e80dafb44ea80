"""What the model receives is what the client wrote, and what it says is what the client gets. Real
CLI against the fake upstream, with all forms of provider."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import MakeGateway
from tests.support.harness import Gateway
from tests.support.messages_bodies import bodies

URL = "/v1/messages"
MODEL = "claude-sonnet-5"
Json = dict[str, Any]
STATED = {
    "thinking": {"type": "disabled"},
    "metadata": {},
    "tools": [],
    "system": [],
    "output_config": {"effort": "high"},
}
"""What the engine states where the client is silent, because the CLI would fill it in otherwise
(engine/request.py)."""

PROVIDERS_OWN = {
    "anthropic": {"stream", "model"},
    "bedrock": {"anthropic_version", "anthropic_beta"},
    "vertex": {"anthropic_version", "stream"},
}


def asking(text: str, **fields: Any) -> Json:
    message = {"role": "user", "content": text}
    return {"model": MODEL, "max_tokens": 100, "messages": [message], **fields}


def expected(body: Json) -> Json:
    """What the API is to be asked for this body, without what the form of its provider adds."""
    sent = STATED | {k: v for k, v in body.items() if k not in ("model", "stream")}
    if isinstance(sent["output_config"], dict):
        sent["output_config"] = {"effort": "high", **sent["output_config"]}
    return sent


def received(gateway: Gateway, form: str = "anthropic") -> Json:
    """What arrived: once, but after a refusal the CLI asks Bedrock and Vertex without a stream."""
    first, *again = (
        {k: v for k, v in request.body.items() if k not in PROVIDERS_OWN[form]}
        for request in gateway.upstream.requests
    )
    assert again in ([], [first] if form in ("bedrock", "vertex") else [])
    return first


EXAMPLES = settings(
    phases=[Phase.generate],  # shrinking takes a turn for each try
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


async def check(gateway: Gateway, body: Json, form: str = "anthropic") -> None:
    gateway.upstream.clear()
    answer = await gateway.http.post(URL, json=body)
    assert answer.status_code in (200, 400), answer.text
    sent, wanted = received(gateway, form), expected(body)
    if "system" not in body:
        assert sent.pop("system", []) == wanted.pop("system")
    assert sent == wanted


@pytest.mark.timeout(300)
@settings(EXAMPLES, max_examples=200)
@given(body=st.booleans().flatmap(lambda strange: bodies(strange=strange)))
async def test_the_model_receives_what_the_client_wrote(gateway: Gateway, body: Json) -> None:
    await check(gateway, body)


MARKED = {"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1, None]}}


@pytest.mark.parametrize("form", ["bedrock", "vertex"])
async def test_other_providers_receive_the_same(make_gateway: MakeGateway, form: str) -> None:
    turns = [
        {"role": "user", "content": [MARKED]},
        {"role": "assistant", "content": [CALL]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1"}]},
    ]
    tools = [{"name": "f", "description": "d" * 6000, "input_schema": {"type": "object"}}]
    async with make_gateway(form=form) as gateway:
        await check(gateway, asking("hi", top_k=3, container="c"), form)
        await check(gateway, asking("hi", system=[MARKED], context_management={"edits": []}), form)
        await check(gateway, asking("", messages=turns, tools=tools), form)


async def test_under_a_login_all_but_the_system_prompt_is_the_same(
    make_gateway: MakeGateway,
) -> None:
    """That is the CLI's own there, and holds the caller's."""
    plain = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Yes?"}]
    asked = [asking("hi"), asking("hi", messages=[*plain, plain[0]], system="Be brief.")]
    async with make_gateway(form="oauth") as gateway:
        for body in asked:
            gateway.upstream.clear()
            answer = await gateway.http.post(URL, json=body)
            assert answer.status_code == 200, answer.text
            sent, wanted = received(gateway), expected(body)
            wanted.pop("system")
            assert {name: sent[name] for name in wanted} == wanted
            assert body.get("system", "") in json.dumps(sent["system"])


async def test_betas_and_nothing_else_of_the_headers_are_passed_on(gateway: Gateway) -> None:
    headers = {
        "anthropic-beta": "context-1m-2025-08-07,files-api-2025-04-14",
        "anthropic-version": "2023-06-01",
        "x-api-key": "of-the-caller",
        "x-secret": "s",
    }
    answer = await gateway.http.post(URL, json=asking("hi"), headers=headers)
    assert answer.status_code == 200, answer.text
    [request] = gateway.upstream.requests
    betas = request.headers["anthropic-beta"].split(",")
    assert {"context-1m-2025-08-07", "files-api-2025-04-14"} <= set(betas)
    assert request.headers["x-api-key"] != "of-the-caller"
    assert "x-secret" not in request.headers
    await gateway.http.post(URL, json=asking("hi again"))
    assert "context-1m" not in gateway.upstream.requests[-1].headers["anthropic-beta"]


ANSWERS = [
    "hi",
    "!demo tokens=30",
    "!demo thinking=hm text=so",
    "!demo say=Wait. call=look,look",
    "!demo empty",
    "!demo stop=refusal text=no",
    "!demo stop=pause_turn text=wait",
    "!demo stop=model_context_window_exceeded text=x",
    "!demo text=abXcd",
    "!demo tokens=200",
]
FIELDS: Json = {
    "tools": [{"name": "look", "input_schema": {"type": "object", "properties": {"a": {}}}}],
    "stop_sequences": ["X"],
    "thinking": {"type": "adaptive"},
}


@pytest.mark.parametrize("text", ANSWERS)
async def test_the_answer_is_the_apis_own(gateway: Gateway, text: str) -> None:
    """The same question goes to the upstream itself, and the answers are compared, but for ids,
    counts of the request's length, and pings, which the CLI keeps to itself."""
    body = asking(text, **FIELDS)
    key = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    for stream in (False, True):
        mine = await gateway.http.post(URL, json={**body, "stream": stream})
        url = f"{gateway.upstream.url}{URL}"
        apis = await gateway.http.post(url, json={**body, "stream": stream}, headers=key)
        assert mine.status_code == apis.status_code == 200, mine.text
        assert same(mine.text, stream) == same(apis.text, stream)


def same(raw: str, stream: bool) -> list[Json]:
    if not stream:
        return [neutral(json.loads(raw))]
    frames = [frame.split("\n") for frame in raw.strip().split("\n\n")]
    events = [json.loads(data.removeprefix("data: ")) for _, data in frames]
    assert [name for name, _ in frames] == [f"event: {event['type']}" for event in events]
    return [neutral(event) for event in events if event["type"] != "ping"]


def neutral(value: Any) -> Any:
    if isinstance(value, dict):
        left_out = ("id", "input_tokens")
        return {k: neutral(v) for k, v in value.items() if k not in left_out}
    return [neutral(item) for item in value] if isinstance(value, list) else value


async def test_a_conversation_of_200_messages_with_images_goes_through(gateway: Gateway) -> None:
    image = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo" + "A" * 20_001}
    block = {"type": "image", "source": image}
    messages = [
        {"role": role, "content": [{"type": "text", "text": f"{role} {turn}"}, *more]}
        for turn in range(100)
        for role, more in (("user", [block]), ("assistant", []))
    ]
    body = asking("the end") | {"messages": [*messages, {"role": "user", "content": "the end"}]}
    await gateway.http.post(URL, json=body)
    assert received(gateway)["messages"] == body["messages"]
