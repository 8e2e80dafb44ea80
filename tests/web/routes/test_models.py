"""The list of models in OpenAI's and Anthropic's shape. Real CLI, no network."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic.types import ModelInfo
from openai.types import Model

from tests.conftest import MakeGateway
from tests.support.harness import Gateway

VERSION = {"anthropic-version": "2023-06-01"}


async def models(gateway: Gateway, **params: Any) -> dict[str, Any]:
    answer = await gateway.http.get("/v1/models", params=params, headers=VERSION)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_the_header_tells_whose_shape_is_wanted(gateway: Gateway) -> None:
    openai = (await gateway.http.get("/v1/models")).json()
    anthropic = await models(gateway)
    assert [model["id"] for model in openai["data"]] == [m["id"] for m in anthropic["data"]]
    for model in anthropic["data"]:
        ModelInfo.model_validate(model)
    assert (anthropic["has_more"], anthropic["first_id"]) == (False, anthropic["data"][0]["id"])
    assert anthropic["last_id"] == anthropic["data"][-1]["id"]


async def test_what_is_known_of_a_model_is_told(gateway: Gateway) -> None:
    sonnet = (await gateway.http.get("/v1/models/claude-sonnet-5", headers=VERSION)).json()
    assert ModelInfo.model_validate(sonnet).created_at == datetime(2026, 6, 30, tzinfo=UTC)
    assert (sonnet["max_input_tokens"], sonnet["max_tokens"]) == (1_000_000, 128_000)
    assert (sonnet["line"], sonnet["type"], sonnet["capabilities"]) == ("sonnet", "model", None)
    same = (await gateway.http.get("/v1/models/claude-sonnet-5")).json()
    Model.model_validate(same, strict=True)
    assert (same["context_window"], same["max_output_tokens"]) == (1_000_000, 128_000)
    assert same["created"] == datetime(2026, 6, 30, tzinfo=UTC).timestamp()


async def test_the_official_client_walks_through_the_pages(gateway: Gateway) -> None:
    async with AsyncAnthropic(base_url=gateway.url, api_key="unused", max_retries=0) as client:
        everything = [model.id async for model in client.models.list(limit=100)]
        assert [model.id async for model in client.models.list(limit=2)] == everything
        assert len(everything) > 3
        assert (await client.models.retrieve("opus")).display_name
    backwards = await models(gateway, before_id=everything[3], limit=2)
    assert [model["id"] for model in backwards["data"]] == everything[1:3]
    assert backwards["has_more"]
    behind = await models(gateway, after_id=everything[-1])
    assert (behind["data"], behind["has_more"], behind["first_id"]) == ([], False, None)


@pytest.mark.parametrize("limit", [0, 1001])
async def test_a_page_of_no_possible_length_is_refused(gateway: Gateway, limit: int) -> None:
    answer = await gateway.http.get("/v1/models", params={"limit": limit}, headers=VERSION)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["message"].startswith("limit: ")


async def test_errors_have_the_shape_of_who_asks(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_key="k" * 20) as gateway:
        anthropics = (await gateway.http.get("/v1/models", headers=VERSION)).json()
        assert anthropics["type"] == "error"
        assert anthropics["error"]["type"] == "authentication_error"
        openais = (await gateway.http.get("/v1/models")).json()
        assert set(openais) == {"error"}
        assert openais["error"]["code"] == "invalid_api_key"
        unknown = {**VERSION, "x-api-key": "k" * 20}
        answer = await gateway.http.get("/v1/models/llama-3", headers=unknown)
        assert answer.status_code == 404
        assert answer.json()["error"]["type"] == "not_found_error"
        assert answer.headers["request-id"] == answer.json()["request_id"]
