"""What Claude has nothing behind: clients are told so. Embeddings are passed on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import NotFoundError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from config.settings import Settings
from core.errors import UpstreamError
from tests.conftest import MakeGateway
from tests.support.harness import Gateway, openai_client, serve
from turns.embeddings import Embeddings
from web.routes.absent import ABSENT

PATHS = [
    ("POST", "/v1/audio/speech", "speech server"),
    ("POST", "/v1/audio/transcriptions", "Whisper"),
    ("POST", "/v1/images/generations", "no images"),
    ("POST", "/v1/moderations", "moderation"),
    ("GET", "/v1/batches", "batches"),
    ("POST", "/v1/batches/b_1/cancel", "batches"),
    ("GET", "/v1/files", "files"),
    ("DELETE", "/v1/files/file_1", "files"),
    ("POST", "/v1/fine_tuning/jobs", "fine-tuned"),
    ("GET", "/v1/realtime", "voice"),
    ("POST", "/v1/threads", "Assistants"),
    ("POST", "/v1/embeddings", "EMBEDDINGS_BASE_URL"),
]


@pytest.mark.parametrize(("method", "path", "words"), PATHS)
async def test_what_is_absent_says_so(gateway: Gateway, method: str, path: str, words: str) -> None:
    answer = await gateway.http.request(method, path, json={} if method == "POST" else None)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (404, "invalid_request_error")
    assert words in error["message"]
    assert error["code"] in ("not_supported", "embeddings_not_available")


async def test_message_batches_are_absent_in_anthropics_shape(gateway: Gateway) -> None:
    for path in ("/v1/messages/batches", "/v1/messages/batches/b_1/results"):
        answer = await gateway.http.get(path)
        error = answer.json()
        assert (answer.status_code, error["type"]) == (404, "error")
        assert error["error"]["type"] == "not_found_error"
        assert "no message batches" in error["error"]["message"]
        assert error["request_id"] == answer.headers["request-id"]


def test_each_sentence_says_what_to_do() -> None:
    assert {path: text for path, text in ABSENT.items() if not text.endswith(".")} == {}


async def test_the_official_client_raises_not_found(gateway: Gateway) -> None:
    with pytest.raises(NotFoundError, match="no embedding models"):
        await gateway.client.embeddings.create(model="text-embedding-3-small", input="a")


async def test_who_has_no_key_is_told_nothing_more(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_key="k" * 20) as gateway:
        for method, path, _ in PATHS:
            answer = await gateway.http.request(method, path, json={})
            assert answer.status_code == 401, path


class EmbeddingsServer:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, answer: Response) -> None:
        self.answer = answer
        self.requests: list[tuple[str, dict[str, str], Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        request = Request(scope, receive)
        body = json.loads(await request.body())
        self.requests.append((request.url.path, dict(request.headers), body))
        await self.answer(scope, receive, send)


VECTORS = {
    "object": "list",
    "model": "nomic",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}],
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
}


@asynccontextmanager
async def passing_on(
    make_gateway: MakeGateway, answer: Response, **settings: Any
) -> AsyncIterator[tuple[Gateway, EmbeddingsServer]]:
    server = EmbeddingsServer(answer)
    async with (
        serve(server) as url,
        make_gateway(embeddings_base_url=f"{url}/v1/", **settings) as gateway,
    ):
        yield gateway, server


async def test_embeddings_are_passed_on_with_the_operators_key(make_gateway: MakeGateway) -> None:
    settings = {"embeddings_api_key": "of-the-operator", "api_key": "c" * 20}
    async with (
        passing_on(make_gateway, JSONResponse(VECTORS), **settings) as (gateway, server),
        openai_client(gateway.url, "c" * 20) as client,
    ):
        found = await client.embeddings.create(
            model="nomic", input=["a"], encoding_format="float", extra_headers={"x-secret": "s"}
        )
    assert found.data[0].embedding == [0.5, -1.0]
    [(path, headers, body)] = server.requests
    assert (path, body) == (
        "/v1/embeddings",
        {"model": "nomic", "input": ["a"], "encoding_format": "float"},
    )
    assert headers["authorization"] == "Bearer of-the-operator"
    assert "x-secret" not in headers
    assert "c" * 20 not in str(headers)


async def test_a_refusal_of_the_embeddings_server_is_the_answer(make_gateway: MakeGateway) -> None:
    refusal = JSONResponse({"error": {"message": "no such model"}}, 404)
    async with passing_on(make_gateway, refusal) as (gateway, _):
        answer = await gateway.http.post("/v1/embeddings", json={"input": "a"})
    assert (answer.status_code, answer.json()) == (404, {"error": {"message": "no such model"}})


async def test_a_server_that_gives_no_json_is_a_bad_gateway(make_gateway: MakeGateway) -> None:
    async with passing_on(make_gateway, PlainTextResponse("<html>")) as (gateway, _):
        answer = await gateway.http.post("/v1/embeddings", json={"input": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")


async def test_a_server_that_is_not_there_is_a_bad_gateway(make_gateway: MakeGateway) -> None:
    async with make_gateway(embeddings_base_url="http://127.0.0.1:9/v1") as gateway:
        answer = await gateway.http.post("/v1/embeddings", json={"input": "a"})
    assert answer.status_code == 502
    assert "ConnectError" in answer.json()["error"]["message"]


async def test_an_answer_that_never_ends_is_cut_off() -> None:
    async with serve(EmbeddingsServer(JSONResponse(VECTORS))) as url:
        embeddings = Embeddings(url, max_bytes=50)
        with pytest.raises(UpstreamError, match="too large"):
            await embeddings.ask({"input": "a"})
        await embeddings.aclose()


@pytest.mark.parametrize("address", ["ftp://a.test", "127.0.0.1:11434", "http://"])
def test_only_an_address_of_the_web_is_an_embeddings_server(address: str) -> None:
    with pytest.raises(ValueError, match="must be an http:// or https:// address"):
        Settings(embeddings_base_url=address)
