"""An error has the envelope of the API that its path belongs to, whoever writes it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from core.errors import GatewayError, LimitExceeded, Overloaded
from dialects.base import AnthropicErrors, Wire
from dialects.chat import ChatDialect
from main import create_app
from models import ChatCompletion, ChatRequest, ErrorBody
from tests.support.harness import test_settings as settings_of
from turns import dialects
from web.errors import error_response

PATH = "/v1/in-anthropics-form"
KEY = "sk-right"


class InAnthropicsForm(AnthropicErrors, ChatDialect):
    """An API of which only the envelope matters here."""

    name = "anthropics"
    wire = Wire(PATH, ChatRequest, ChatCompletion, (), ErrorBody)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setitem(dialects.DIALECTS, "anthropics", InAnthropicsForm())
    settings = settings_of(
        api_key=KEY,
        max_request_bytes=1_000,
        max_header_bytes=1_000,
        rate_limit_enabled=True,
        rate_limit_general_per_minute=4,
    )
    return create_app(settings, environ={})


async def refused(app: FastAPI, path: str, **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        headers = {"x-api-key": KEY, **options.pop("headers", {})}
        return await client.post(path, headers=headers, **options)


REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"content": b"x" * 2_000}, 413, "request_too_large", "request_too_large"),
    ({"headers": {"x-long": "x" * 2_000}}, 431, "request_header_fields_too_large", ""),
    ({"headers": {"content-encoding": "gzip"}}, 415, "unsupported_content_encoding", ""),
    ({"json": {}}, 404, "unknown_url", "not_found_error"),
]


@pytest.mark.parametrize(("options", "status", "code", "kind"), REFUSED)
async def test_the_path_decides_the_envelope(
    app: FastAPI, options: dict[str, Any], status: int, code: str, kind: str
) -> None:
    elsewhere = await refused(app, "/v1/elsewhere", **options)
    assert elsewhere.status_code == status
    assert elsewhere.json()["error"]["code"] == code
    answer = await refused(app, PATH, **options)
    body = answer.json()
    assert answer.status_code == status
    assert (body["type"], body["error"]["type"]) == ("error", kind or "invalid_request_error")
    assert body["error"]["message"] == elsewhere.json()["error"]["message"].replace(
        "/v1/elsewhere", PATH
    )
    assert body["request_id"] == answer.headers["x-request-id"]


async def test_a_limit_has_it_too(app: FastAPI) -> None:
    answers = [await refused(app, f"{PATH}/below", json={}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 404, 429]
    assert answers[-1].json()["error"]["type"] == "rate_limit_error"
    assert int(answers[-1].headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("error", "statuses"),
    [(Overloaded("Busy.", retry_after=1), (503, 529)), (LimitExceeded(2), (429, 429))],
)
def test_anthropic_has_a_status_of_its_own_for_overload(
    app: FastAPI, error: GatewayError, statuses: tuple[int, int]
) -> None:
    answers = [error_response(error, path) for path in ("/v1/chat/completions", PATH)]
    assert tuple(answer.status_code for answer in answers) == statuses
    assert all("retry-after" in answer.headers for answer in answers)


def test_a_path_that_only_begins_alike_is_another(app: FastAPI) -> None:
    assert dialects.of_path(f"{PATH}s") is dialects.DEFAULT
    assert dialects.of_path(f"{PATH}/x").name == "anthropics"
