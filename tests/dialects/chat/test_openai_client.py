"""The official `openai` client, unchanged, and its own types held against every answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import Model

from tests.support.harness import Gateway, png
from tests.support.openai_types import typed_body, typed_chunks
from tests.support.wire import MODEL, URL, asking, chunks

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CASES: dict[str, dict[str, Any]] = {
    "text": asking("hi"),
    "long": asking("!demo tokens=30"),
    "length": asking("!demo tokens=30", max_tokens=4),
    "thinking": asking("!demo thinking_force thinking=hm text=so"),
    "ignored": asking("hi", seed=1, logprobs=False, n=1, user="u"),
    "call": asking("!demo call=get_weather", tools=[TOOL]),
    "calls": asking("!demo say=Wait. call=get_weather,get_weather", tools=[TOOL]),
    "legacy": asking("!demo call=get_weather", functions=[TOOL["function"]]),
}


async def answer_calls(gateway: Gateway, asked: dict[str, Any], message: Any) -> None:
    """Gives the results of all calls: the process that waits for them serves the next test."""
    reported = {
        name: message[name] for name in ("tool_calls", "function_call") if message.get(name)
    }
    results: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": call["id"], "content": "42"}
        for call in reported.get("tool_calls", [])
    ]
    if call := reported.get("function_call"):
        results.append({"role": "function", "name": call["name"], "content": "42"})
    if results:
        said = {"role": "assistant", "content": message.get("content"), **reported}
        body = {**asked, "messages": [*asked["messages"], said, *results], "stream": False}
        body.pop("stream_options", None)
        assert (await gateway.http.post(URL, json=body)).status_code == 200


@pytest.mark.parametrize("name", CASES)
async def test_every_body_is_of_the_clients_own_strict_type(gateway: Gateway, name: str) -> None:
    """Those of turns that end otherwise are in test_chat_stream.py."""
    answer = await gateway.http.post(URL, json=CASES[name])
    typed_body(answer.json())
    await answer_calls(gateway, CASES[name], answer.json()["choices"][0]["message"])


@pytest.mark.parametrize("name", CASES)
async def test_every_chunk_is_of_the_clients_own_strict_type(gateway: Gateway, name: str) -> None:
    asked = {**CASES[name], "stream": True, "stream_options": {"include_usage": True}}
    sent = chunks((await gateway.http.post(URL, json=asked)).text)
    whole: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in typed_chunks(sent)[:-2]:
        whole.handle_chunk(chunk)
    message = whole.current_completion_snapshot.choices[0].message
    await answer_calls(gateway, asked, message.to_dict())


async def test_chat(gateway: Gateway) -> None:
    answer = await gateway.client.chat.completions.create(**asking("hi"))
    assert answer.choices[0].message.content == 'Demo model: you said "hi".'
    assert answer.model == MODEL


async def test_an_image(gateway: Gateway) -> None:
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png()}"}},
    ]
    asked: Any = [{"role": "user", "content": parts}]
    await gateway.client.chat.completions.create(model="gpt-4o", messages=asked)
    [request] = gateway.upstream.requests
    assert [block["type"] for block in request.messages[0]["content"]] == ["text", "image"]


async def test_streaming(gateway: Gateway) -> None:
    stream = await gateway.client.chat.completions.create(**asking("!demo tokens=3", stream=True))
    text = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(text) == "word1 word2 word3"


async def test_the_stream_helper(gateway: Gateway) -> None:
    asked = asking('!demo call=get_weather args={"city":"Rome"}', tools=[TOOL])
    async with gateway.client.chat.completions.stream(**asked) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    [call] = final.choices[0].message.tool_calls or []
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "get_weather",
        {"city": "Rome"},
    )
    assert final.choices[0].finish_reason == "tool_calls"
    spoken = {"id": call.id, "type": "function", "function": call.function.to_dict()}
    await answer_calls(gateway, asked, {"tool_calls": [spoken]})


async def test_models(gateway: Gateway) -> None:
    listed = [model async for model in gateway.client.models.list()]
    assert all(model.id.startswith("claude-") for model in listed)
    assert len(listed) > 1
    found = await gateway.client.models.retrieve("sonnet")
    assert isinstance(found, Model)
    assert found.id.startswith("claude-")
    with pytest.raises(openai.NotFoundError) as caught:
        await gateway.client.models.retrieve("llama-3")
    assert caught.value.code == "model_not_found"


ERRORS: list[tuple[str, type[openai.APIStatusError], str]] = [
    ("!demo error=400", openai.BadRequestError, "invalid_value"),
    ("!demo error=404", openai.NotFoundError, "model_not_found"),
    ("!demo error=429", openai.RateLimitError, "rate_limit_exceeded"),
    ("!demo error=500", openai.InternalServerError, "upstream_error"),
    ("!demo error=401", openai.InternalServerError, "claude_auth_failed"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("text", "kind", "code"), ERRORS)
async def test_errors_are_the_clients_typed_exceptions(
    gateway: Gateway, text: str, kind: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    with pytest.raises(kind) as caught:
        await gateway.client.chat.completions.create(**asking(text, stream=stream))
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.request_id == caught.value.response.headers["x-request-id"]


async def test_an_error_inside_a_stream_is_raised_by_the_client(gateway: Gateway) -> None:
    asked = asking("!demo tokens=9 rate=50 cut=3", stream=True)
    stream = await gateway.client.chat.completions.create(**asked)
    seen: list[str] = []

    async def read() -> None:
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content or "")

    with pytest.raises(openai.APIError) as caught:
        await read()
    assert "word1" in "".join(seen)
    assert caught.value.code == "upstream_error"


async def test_the_clients_timeout_ends_the_turn(gateway: Gateway) -> None:
    impatient = gateway.client.with_options(timeout=0.5)
    with pytest.raises(openai.APITimeoutError):
        await impatient.chat.completions.create(**asking("!demo silent"))
    await gateway.upstream.wait_until_idle()
    assert {request.outcome for request in gateway.upstream.requests} <= {"disconnected"}


async def test_an_overload_is_retried_when_the_server_says_so(gateway: Gateway) -> None:
    waits: list[str | None] = []

    async def hurry(response: Any) -> None:
        """Nobody here has time for the real wait."""
        waits.append(response.headers.get("retry-after"))
        if "retry-after" in response.headers:
            response.headers["retry-after"] = "0.01"

    async with (
        openai.DefaultAsyncHttpxClient(event_hooks={"response": [hurry]}) as http,
        AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x", http_client=http) as client,
    ):
        raw = await client.chat.completions.with_raw_response.create(
            **asking("!demo error=529 error_times=1")
        )
    assert raw.retries_taken == 1
    assert waits == ["5", None]
    assert len(gateway.upstream.requests) == 2


async def test_refused_credentials_are_not_retried(gateway: Gateway) -> None:
    patient = gateway.client.with_options(max_retries=3)
    with pytest.raises(openai.InternalServerError):
        await patient.chat.completions.create(**asking("!demo error=401"))
    assert len(gateway.upstream.requests) == 1


async def test_the_synchronous_client(gateway: Gateway) -> None:
    def chat() -> tuple[str | None, str, int]:
        with OpenAI(base_url=f"{gateway.url}/v1", api_key="x", max_retries=0) as client:
            answer = client.chat.completions.create(**asking("hi"))
            with client.chat.completions.create(**asking("!demo tokens=3", stream=True)) as stream:
                text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            return answer.choices[0].message.content, text, len(client.models.list().data)

    answer, text, models = await asyncio.to_thread(chat)
    assert answer == 'Demo model: you said "hi".'
    assert text == "word1 word2 word3"
    assert models > 1
