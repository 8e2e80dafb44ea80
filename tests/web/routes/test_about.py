"""What the server tells of itself: health, models, credentials, endpoints. Real CLI, no network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from openai.types import Model

from config.settings import Settings
from core.version import VERSION
from main import create_app

pytestmark = pytest.mark.wire


def settings(cli: Path | None = None) -> Settings:
    return Settings.model_construct(claude_cli_path=cli, max_processes=2, pool_warm=0)


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield client


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(settings(), environ={}, demo=True)) as client:
        yield client


@pytest.fixture
async def without_anything(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """No CLI, no credentials."""
    app = create_app(settings(tmp_path / "claude"), environ={"HOME": str(tmp_path)})
    async with client_of(app) as client:
        yield client


async def test_the_live_list_is_in_openais_shape_with_what_claude_code_tells(
    client: httpx.AsyncClient,
) -> None:
    body = (await client.get("/v1/models")).json()
    assert body["object"] == "list"
    sonnet = next(model for model in body["data"] if "sonnet" in model["aliases"])
    assert Model.model_validate(sonnet, strict=True).owned_by == "anthropic"
    assert sonnet["pricing"]["input"] > 0
    assert sonnet["effort_levels"]
    assert len({model["id"] for model in body["data"]}) == len(body["data"])


@pytest.mark.parametrize("name", ["opus", "gpt-4o", "claude-sonnet-5-5"])
async def test_a_model_is_looked_up_by_any_name(client: httpx.AsyncClient, name: str) -> None:
    model = (await client.get(f"/v1/models/{name}")).json()
    assert model["id"].startswith("claude-")


async def test_an_unknown_model_is_a_404(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/models/some/thing")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")


async def test_the_credentials_are_told_without_a_value(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/auth/status")
    status = answer.json()
    assert (status["method"], status["missing"], status["hint"]) == ("anthropic", [], None)
    assert status["cli_version"]
    assert status["sdk_version"]
    assert status["account"]["apiProvider"] == "firstParty"
    assert "sk-ant" not in answer.text


async def test_a_server_that_can_answer_is_ready(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert {check["ok"] for check in answer.json()["checks"].values()} == {True}


async def test_the_root_lists_every_endpoint(client: httpx.AsyncClient) -> None:
    about = (await client.get("/")).json()
    assert about["version"] == VERSION
    assert {"POST /v1/chat/completions", "GET /v1/models", "GET /health"} <= set(about["endpoints"])


async def test_the_documents_are_there(client: httpx.AsyncClient) -> None:
    for path in ("/docs", "/openapi.json"):
        assert (await client.get(path)).status_code == 200


async def test_without_a_cli_the_server_is_alive_but_not_ready(
    without_anything: httpx.AsyncClient,
) -> None:
    assert (await without_anything.get("/health")).json() == {"status": "ok", "version": VERSION}
    answer = await without_anything.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
    checks = answer.json()["checks"]
    assert not any(checks[name]["ok"] for name in ("cli", "process"))
    assert "CLAUDE_CLI_PATH" in checks["cli"]["detail"]


async def test_without_a_cli_the_known_models_and_the_status_are_told(
    without_anything: httpx.AsyncClient,
) -> None:
    assert (await without_anything.get("/v1/models")).json()["data"]
    status = (await without_anything.get("/v1/auth/status")).json()
    assert (status["cli_version"], status["account"]) == (None, None)
