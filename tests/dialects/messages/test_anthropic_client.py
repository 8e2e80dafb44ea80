"""The official `anthropic` client, unchanged: streams, the tool runner, parsed answers, errors and
retries. Real CLI against the fake upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic, beta_async_tool
from anthropic.types import Message
from pydantic import BaseModel

from tests.conftest import MakeGateway
from tests.support.anthropic_clients import anthropic_client
from tests.support.harness import Gateway

MODEL = "claude-sonnet-5"
Json = dict[str, Any]


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[AsyncAnthropic]:
    async with anthropic_client(gateway.url) as client:
        yield client


def asking(text: str, **fields: Any) -> Any:
    message = {"role": "user", "content": text}
    return {"model": MODEL, "max_tokens": 100, "messages": [message], **fields}


async def test_a_message(client: AsyncAnthropic) -> None:
    message = await client.messages.create(**asking("hi"))
    assert isinstance(message, Message)
    assert message.content[0].type == "text"
    assert message.content[0].text == 'Demo model: you said "hi".'
    assert (message.stop_reason, message.model) == ("end_turn", MODEL)
    assert message._request_id is not None
    assert message._request_id.startswith("req_")


@pytest.mark.parametrize(
    "text",
    ["hi", "!demo tokens=20", "!demo thinking=hm text=so", "!demo say=Wait. call=look,look"],
)
async def test_a_stream_is_accumulated_to_the_message_of_the_body(
    client: AsyncAnthropic, text: str
) -> None:
    tools = [{"name": "look", "input_schema": {"type": "object", "properties": {}}}]
    asked = asking(text, tools=tools, thinking={"type": "adaptive"})
    async with client.messages.stream(**asked) as stream:
        seen = [event.type async for event in stream]
        streamed = await stream.get_final_message()
    whole = await client.messages.create(**asked)
    assert (seen[0], seen[-1]) == ("message_start", "message_stop")
    ids = {"id", "input_tokens"}
    assert without(streamed.to_dict(), ids) == without(whole.to_dict(), ids)
    assert whole.content


def without(value: Any, names: set[str]) -> Any:
    """Without these keys and nulls: the accumulator fills in what may be there."""
    if isinstance(value, dict):
        kept = {k: without(v, names) for k, v in value.items() if k not in names}
        return {k: v for k, v in kept.items() if v is not None}
    return [without(item, names) for item in value] if isinstance(value, list) else value


async def test_the_tool_runner_goes_through_to_the_answer(
    client: AsyncAnthropic, gateway: Gateway
) -> None:
    @beta_async_tool
    async def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"Sunny in {city}"

    runner = client.beta.messages.tool_runner(
        **asking('!demo call=get_weather args={"city":"Rome"}'),
        tools=[get_weather],
        thread=False,  # the fake upstream keeps no threads
    )
    final = await runner.until_done()
    assert "Sunny in Rome" in final.content[0].text
    first, second = gateway.upstream.requests
    assert [message["role"] for message in second.messages] == ["user", "assistant", "user"]
    assert second.messages[2]["content"][0]["content"] == "Sunny in Rome"
    assert first.tools == second.tools


class Answer(BaseModel):
    city: str
    population: int


async def test_an_answer_is_parsed(client: AsyncAnthropic, gateway: Gateway) -> None:
    said = '!demo json={"city":"Rome","population":3}'
    message = await client.messages.parse(**asking(said), output_format=Answer)
    assert message.parsed_output == Answer(city="Rome", population=3)
    assert gateway.upstream.requests[-1].body["output_config"]["format"]["type"] == "json_schema"


async def test_tokens_are_counted(client: AsyncAnthropic, gateway: Gateway) -> None:
    asked = asking("Hello, Claude", system="You are a scientist")
    del asked["max_tokens"]
    answer = await client.messages.with_raw_response.count_tokens(**asked)
    assert answer.headers["x-token-count"] == "estimate"
    assert (await answer.parse()).input_tokens == pytest.approx(14, abs=4)
    assert not gateway.upstream.requests
    assert not gateway.upstream.other_requests


async def test_a_prefilled_answer_reaches_the_model(
    client: AsyncAnthropic, gateway: Gateway
) -> None:
    begun = {"role": "assistant", "content": "The answer is ("}
    asked = asking("A or B?", model="claude-haiku-4-5")
    asked["messages"].append(begun)
    await client.messages.create(**asked)
    assert gateway.upstream.requests[-1].messages[-1] == begun


TOP_K: Json = {"extra_body": {"top_k": 3}}
REFUSED: list[tuple[str, Json, type[anthropic.APIStatusError], str]] = [
    ("!demo error=400", {}, anthropic.BadRequestError, "invalid_request_error"),
    ("!demo error=429 retry_after=7", {}, anthropic.RateLimitError, "rate_limit_error"),
    ("!demo error=529", {}, anthropic.OverloadedError, "overloaded_error"),
    ("!demo error=500", {}, anthropic.InternalServerError, "api_error"),
    ("!demo error=401", {}, anthropic.ServiceUnavailableError, "api_error"),
    ("hi", {"model": "llama-3"}, anthropic.NotFoundError, "not_found_error"),
    ("hi", {"max_tokens": 0.5}, anthropic.BadRequestError, "invalid_request_error"),
    ("hi", {"messages": []}, anthropic.BadRequestError, "invalid_request_error"),
    ("!demo reject=top_k", TOP_K, anthropic.BadRequestError, "invalid_request_error"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("text", "fields", "kind", "name"), REFUSED)
async def test_an_error_has_its_class_type_and_id(
    client: AsyncAnthropic,
    text: str,
    fields: Json,
    kind: type[anthropic.APIStatusError],
    name: str,
    stream: bool,
) -> None:
    with pytest.raises(kind) as caught:
        await client.messages.create(**asking(text, **fields), stream=stream)
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", name)
    assert body["request_id"] == caught.value.request_id
    assert caught.value.response.headers["request-id"] == body["request_id"]
    assert body["error"]["message"]


async def test_a_rate_limit_says_when_to_come_back(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.RateLimitError) as caught:
        await client.messages.create(**asking("!demo error=429 retry_after=7"))
    assert int(caught.value.response.headers["retry-after"]) > 0


async def test_a_refused_setting_is_named_in_the_apis_words(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="`top_k` is deprecated for this model"):
        await client.messages.create(**asking("!demo reject=top_k", **TOP_K))


async def test_the_client_asks_again_by_itself(gateway: Gateway) -> None:
    async with anthropic_client(gateway.url, max_retries=2) as client:
        text = "!demo error=529 error_times=1 retry_after=0 text=there"
        message = await client.messages.create(**asking(text))
    assert message.content[0].text == "there"
    assert len(gateway.upstream.requests) == 2


@pytest.mark.parametrize(
    "text", ["!demo tokens=20 rate=100 cut=5", "!demo error_midstream=overloaded_error"]
)
async def test_a_stream_that_breaks_ends_with_an_error(client: AsyncAnthropic, text: str) -> None:
    events = []
    with pytest.raises(anthropic.APIStatusError) as caught:
        async with client.messages.stream(**asking(text)) as stream:
            events = [event.type async for event in stream]
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] in ("api_error", "overloaded_error")
    assert "message_stop" not in events


async def test_a_key_is_taken_in_either_header(make_gateway: MakeGateway) -> None:
    key = "k" * 20
    async with make_gateway(api_key=key) as gateway:
        async with anthropic_client(gateway.url, key) as client:
            assert await client.messages.create(**asking("hi"))
        async with AsyncAnthropic(base_url=gateway.url, auth_token=key, api_key=None) as client:
            assert await client.messages.create(**asking("hi"))
        async with anthropic_client(gateway.url, "wrong") as client:
            with pytest.raises(anthropic.AuthenticationError) as caught:
                await client.messages.create(**asking("hi"))
    body: Any = caught.value.body
    assert body["error"] == {"type": "authentication_error", "message": "The API key is wrong."}


async def test_a_body_that_is_too_large_is_a_413(make_gateway: MakeGateway) -> None:
    async with (
        make_gateway(max_request_bytes=10_000) as gateway,
        anthropic_client(gateway.url) as client,
    ):
        with pytest.raises(anthropic.RequestTooLargeError) as caught:
            await client.messages.create(**asking("x" * 20_000))
    body: Any = caught.value.body
    assert body["error"]["type"] == "request_too_large"


async def test_this_servers_own_limits_are_told_in_anthropics_headers(
    make_gateway: MakeGateway,
) -> None:
    async with (
        make_gateway(rate_limit_enabled=True, rate_limit_chat_per_minute=1) as gateway,
        anthropic_client(gateway.url) as client,
    ):
        answer = await client.messages.with_raw_response.create(**asking("hi"))
        assert answer.headers["anthropic-ratelimit-requests-limit"] == "1"
        assert answer.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert answer.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
        with pytest.raises(anthropic.RateLimitError) as caught:
            await client.messages.create(**asking("hi"))
    body: Any = caught.value.body
    assert body["error"]["type"] == "rate_limit_error"
    assert int(caught.value.response.headers["retry-after"]) > 0


async def test_a_session_keeps_the_conversation(client: AsyncAnthropic, gateway: Gateway) -> None:
    session: Any = {"extra_headers": {"x-session-id": "messages-1"}}
    first = await client.messages.with_raw_response.create(**asking("My name is Ada."), **session)
    assert first.headers["x-session-status"] == "new"
    second = await client.messages.with_raw_response.create(**asking("Who am I?"), **session)
    assert second.headers["x-session-status"] == "continued"
    said = [message["content"] for message in gateway.upstream.requests[-1].messages]
    texts = [content if isinstance(content, str) else content[0]["text"] for content in said]
    assert texts == ["My name is Ada.", 'Demo model: you said "My name is Ada.".', "Who am I?"]
