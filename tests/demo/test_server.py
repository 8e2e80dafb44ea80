"""The fake upstream over real sockets, asked by Anthropic's official client."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from demo import FakeAnthropic, eventstream

pytestmark = pytest.mark.wire

if TYPE_CHECKING:  # else a second of each worker of the test run
    from anthropic import AsyncAnthropic
    from anthropic.types import Message

MODEL = "claude-demo"


@pytest.fixture
async def upstream() -> AsyncIterator[FakeAnthropic]:
    async with FakeAnthropic() as fake_upstream:
        yield fake_upstream


def client_of(url: str) -> AsyncAnthropic:
    from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient

    plain = DefaultAsyncHttpxClient(verify=False)  # reads no certificates
    return AsyncAnthropic(api_key="demo", base_url=url, max_retries=0, http_client=plain)


@pytest.fixture
async def client(upstream: FakeAnthropic) -> AsyncIterator[AsyncAnthropic]:
    async with client_of(upstream.url) as made:
        yield made


@pytest.fixture
async def http(upstream: FakeAnthropic) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"x-api-key": "demo", "anthropic-version": "2023-06-01"}
    async with httpx.AsyncClient(base_url=upstream.url, headers=headers, verify=False) as made:
        yield made


def body(text: str, **more: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "max_tokens": 500,
        "messages": [{"role": "user", "content": text}],
        **more,
    }


async def streamed(client: AsyncAnthropic, text: str) -> Message:
    async with client.messages.stream(**body(text)) as stream:
        return await stream.get_final_message()


async def test_stream_and_body_are_the_same_message(client: AsyncAnthropic) -> None:
    whole = await client.messages.create(**body("Hello you"))
    stream = await streamed(client, "Hello you")
    assert stream.to_dict()["content"] == whole.to_dict()["content"]
    assert stream.stop_reason == whole.stop_reason == "end_turn"
    assert stream.usage.output_tokens == whole.usage.output_tokens


async def test_a_request_is_recorded(upstream: FakeAnthropic, client: AsyncAnthropic) -> None:
    before = time.monotonic()
    await client.messages.create(**body("Hello", system="Be brief."))
    (request,) = upstream.requests
    assert (request.provider, request.path) == ("anthropic", "/v1/messages")
    assert (request.model, request.system, request.tools) == (MODEL, "Be brief.", [])
    assert request.messages == [{"role": "user", "content": "Hello"}]
    # this client sends its key as a bearer token
    assert request.headers["authorization"] == "Bearer demo"
    assert before <= request.received_at <= time.monotonic()
    assert request.outcome == "answered"
    upstream.clear()
    assert not upstream.requests


async def test_the_bytes_of_a_request_are_kept(
    upstream: FakeAnthropic, http: httpx.AsyncClient
) -> None:
    sent = (
        b'{ "messages":[{"content":"\\u00fc 1.0","role":"user"}],"stream":false,\n'
        b'"model":"claude-demo", "max_tokens":10 }'
    )
    assert (await http.post("/v1/messages", content=sent)).status_code == 200
    (request,) = upstream.requests
    assert request.raw == sent
    assert list(request.body) == ["messages", "stream", "model", "max_tokens"]
    await http.post("/v1/messages/count_tokens", content=sent)
    assert upstream.other_requests[-1].raw == sent


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b'"\\ud83d"', b'"\xff"'])
async def test_what_json_has_not_is_refused(http: httpx.AsyncClient, value: bytes) -> None:
    answer = await http.post("/v1/messages", content=b'{"temperature": %s}' % value)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("The request body is not valid JSON")


async def test_an_escaped_pair_of_surrogates_is_a_character(http: httpx.AsyncClient) -> None:
    asked = json.dumps(body("!demo text=\U0001f600")).encode()
    assert b"\\ud83d" in asked
    answer = await http.post("/v1/messages", content=asked)
    assert answer.json()["content"][0]["text"] == "\U0001f600"


async def test_a_beta_opens_its_field(http: httpx.AsyncClient) -> None:
    asked = body("x", context_management={"edits": []})
    assert (await http.post("/v1/messages", json=asked)).status_code == 400
    beta = {"anthropic-beta": "context-management-2025-06-27"}
    assert (await http.post("/v1/messages", json=asked, headers=beta)).status_code == 200


async def test_a_body_over_the_limit_is_too_large(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/messages", content=b" " * (32 * 1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large")


async def test_recording_can_be_off() -> None:
    async with FakeAnthropic(record=0) as upstream, httpx.AsyncClient() as http:
        await http.post(f"{upstream.url}/v1/messages", json=body("x"))
        await upstream.wait_for_requests(1)
        assert not upstream.requests


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (413, "APIStatusError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (503, "APIStatusError"),
        (529, "APIStatusError"),
    ],
)
async def test_errors_look_like_the_apis(
    upstream: FakeAnthropic,
    client: AsyncAnthropic,
    status: int,
    error: str,
) -> None:
    import anthropic

    expected: type[anthropic.APIStatusError] = getattr(anthropic, error)
    with pytest.raises(expected) as caught:
        await client.messages.create(**body(f"!demo error={status} retry_after=7 message=no"))
    assert caught.value.status_code == status
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.response.headers["request-id"] == caught.value.request_id
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"]["message"] == "no"
    assert upstream.requests[-1].outcome == f"error {status}"


async def test_an_error_in_mid_stream(upstream: FakeAnthropic, client: AsyncAnthropic) -> None:
    from anthropic import APIStatusError

    with pytest.raises(APIStatusError, match="overloaded_error"):
        await streamed(client, "!demo tokens=9 error_midstream=overloaded_error")
    assert upstream.requests[-1].outcome == "error 529"


async def test_a_cut_stream_breaks_the_connection(http: httpx.AsyncClient) -> None:
    asked = body("!demo tokens=9 cut=5", stream=True)
    parts: list[str] = []

    async def read() -> None:
        async with http.stream("POST", "/v1/messages", json=asked) as response:
            async for part in response.aiter_text():
                parts.append(part)

    with pytest.raises(httpx.RemoteProtocolError):
        await read()
    received = "".join(parts)
    assert received.count('"text_delta"') == 5
    assert "message_stop" not in received


@pytest.mark.parametrize("line", ["hang", "silent", "tokens=400 rate=10", "first_delay=60"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_is_noticed(
    upstream: FakeAnthropic, http: httpx.AsyncClient, line: str, stream: bool
) -> None:
    asked = asyncio.create_task(
        http.post("/v1/messages", json=body(f"!demo {line}", stream=stream), timeout=30)
    )
    await upstream.wait_for_requests(1)
    assert upstream.open_streams == 1
    asked.cancel()
    await upstream.wait_until_idle()
    assert upstream.requests[0].outcome == "disconnected"


async def test_waiting_has_an_end(upstream: FakeAnthropic) -> None:
    with pytest.raises(TimeoutError):
        await upstream.wait_for_requests(1, timeout_seconds=0.01)


async def test_leaving_is_quick_even_with_open_answers() -> None:
    async with httpx.AsyncClient(timeout=30) as http:
        async with FakeAnthropic() as upstream:
            url = f"{upstream.url}/v1/messages"
            headers = {"x-api-key": "demo", "anthropic-version": "2023-06-01"}
            asked = body("!demo hang", stream=True)
            pending = asyncio.create_task(http.post(url, json=asked, headers=headers))
            await upstream.wait_for_requests(1)
            began = time.monotonic()
        assert time.monotonic() - began < 10
        with pytest.raises(httpx.TransportError):
            await pending


async def test_rates_and_pauses_are_kept(client: AsyncAnthropic) -> None:
    began = time.monotonic()
    await streamed(client, "!demo tokens=11 rate=100 delay_after=3:0.1")
    assert 0.19 <= time.monotonic() - began < 5


async def test_small_questions_beside_the_model(
    upstream: FakeAnthropic, client: AsyncAnthropic, http: httpx.AsyncClient
) -> None:
    counted = await client.messages.count_tokens(
        model=MODEL, messages=[{"role": "user", "content": "Hello"}]
    )
    assert counted.input_tokens > 5
    assert [model.type async for model in client.models.list()] == ["model"] * 3
    assert (await http.head("/")).status_code == 200
    missing = await http.get("/v1/nothing")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")
    paths = [request.path for request in upstream.other_requests]
    assert paths == ["/v1/messages/count_tokens", "/v1/models", "/v1/nothing"]
    assert not upstream.requests


async def test_a_broken_body_and_a_bad_key_are_refused(http: httpx.AsyncClient) -> None:
    broken = await http.post("/v1/messages", content=b"{")
    assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request_error")
    keyless = await http.post("/v1/messages", json=body("x"), headers={"x-api-key": ""})
    assert keyless.status_code == 401
    refused = await http.post("/v1/messages", json=body("x"), headers={"x-api-key": "invalid"})
    assert refused.json()["error"] == {
        "type": "authentication_error",
        "message": "invalid x-api-key",
    }


async def test_bedrock_streams_frames(upstream: FakeAnthropic, http: httpx.AsyncClient) -> None:
    asked = body("!demo text=hi") | {"anthropic_version": "bedrock-2023-05-31"}
    del asked["model"]
    path = "/model/us.anthropic.claude-demo-v1%3A0/invoke"
    stream = await http.post(f"{path}-with-response-stream", json=asked)
    frames = list(eventstream.decode(stream.content))
    events = [json.loads(base64.b64decode(json.loads(f.payload)["bytes"])) for f in frames]
    assert events[0]["type"] == "message_start"
    assert events[-1] == {"type": "message_stop"}
    assert (await http.post(path, json=asked)).json()["content"][0]["text"] == "hi"
    assert upstream.requests[0].model == "us.anthropic.claude-demo-v1:0"


async def test_bedrock_errors_are_awss(http: httpx.AsyncClient) -> None:
    asked = body("!demo error_midstream=rate_limit_error error_after=1")
    asked |= {"anthropic_version": "bedrock-2023-05-31"}
    del asked["model"]
    path = "/model/us.anthropic.claude-demo/invoke-with-response-stream"
    frames = list(eventstream.decode((await http.post(path, json=asked)).content))
    assert frames[-1].headers[":exception-type"] == "throttlingException"
    refused = await http.post(path, json=asked | {"max_tokens": -1})
    assert refused.headers["x-amzn-errortype"] == "ValidationException"
    assert list(refused.json()) == ["message"]


async def test_vertex_streams_events(upstream: FakeAnthropic, http: httpx.AsyncClient) -> None:
    asked = body("!demo text=hi") | {"anthropic_version": "vertex-2023-10-16"}
    del asked["model"]
    place = "projects/p/locations/r/publishers/anthropic/models/claude-demo"
    for prefix in ("", "/v1"):
        stream = await http.post(f"{prefix}/{place}:streamRawPredict", json=asked)
        assert stream.text.startswith("event: message_start\n")
        answer = await http.post(f"{prefix}/{place}:rawPredict", json=asked)
        assert answer.json()["content"][0]["text"] == "hi"
    assert upstream.requests[0].model == "claude-demo"


async def test_it_runs_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "demo", "--port", "0"]
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=root)
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    async with client_of(url) as client:
        assert (await client.messages.create(**body("Hello"))).content
    process.terminate()
    assert await process.wait() == 0
