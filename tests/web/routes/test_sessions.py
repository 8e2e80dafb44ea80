"""`/v1/sessions`, expiry and bounds."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeGateway
from tests.support.harness import Gateway, said, system_texts
from tests.support.session_wire import ask, assistant, error_of, heard, stored, user
from tests.support.wire import MODEL, URL, asking

ROOT = Path(__file__).parents[3]


@pytest.fixture
def session() -> str:
    """An id that no other test uses."""
    return f"test-{uuid.uuid4().hex}"


# Endpoints


async def test_a_session_can_be_made_first(gateway: Gateway) -> None:
    body = {"system_prompt": "Be brief.", "metadata": {"title": "A"}, "ttl_seconds": 7_200}
    made = (await gateway.http.post("/v1/sessions", json=body)).json()
    assert (made["object"], made["message_count"], made["metadata"]) == (
        "session",
        0,
        {"title": "A"},
    )
    assert made["expires_at"] - made["created_at"] == 7_200
    response = await ask(gateway, made["id"], "hi")
    assert response.headers["x-session-status"] == "continued"
    assert system_texts(gateway.upstream.requests[-1].body)[-1] == "Be brief."
    again = await gateway.http.post("/v1/sessions", json={"id": made["id"]})
    assert error_of(again) == (409, "session_exists")
    assert (await gateway.http.post("/v1/sessions")).json()["id"].startswith("sess_")
    wrong = await gateway.http.post("/v1/sessions", json={"ttl": 5})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "ttl")


async def test_counts_and_costs_are_told_without_texts(gateway: Gateway, session: str) -> None:
    answers = [await ask(gateway, session, f"secret {n}") for n in range(2)]
    listed = await gateway.http.get("/v1/sessions")
    mine = next(entry for entry in listed.json()["data"] if entry["id"] == session)
    usage = [answer.json()["usage"] for answer in answers]
    assert mine["usage"]["prompt_tokens"] == sum(use["prompt_tokens"] for use in usage)
    assert mine["usage"]["completion_tokens"] == sum(use["completion_tokens"] for use in usage)
    assert mine["cost_usd"] == pytest.approx(sum(use["cost_usd"] for use in usage))
    assert (mine["message_count"], mine["turn_count"], mine["model"]) == (4, 2, MODEL)
    assert "secret" not in listed.text


async def test_the_list_is_paged_from_the_newest(make_gateway: MakeGateway) -> None:
    async with make_gateway() as gateway:
        for number in range(5):
            await gateway.http.post("/v1/sessions", json={"id": f"s{number}"})
        first = (await gateway.http.get("/v1/sessions?limit=3")).json()
        assert [entry["id"] for entry in first["data"]] == ["s4", "s3", "s2"]
        assert (first["first_id"], first["last_id"], first["has_more"]) == ("s4", "s2", True)
        rest = (await gateway.http.get("/v1/sessions?limit=3&after=s2")).json()
        assert ([entry["id"] for entry in rest["data"]], rest["has_more"]) == (["s1", "s0"], False)
        unknown = await gateway.http.get("/v1/sessions?after=none")
        assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "after")
        assert (await gateway.http.get("/v1/sessions?limit=0")).status_code == 400


async def test_clear_drops_the_messages_and_keeps_the_rest(gateway: Gateway, session: str) -> None:
    await ask(gateway, session, {"role": "system", "content": "Be brief."}, "one")
    cleared = await gateway.http.post(f"/v1/sessions/{session}/clear")
    assert (cleared.json()["message_count"], cleared.json()["turn_count"]) == (0, 1)
    await ask(gateway, session, "two")
    assert heard(gateway) == [("user", "two")]
    assert system_texts(gateway.upstream.requests[-1].body)[-1] == "Be brief."


async def test_a_fork_goes_its_own_way(gateway: Gateway, session: str) -> None:
    await ask(gateway, session, "one")
    await ask(gateway, session, "two")
    history = await stored(gateway, session)
    forked = await gateway.http.post(
        f"/v1/sessions/{session}/fork", json={"at": 2, "id": f"{session}.2"}
    )
    assert (forked.json()["id"], forked.json()["message_count"]) == (f"{session}.2", 2)
    await ask(gateway, f"{session}.2", "three")
    assert [text for _, text in heard(gateway)] == ["one", history[1]["content"], "three"]
    assert await stored(gateway, session) == history
    beyond = await gateway.http.post(f"/v1/sessions/{session}/fork", json={"at": 5})
    assert (beyond.status_code, beyond.json()["error"]["param"]) == (400, "at")


async def test_a_fork_that_ends_with_a_question_can_go_on(gateway: Gateway, session: str) -> None:
    await ask(gateway, session, "one")
    forked = (await gateway.http.post(f"/v1/sessions/{session}/fork", json={"at": 1})).json()
    await ask(gateway, forked["id"], "and two")
    [(role, blocks)] = [said(m) for m in gateway.upstream.requests[-1].messages]
    assert (role, [block["text"] for block in blocks]) == ("user", ["one", "and two"])
    assert len(await stored(gateway, forked["id"])) == 2


async def test_an_export_can_be_sent_as_it_is(gateway: Gateway, session: str) -> None:
    await ask(gateway, session, {"role": "system", "content": "Be brief."}, "one")
    exported = await gateway.http.get(f"/v1/sessions/{session}/export")
    assert exported.headers["content-type"].startswith("application/jsonl")
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert [line["role"] for line in lines] == ["system", "user", "assistant"]
    again = await ask(gateway, session, *lines, "two")
    assert again.headers["x-session-status"] == "continued"


async def test_another_principal_sees_404(make_gateway: MakeGateway) -> None:
    keys = "alice:sk-alice-0123456789abcdef,bob:sk-bob-0123456789abcdef"
    async with make_gateway(api_keys=keys) as gateway:
        alice, bob = (
            {"Authorization": f"Bearer sk-{name}-0123456789abcdef"} for name in ("alice", "bob")
        )
        body = asking("mine", session_id="x")
        await gateway.http.post(URL, json=body, headers=alice)
        for method, path in [
            ("GET", "/x"),
            ("DELETE", "/x"),
            ("POST", "/x/clear"),
            ("POST", "/x/fork"),
            ("GET", "/x/export"),
        ]:
            answer = await gateway.http.request(method, f"/v1/sessions{path}", headers=bob)
            assert error_of(answer) == (404, "session_not_found"), (method, path)
            nobody = await gateway.http.request(method, f"/v1/sessions{path}")
            assert nobody.status_code == 401
        assert (await gateway.http.get("/v1/sessions", headers=bob)).json()["data"] == []
        theirs = await gateway.http.post(URL, json=asking("theirs", session_id="x"), headers=bob)
        assert theirs.headers["x-session-status"] == "new"
        assert heard(gateway) == [("user", "theirs")]
        mine = (await gateway.http.get("/v1/sessions/x", headers=alice)).json()
        assert mine["messages"][0] == user("mine")


async def test_statistics_tell_what_was_used_by_day(make_gateway: MakeGateway) -> None:
    async with make_gateway() as gateway:
        answer = await ask(gateway, "x", "hi")
        stats = (await gateway.http.get("/v1/sessions/stats")).json()
        [today] = stats["days"]
        assert (stats["active_sessions"], stats["messages"], stats["turns"]) == (1, 2, 1)
        assert today["usage"] == stats["usage"]
        assert stats["usage"]["prompt_tokens"] == answer.json()["usage"]["prompt_tokens"]
        assert (today["turns"], today["messages"]) == (1, 2)


# Expiry and bounds


async def test_an_expired_session_starts_anew_and_says_so(gateway: Gateway, session: str) -> None:
    await gateway.http.post("/v1/sessions", json={"id": session, "ttl_seconds": 0.3})
    await ask(gateway, session, {"role": "system", "content": "Be brief."}, "one")
    while (await gateway.http.get(f"/v1/sessions/{session}")).status_code == 200:
        pass  # each look is a request; it expires after 0.3 s
    failed = await ask(gateway, session, "!demo error=529")
    assert failed.headers["x-session-status"] == "unchanged"
    response = await ask(gateway, session, "two")
    assert response.headers["x-session-status"] == "expired-restarted"
    assert heard(gateway) == [("user", "two")]
    assert "Be brief." not in system_texts(gateway.upstream.requests[-1].body)
    assert (await ask(gateway, session, "three")).headers["x-session-status"] == "continued"


async def test_expired_sessions_are_swept_by_themselves(make_gateway: MakeGateway) -> None:
    async with make_gateway(session_ttl_seconds=0.05, session_sweep_seconds=0.05) as gateway:
        await ask(gateway, "x", "one")
        store: Any = gateway.app.state.gateway.sessions.store
        async with asyncio.timeout(5):
            while (await store.acquire("local", "x", "t")) is None or await store.messages(1):
                await store.release("local", "x", "t")
                await asyncio.sleep(0.01)
        await store.release("local", "x", "t")
        response = await ask(gateway, "x", "two")
        assert response.headers["x-session-status"] == "expired-restarted"


async def test_a_principal_has_so_many_sessions(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_sessions=1) as gateway:
        await ask(gateway, "x", "one")
        assert error_of(await ask(gateway, "y", "one")) == (400, "session_limit_reached")
        made = await gateway.http.post("/v1/sessions")
        assert error_of(made) == (400, "session_limit_reached")
        assert (await ask(gateway, "x", "two")).status_code == 200
        await gateway.http.delete("/v1/sessions/x")
        assert (await ask(gateway, "y", "one")).status_code == 200


async def test_a_session_has_its_size(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_session_bytes=2_000) as gateway:
        await ask(gateway, "x", "a" * 800 + '\n!demo text="b"')
        full = await ask(gateway, "x", "c" * 1_500)
        assert error_of(full) == (413, "session_too_large")
        assert full.headers["x-session-status"] == "unchanged"
        assert (await ask(gateway, "x", "d" * 100)).status_code == 200
        history = [user("e" * 1_500), assistant("b"), user("f" * 100)]
        assert (await ask(gateway, "x", *history)).headers["x-session-status"] == "rewritten"
