"""`/v1/usage/requests/live`: requests as they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.conftest import MakeGateway
from tests.support.harness import Gateway
from tests.support.wire import URL, asking

KEYS = "alice:sk-alice,bob:sk-bob,default:sk-operator"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer sk-{key}"}


@pytest.fixture
async def gateway(make_gateway: MakeGateway) -> AsyncIterator[Gateway]:
    async with make_gateway(api_keys=KEYS) as running:
        yield running


@asynccontextmanager
async def live(
    gateway: Gateway, asker: str, **wanted: Any
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The requests that a key is shown from now on."""
    path = "/v1/usage/requests/live"
    async with gateway.http.stream("GET", path, params=wanted, headers=bearer(asker)) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.aiter_lines()
        assert (await anext(lines)).startswith(":")  # what comes now is new

        async def records() -> AsyncIterator[dict[str, Any]]:
            async for line in lines:
                if line.startswith("data: "):
                    yield json.loads(line[6:])

        yield records()


async def ask(gateway: Gateway, key: str, text: str = "hi", **fields: Any) -> None:
    await gateway.http.post(URL, json=asking(text, **fields), headers=bearer(key))


async def test_an_operator_sees_requests_of_one_key_model_and_status(gateway: Gateway) -> None:
    wanted = {"key": "alice", "model": "haiku", "status": 400}
    async with live(gateway, "operator", **wanted) as records:
        failing = "!demo error=400 message=no"
        await ask(gateway, "alice", model="haiku")
        await ask(gateway, "alice", failing, model="sonnet")
        await ask(gateway, "bob", failing, model="haiku")
        await ask(gateway, "alice", failing, model="haiku")
        async with asyncio.timeout(20):
            record = await anext(records)
    assert (record["key"], record["status"]) == ("alice", 400)
    assert record["model_asked"] == "haiku"


async def test_any_other_key_sees_its_own(gateway: Gateway) -> None:
    async with live(gateway, "bob") as records:
        await ask(gateway, "alice")
        await ask(gateway, "bob")
        async with asyncio.timeout(20):
            record = await anext(records)
    assert (record["key"], record["status"]) == ("bob", 200)
    refused = await gateway.http.get(
        "/v1/usage/requests/live", params={"key": "alice"}, headers=bearer("bob")
    )
    assert refused.status_code == 403
