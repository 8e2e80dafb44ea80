"""`/v1/sessions/{id}/changes`, of turns by the real CLI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import MakeGateway
from tests.engine.test_builtin_tools import bash, script
from tests.support.harness import Gateway
from tests.support.session_wire import error_of
from tests.support.wire import URL, asking

CHANGES = "/v1/sessions/s/changes"


@pytest.fixture
async def working(make_gateway: MakeGateway) -> AsyncIterator[Gateway]:
    async with make_gateway(allowed_tools=("Write", "Edit", "Read", "Bash")) as gateway:
        yield gateway


async def work(gateway: Gateway, *steps: Any) -> None:
    body = asking(script(*steps), session_id="s", enable_tools=True)
    answer = await gateway.http.post(URL, json=body)
    assert answer.status_code == 200, answer.text


async def changed(gateway: Gateway) -> dict[str, tuple[str, str | None]]:
    found = (await gateway.http.get(CHANGES)).json()
    assert (found["object"], found["has_more"]) == ("session.changes", False)
    return {file["path"]: (file["change"], file["diff"]) for file in found["data"]}


async def test_the_changes_are_those_of_the_last_turn(working: Gateway) -> None:
    first = {"file_path": "a.txt", "content": "one\ntwo\n"}
    await work(working, ("Write", first), bash("echo hello > b.txt"))
    added = await changed(working)
    assert {path: change for path, (change, _) in added.items()} == {
        "a.txt": "added",
        "b.txt": "added",
    }
    edit = {"file_path": "a.txt", "old_string": "two", "new_string": "2"}
    await work(working, ("Read", {"file_path": "a.txt"}), ("Edit", edit), bash("rm b.txt"))
    diff = "--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
    assert await changed(working) == {
        "a.txt": ("modified", diff),
        "b.txt": ("deleted", "--- a/b.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-hello\n"),
    }
    await working.http.delete("/v1/sessions/s")
    assert error_of(await working.http.get(CHANGES)) == (404, "session_not_found")


async def test_a_session_without_such_a_turn_has_no_changes(working: Gateway) -> None:
    await working.http.post(URL, json=asking("hi", session_id="s"))
    assert error_of(await working.http.get(CHANGES)) == (404, "not_found")


UNDO = f"{CHANGES}/undo"


async def test_the_changes_of_the_last_turn_can_be_undone(working: Gateway) -> None:
    """And the agent, whose process stays, goes on with the files as they are now."""
    first = {"file_path": "run.sh", "content": "one\ntwo\n"}
    await work(working, ("Write", first), bash("chmod 751 run.sh; mkdir d; echo b > d/b.txt"))
    edit = {"file_path": "run.sh", "old_string": "two", "new_string": "2"}
    await work(
        working,
        ("Read", {"file_path": "run.sh"}),
        ("Edit", edit),
        bash("rm -r d; echo new > new.txt; ln -s /etc/hosts link"),
    )
    undone = (await working.http.post(UNDO)).json()
    assert undone == {
        "object": "session.changes.undone",
        "data": ["d/b.txt", "new.txt", "run.sh"],
        "left": [],
    }
    assert {path: change for path, (change, _) in (await changed(working)).items()} == {
        "d/b.txt": "added",
        "run.sh": "added",
    }
    await work(working, bash("cat run.sh d/b.txt; stat -c %a run.sh; ls"))
    messages = working.upstream.requests[-1].messages
    *_, result = (message["content"][0] for message in messages if message["role"] == "user")
    assert result["content"] == "one\ntwo\nb\n751\nd\nlink\nrun.sh"


async def test_turns_are_undone_one_after_the_other(working: Gateway) -> None:
    for number in range(3):
        await work(working, bash(f"echo {number} > a.txt; echo x > {number}.txt"))
    files = "/v1/sessions/s/files"
    for number in (1, 0):
        assert (await working.http.post(UNDO)).json()["left"] == []
        assert (await working.http.get(f"{files}/a.txt")).text == f"{number}\n"
    assert (await working.http.post(UNDO)).json()["data"] == ["0.txt", "a.txt"]
    assert (await working.http.get(files)).json()["data"] == []
    assert error_of(await working.http.post(UNDO)) == (404, "not_found")


async def test_undoing_waits_for_no_turn_that_runs(make_gateway: MakeGateway) -> None:
    tools: dict[str, Any] = {"allowed_tools": ("Write",), "session_wait_seconds": 0.2}
    async with make_gateway(**tools) as gateway:
        await work(gateway, ("Write", {"file_path": "a.txt", "content": "a"}))
        running = asking("!demo tokens=100 rate=20", session_id="s", stream=True)
        async with gateway.http.stream("POST", URL, json=running) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            assert error_of(await gateway.http.post(UNDO)) == (409, "session_busy")


async def test_what_cannot_be_undone_is_told(working: Gateway) -> None:
    assert error_of(await working.http.post(UNDO)) == (404, "session_not_found")
    await working.http.post(URL, json=asking("hi", session_id="s"))
    assert error_of(await working.http.post(UNDO)) == (404, "not_found")
    await work(working, bash("head -c 200000 /dev/zero > large; echo a > a"))
    await work(working, bash("rm large a; mkdir a; echo b > a/b"))
    undone = (await working.http.post(UNDO)).json()
    assert undone["data"] == ["a/b"]
    assert undone["left"] == ["a", "large"]
