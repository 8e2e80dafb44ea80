"""`/v1/sessions/{id}/files`, and that a session's files go with it."""

# ruff: noqa: ASYNC240  # what is tested is on the disk

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from core.conversation import Message as Said
from core.conversation import text_block
from core.events import Event, Finished, TextDelta
from core.turn import ToolGrant, Turn
from dialects.chat import messages
from session_manager import SessionCall, SessionManager, SessionRules
from stores.memory import MemoryStore
from stores.protocols import StoreLimits
from tests.conftest import MakeGateway
from tests.support.harness import Gateway
from tests.support.session_wire import error_of
from toolbox.workspaces import Workspaces

KEYS = "alice:sk-alice-0123456789abcdef,bob:sk-bob-0123456789abcdef"


@pytest.fixture
async def files(gateway: Gateway) -> str:
    """The URL of a new session's files."""
    made = await gateway.http.post("/v1/sessions", json={"id": f"files-{uuid.uuid4().hex}"})
    return f"/v1/sessions/{made.json()['id']}/files"


def workspaces_of(gateway: Gateway) -> Workspaces:
    workspaces: Workspaces = gateway.app.state.gateway.workspaces
    return workspaces


async def listed(gateway: Gateway, files: str) -> list[str]:
    return [file["path"] for file in (await gateway.http.get(files)).json()["data"]]


async def test_a_file_is_put_listed_and_fetched(gateway: Gateway, files: str) -> None:
    assert (await gateway.http.get(files)).json() == {
        "object": "list",
        "data": [],
        "has_more": False,
    }
    put = await gateway.http.put(f"{files}/docs/ü b.html", content=b"<script>\0")
    assert put.json()["path"] == "docs/ü b.html"
    [file] = (await gateway.http.get(files)).json()["data"]
    assert file == put.json()
    assert (file["object"], file["bytes"]) == ("session.file", 9)
    fetched = await gateway.http.get(f"{files}/docs/%C3%BC%20b.html")
    assert fetched.content == b"<script>\0"
    reported = {name: fetched.headers[name] for name in ("content-type", "content-disposition")}
    assert reported == {
        "content-type": "application/octet-stream",
        "content-disposition": "attachment; filename*=UTF-8''%C3%BC%20b.html",
    }
    assert fetched.headers["x-content-type-options"] == "nosniff"


async def test_what_is_not_there_is_not_found(gateway: Gateway, files: str) -> None:
    assert error_of(await gateway.http.get(f"{files}/none")) == (404, "not_found")
    assert error_of(await gateway.http.get(f"{files}/..%2f..%2f..%2fs.db")) == (
        400,
        "invalid_value",
    )
    for method in ("GET", "PUT"):
        answer = await gateway.http.request(method, "/v1/sessions/never/files/a")
        assert error_of(answer) == (404, "session_not_found")
    assert error_of(await gateway.http.get("/v1/sessions/never/files")) == (
        404,
        "session_not_found",
    )


async def test_a_large_file_is_neither_taken_nor_given(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_workspace_file_bytes=100, max_session_bytes=250) as gateway:
        await gateway.http.post("/v1/sessions", json={"id": "x"})
        put = await gateway.http.put("/v1/sessions/x/files/a", content=b"a" * 101)
        assert error_of(put) == (413, "request_too_large")
        for name in ("a", "b", "a", "b"):  # replaced, not added
            put = await gateway.http.put(f"/v1/sessions/x/files/{name}", content=b"a" * 100)
            assert put.status_code == 200
        put = await gateway.http.put("/v1/sessions/x/files/c", content=b"a" * 100)
        assert error_of(put) == (413, "session_too_large")
        directory = Path(await workspaces_of(gateway).session_directory("local", "x"))
        (directory / "large").write_bytes(b"a" * 101)
        got = await gateway.http.get("/v1/sessions/x/files/large")
        assert error_of(got) == (413, "request_too_large")


async def test_files_belong_to_the_key_of_their_session(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_keys=KEYS) as gateway:
        alice, bob = (
            {"Authorization": f"Bearer sk-{name}-0123456789abcdef"} for name in ("alice", "bob")
        )
        for headers in (alice, bob):
            await gateway.http.post("/v1/sessions", json={"id": "x"}, headers=headers)
        url = "/v1/sessions/x/files"
        await gateway.http.put(f"{url}/a", content=b"mine", headers=alice)
        assert (await gateway.http.get(url, headers=bob)).json()["data"] == []
        assert error_of(await gateway.http.get(f"{url}/a", headers=bob)) == (404, "not_found")
        await gateway.http.delete("/v1/sessions/x", headers=bob)
        got = await gateway.http.get(f"{url}/a", headers=bob)
        assert error_of(got) == (404, "session_not_found")
        assert (await gateway.http.get(f"{url}/a", headers=alice)).content == b"mine"


