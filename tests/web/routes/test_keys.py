"""`/v1/keys`: keys that are made, changed and revoked while the server runs."""

from __future__ import annotations

import hashlib
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import MakeGateway
from tests.support.postgres import Postgres
from tests.support.wire import URL, asking

OPERATOR = {"authorization": "Bearer sk-operator"}


def bearer(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 201, response.text
    return {"authorization": f"Bearer {response.json()['key']}"}


def files(directory: Path) -> list[Path]:
    return list(directory.glob("s.db*"))


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_a_key_works_as_soon_as_it_is_made_until_it_is_revoked(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        gateway.http.headers.update(OPERATOR)
        alice = bearer(await gateway.http.post("/v1/keys", json={"name": "alice"}))
        assert (await gateway.http.get("/v1/models", headers=alice)).status_code == 200
        off = await gateway.http.patch("/v1/keys/alice", json={"disabled": True})
        assert (off.status_code, off.json()["disabled"]) == (200, True)
        assert (await gateway.http.get("/v1/models", headers=alice)).status_code == 401
        await gateway.http.patch("/v1/keys/alice", json={"disabled": False})
        assert (await gateway.http.get("/v1/models", headers=alice)).status_code == 200
        assert (await gateway.http.delete("/v1/keys/alice")).json()["deleted"] is True
        assert (await gateway.http.get("/v1/models", headers=alice)).status_code == 401
        assert code(await gateway.http.delete("/v1/keys/alice")) == (404, "key_not_found")


async def test_a_secret_is_shown_once_and_stored_as_its_hash(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    async with make_gateway(api_key="sk-operator", database_url=url) as gateway:
        gateway.http.headers.update(OPERATOR)
        secret = (await gateway.http.post("/v1/keys", json={"name": "alice"})).json()["key"]
        for path in ("/v1/keys", "/v1/keys/alice"):
            assert secret not in (await gateway.http.get(path)).text
    stored = b"".join(path.read_bytes() for path in files(tmp_path))
    assert secret.encode() not in stored
    assert hashlib.sha256(secret.encode()).hexdigest().encode() in stored


async def test_keys_of_the_settings_are_listed_and_stay_as_they_are(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        gateway.http.headers.update(OPERATOR)
        [found] = (await gateway.http.get("/v1/keys")).json()["data"]
        assert (found["name"], found["read_only"]) == ("default", True)
        change = await gateway.http.patch("/v1/keys/default", json={"disabled": True})
        assert code(change) == (403, "key_read_only")
        assert code(await gateway.http.delete("/v1/keys/default")) == (403, "key_read_only")
        again = await gateway.http.post("/v1/keys", json={"name": "default"})
        assert code(again) == (409, "key_exists")


async def test_only_operators_manage_keys_and_a_stored_key_can_be_one(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        made = await gateway.http.post("/v1/keys", json={"name": "alice"}, headers=OPERATOR)
        alice = bearer(made)
        boss = {"name": "boss", "operator": True}
        for response in (
            await gateway.http.get("/v1/keys", headers=alice),
            await gateway.http.get("/v1/keys/default", headers=alice),
            await gateway.http.post("/v1/keys", json=boss, headers=alice),
            await gateway.http.patch("/v1/keys/alice", json={"operator": True}, headers=alice),
            await gateway.http.delete("/v1/keys/alice", headers=alice),
        ):
            assert code(response) == (403, "not_the_operator")
        bossy = bearer(await gateway.http.post("/v1/keys", json=boss, headers=OPERATOR))
        assert (await gateway.http.get("/v1/keys", headers=bossy)).status_code == 200


async def test_a_key_may_be_held_to_models_and_a_time(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        rules = {"name": "a", "models": ["haiku"], "expires_at": time.time() + 3_600}
        alice = bearer(await gateway.http.post("/v1/keys", json=rules, headers=OPERATOR))
        refused = await gateway.http.post(URL, json=asking("hi", model="opus"), headers=alice)
        assert code(refused) == (403, "model_not_allowed")
        past = {"expires_at": time.time() - 1}
        await gateway.http.patch("/v1/keys/a", json=past, headers=OPERATOR)
        assert (await gateway.http.get("/v1/models", headers=alice)).status_code == 401


async def test_a_patch_changes_only_what_it_names(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        gateway.http.headers.update(OPERATOR)
        rules = {
            "name": "a",
            "models": ["haiku"],
            "usd_per_day": 2,
            "tokens_per_minute": 9,
            "allowed_tools": ["Read"],
            "disallowed_tools": ["Bash"],
            "builtin_tools": False,
        }
        made = (await gateway.http.post("/v1/keys", json=rules)).json()
        patched = await gateway.http.patch("/v1/keys/a", json={"usd_per_day": None})
        found = (await gateway.http.get("/v1/keys/a")).json()
        assert patched.json() == found
        assert found == {k: v for k, v in made.items() if k != "key"} | {"usd_per_day": None}
        assert found["allowed_tools"] == ["Read"]


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "a b"},
        {"name": ""},
        {"name": "<script>"},
        {"name": "a" * 65},
        {},
        {"name": "a", "usd_per_day": 0},
        {"name": "a", "tokens_per_day": -1},
        {"name": "a", "allowed_tools": ["NoSuchTool"]},
        {"name": "a", "key": "sk-mine"},
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(
    make_gateway: MakeGateway, bad: dict[str, object]
) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        response = await gateway.http.post("/v1/keys", json=bad, headers=OPERATOR)
        assert response.status_code == 400
        assert len((await gateway.http.get("/v1/keys", headers=OPERATOR)).json()["data"]) == 1


async def test_the_first_key_of_an_open_server_closes_it_for_good(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway() as gateway:
        first = await gateway.http.post("/v1/keys", json={"name": "a"})
        assert (first.status_code, first.json()["error"]["param"]) == (400, "operator")
        boss = {"name": "boss", "operator": True}
        headers = bearer(await gateway.http.post("/v1/keys", json=boss))
        assert (await gateway.http.get("/v1/models")).status_code == 401
        assert (await gateway.http.get("/v1/models", headers=headers)).status_code == 200
        await gateway.http.delete("/v1/keys/boss", headers=headers)
        assert (await gateway.http.get("/v1/models")).status_code == 401


async def test_a_key_works_on_every_server_and_is_revoked_on_every_one(
    make_gateway: MakeGateway, postgres: Postgres
) -> None:
    url = postgres.new_database()
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(make_gateway(api_key="sk-operator", database_url=url))
            for _ in range(2)
        ]
        made = await one.http.post("/v1/keys", json={"name": "alice"}, headers=OPERATOR)
        alice = bearer(made)
        assert (await two.http.get("/v1/models", headers=alice)).status_code == 200
        deadline = time.monotonic() + 10
        await one.http.delete("/v1/keys/alice", headers=OPERATOR)
        while (await two.http.get("/v1/models", headers=alice)).status_code == 200:
            assert time.monotonic() < deadline


async def test_when_a_key_was_last_used_is_known(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        gateway.http.headers.update(OPERATOR)
        alice = bearer(await gateway.http.post("/v1/keys", json={"name": "alice"}))
        before = time.time()
        await gateway.http.post(URL, json=asking("hi"), headers=alice)
        await gateway.app.state.gateway.usage.flush()
        found = (await gateway.http.get("/v1/keys/alice")).json()
        assert before <= found["last_used_at"] <= time.time()