async def test_a_server_open_to_others_takes_no_files(make_gateway: MakeGateway) -> None:
    async with make_gateway(allow_unprotected=True) as gateway:
        await gateway.http.post("/v1/sessions", json={"id": "x"})
        put = await gateway.http.put("/v1/sessions/x/files/a", content=b"a")
        assert error_of(put) == (403, "tools_not_allowed")


async def test_files_go_with_their_session(gateway: Gateway, files: str) -> None:
    await gateway.http.put(f"{files}/a", content=b"mine")
    session = files.split("/")[3]
    await gateway.http.post(f"/v1/sessions/{session}/clear")
    assert await listed(gateway, files) == ["a"]
    directory = Path(await workspaces_of(gateway).session_directory("local", session))
    await gateway.http.delete(f"/v1/sessions/{session}")
    assert not directory.exists()
    await gateway.http.post("/v1/sessions", json={"id": session})
    assert await listed(gateway, files) == []


async def test_files_of_expired_sessions_are_swept(make_gateway: MakeGateway) -> None:
    async with make_gateway(session_ttl_seconds=0.05) as gateway:
        workspaces, sessions = workspaces_of(gateway), gateway.app.state.gateway.sessions
        await gateway.http.post("/v1/sessions", json={"id": "x"})
        names = ("x", "never-begun")
        made = [Path(await workspaces.session_directory("local", name)) for name in names]
        while (await gateway.http.get("/v1/sessions/x")).status_code == 200:
            pass  # each look is a request; it expires after 0.05 s
        await sessions.sweep()
        assert [directory.exists() for directory in made] == [False, False]


# In a turn, with an engine that a test leads


class Led:
    """Sessions over an engine whose turns wait until they are let go."""

    def __init__(self, root: Path) -> None:
        self.workspaces = Workspaces(root)
        self.store = MemoryStore(StoreLimits(ttl_seconds=60), clock=lambda: self.now)
        rules = SessionRules(sweep_seconds=1_000)
        self.sessions = SessionManager(self.store, self.workspaces, self._run, rules)
        self.now = 1_000.0
        self.begun, self.let_go = asyncio.Event(), asyncio.Event()
        self.seen: list[list[str]] = []

    async def _run(self, turn: Turn) -> AsyncGenerator[Event, None]:
        assert turn.builtin_tools is not None
        directory = Path(turn.builtin_tools.directory or "")
        self.seen.append(sorted(path.name for path in directory.iterdir()))
        self.begun.set()
        await self.let_go.wait()
        (directory / "made").write_text("by Claude")
        yield TextDelta("done")
        yield Finished("end_turn")

    async def turn(self, session_id: str) -> list[Event]:
        directory = await self.workspaces.directory("ada", session_id, None)
        said = Said("user", (text_block("go"),))
        turn = Turn("m", (said,), builtin_tools=ToolGrant(directory=directory), principal="ada")
        call = SessionCall(turn, session_id, messages.complete)
        return [event async for event in self.sessions.run(call)]


async def test_a_directory_is_not_deleted_under_a_running_turn(tmp_path: Path) -> None:
    led = Led(tmp_path)
    async with led.sessions:
        first = asyncio.create_task(led.turn("x"))
        await led.begun.wait()
        led.let_go.set()
        await first
        led.begun.clear()
        led.let_go.clear()
        running = asyncio.create_task(led.turn("x"))
        await led.begun.wait()
        await led.sessions.delete("ada", "x")
        await led.sessions.sweep()
        assert (await led.workspaces.listed("ada", "x")).files
        led.let_go.set()
        with pytest.raises(Exception, match="deleted"):
            await running
        await led.sessions.sweep()
        assert (await led.workspaces.listed("ada", "x")).files == ()


async def test_a_session_that_expired_starts_without_its_files(tmp_path: Path) -> None:
    led = Led(tmp_path)
    led.let_go.set()
    async with led.sessions:
        await led.turn("x")
        await led.turn("x")
        led.now += 61
        await led.turn("x")
        assert led.seen == [[], ["made"], []]
