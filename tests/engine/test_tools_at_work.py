"""Through the real CLI: where built-in tools work, and MCP servers that the model calls."""

# what is tested is on the disk

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.sandbox import missing_for_sandbox, sandbox_settings
from config.settings import SESSIONS_FOLDER, Settings
from demo import FakeAnthropic
from main import create_app
from tests.engine.test_builtin_tools import Step, bash, script
from tests.support.harness import Gateway, gateway_at, serve
from tests.support.harness import test_settings as settings_for
from tests.support.mcp_time import NOON, TIME, mcp_file, time_over_http
from tests.support.session_wire import error_of
from tests.support.wire import URL, asking

TOKEN = "time-token"
RECORD = 'env -0 > "$0.env"; exec "$@"'
"""What keeps the environment that an MCP server is given, in a file where it runs."""


def recorded(name: str, command: str, *arguments: str, **environ: str) -> dict[str, Any]:
    """An MCP server that keeps its environment in `<name>.env` before it starts."""
    return {"command": "sh", "args": ["-c", RECORD, name, command, *arguments], "env": environ}


@pytest.fixture(scope="module")
async def shared_tools_gateway(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A server with commands, and MCP servers in a file and added."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("servers")
    settings: dict[str, Any] = {
        "allowed_tools": ("all",),
        "pool_warm": 0,
        "mcp_config": mcp_file(
            folder,
            time=recorded("time", TIME["command"], *TIME["args"], MINE="yes"),
            broken=recorded("broken", "/nowhere", ANTHROPIC_API_KEY="its own"),
        ),
    }
    async with (
        time_over_http(TOKEN) as time_url,
        gateway_at(shared_upstream, home, **settings) as gateway,
    ):
        entry = {"name": "far", "url": f"{time_url}/mcp"}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        added = await gateway.http.post("/v1/mcp/servers", json={**entry, "headers": headers})
        assert added.status_code == 200
        yield gateway


@pytest.fixture
def gateway(shared_tools_gateway: Gateway, upstream: FakeAnthropic) -> Gateway:
    return shared_tools_gateway


@pytest.fixture
def session() -> str:
    return f"work-{uuid.uuid4().hex}"


@pytest.fixture
def root(gateway: Gateway) -> Path:
    found: Path = gateway.app.state.gateway.settings.workspace_root
    return found


async def ask(gateway: Gateway, *steps: Step, **fields: Any) -> httpx.Response:
    return await gateway.http.post(URL, json=asking(script(*steps), **fields))


async def results(gateway: Gateway, *steps: Step, **fields: Any) -> list[tuple[str, str]]:
    """Status and result of each use."""
    answer = await ask(gateway, *steps, **fields)
    assert answer.status_code == 200, answer.text
    uses = answer.json()["choices"][0]["message"]["claude_activity"]
    return [(use["status"], use["result"]) for use in uses]


def directories(root: Path, session: str) -> list[Path]:
    return list(root.glob(f".sessions/*/{session}*"))


def received(gateway: Gateway) -> str:
    """The results that the model received, as JSON."""
    messages = gateway.upstream.requests[-1].body["messages"]
    content = [block for message in messages for block in message["content"]]
    return json.dumps([block for block in content if "tool_result" in str(block)])


# Where they work


async def test_a_session_keeps_its_directory_from_turn_to_turn_until_it_is_deleted(
    gateway: Gateway, session: str
) -> None:
    asked = {"session_id": session, "enable_tools": True}
    files = f"/v1/sessions/{session}/files"
    await gateway.http.post("/v1/sessions", json={"id": session})
    await gateway.http.put(f"{files}/data.csv", content=b"a,b\n1,2\n")
    write = ("Write", {"file_path": "notes/a.txt", "content": "one"})
    done = await results(gateway, bash("cat data.csv"), write, **asked)
    assert done[0] == ("finished", "a,b\n1,2")  # what a client put there
    assert done[1][0] == "finished"
    found = await results(gateway, ("Read", {"file_path": "notes/a.txt"}), bash("ls"), **asked)
    assert found[1] == ("finished", "data.csv\nnotes")
    assert "one" in found[0][1]
    listed = (await gateway.http.get(files)).json()["data"]
    assert [(file["path"], file["bytes"]) for file in listed] == [
        ("data.csv", 8),
        ("notes/a.txt", 3),
    ]
    assert (await gateway.http.get(f"{files}/notes/a.txt")).text == "one"
    assert (await gateway.http.delete(f"/v1/sessions/{session}")).status_code == 200
    assert (await results(gateway, bash("ls; pwd"), **asked))[0][1].startswith("/")


async def test_a_request_may_work_in_a_directory_of_the_root(gateway: Gateway, root: Path) -> None:
    (root / "project").mkdir(parents=True)
    (root / "project/README.md").write_text("hello\n")
    (root / "secret.txt").write_text("s3cret")
    edit = {"file_path": "README.md", "old_string": "hello", "new_string": "goodbye"}
    steps: list[Step] = [
        ("Read", {"file_path": "README.md"}),
        ("Edit", edit),
        ("Read", {"file_path": "../secret.txt"}),
        ("Read", {"file_path": str(root / "secret.txt")}),
    ]
    done = await results(gateway, *steps, cwd="project", enable_tools=True)
    assert [status for status, _ in done] == ["finished", "finished", "failed", "failed"]
    assert (root / "project/README.md").read_text() == "goodbye\n"
    assert "s3cret" not in json.dumps(gateway.upstream.requests[-1].body)


@pytest.mark.parametrize(
    ("cwd", "expected"),
    [
        ("/etc", (403, "path_not_allowed")),
        ("..", (403, "path_not_allowed")),
        (".sessions", (403, "path_not_allowed")),
        ("none", (400, "invalid_value")),
    ],
)
async def test_a_directory_elsewhere_is_refused(
    gateway: Gateway, root: Path, cwd: str, expected: tuple[int, str]
) -> None:
    (root / SESSIONS_FOLDER).mkdir(exist_ok=True)  # it comes with the first session
    answer = await ask(gateway, bash("ls"), cwd=cwd, enable_tools=True)
    assert error_of(answer) == expected
    assert answer.json()["error"]["param"] == "cwd"
    assert not gateway.upstream.requests


FORESEEN: list[tuple[dict[str, Any], tuple[str, str] | None]] = [
    ({"cwd": "/etc"}, ("path_not_allowed", "cwd")),
    ({"cwd": "none"}, ("invalid_value", "cwd")),
    ({"mcp_servers": ["nope"]}, ("invalid_value", "mcp_servers")),
    ({"mcp_servers": ["time"]}, None),
]


@pytest.mark.parametrize(("fields", "expected"), FORESEEN)
async def test_an_explanation_foresees_what_is_refused_and_makes_nothing(
    gateway: Gateway,
    session: str,
    root: Path,
    fields: dict[str, Any],
    expected: tuple[str, str] | None,
) -> None:
    body = asking("Hi", enable_tools=True, session_id=session, **fields)
    report = (await gateway.http.post("/v1/debug/request", json=body)).json()
    error = report["failure"] and report["failure"]["error"]
    assert (error and (error["code"], error["param"])) == expected
    assert not directories(root, session)


def test_what_the_server_keeps_is_hidden_from_commands(tmp_path: Path) -> None:
    (tmp_path / "real/.sessions").mkdir(parents=True)
    (tmp_path / "root").symlink_to(tmp_path / "real")
    for name in ("s.db", "s.db-wal", "mcp.json"):
        (tmp_path / name).touch()
    settings = settings_for(
        sandbox="on",
        workspace_root=tmp_path / "root",
        mcp_config=tmp_path / "mcp.json",
        database_url=f"sqlite+aiosqlite:///{tmp_path}/s.db?timeout=5",
    )
    hidden = sandbox_settings(settings, {"HOME": str(tmp_path)})["sandbox"]["filesystem"][
        "denyRead"
    ]
    names = {"real/.sessions", "s.db", "s.db-wal", "mcp.json"}
    assert set(hidden) >= {str(tmp_path.resolve() / name) for name in names}


@pytest.mark.skipif(missing_for_sandbox() is not None, reason=str(missing_for_sandbox()))
async def test_a_command_reads_neither_other_sessions_nor_secrets_of_mcp_servers_and_logins(
    gateway: Gateway, session: str, root: Path
) -> None:
    asked = {"session_id": session, "claude_tools": ["Bash"], "mcp_servers": ["far"]}
    other = f"{session}-other"
    await gateway.http.post("/v1/sessions", json={"id": other})
    await gateway.http.put(f"/v1/sessions/{other}/files/a", content=b"s3cret")
    assert gateway.engine._launcher is not None
    scratch = gateway.engine._launcher._scratch
    mcp_config = gateway.app.state.gateway.settings.mcp_config
    steps = [
        bash("echo mine > b; cat b; echo temporary > $TMPDIR/c; cat $TMPDIR/c"),
        bash(f"cat {root}/.sessions/*/*/files/a"),
        bash(f"cat {scratch}/*/mcp.json"),
        bash(f"cat {mcp_config}"),
        bash(f"ls {scratch} {root}/.sessions"),
    ]
    own, *others = await results(gateway, *steps, **asked)
    assert own == ("finished", "mine\ntemporary")
    assert [status for status, _ in others[:3]] == ["failed"] * 3
    assert TOKEN not in str(others)
    assert "s3cret" not in str(others)
    assert other not in str(others)

    login = root.parent / ".netrc"  # it comes after the process
    login.write_text("s3cret")
    reused = gateway.engine.pool.counts["reuse"]
    [(_, said)] = await results(gateway, bash(f"cat {login}; echo read"), **asked)
    login.unlink()
    assert gateway.engine.pool.counts["reuse"] == reused + 1
    assert said.endswith("read")
    assert "s3cret" not in said


@pytest.mark.skipif(missing_for_sandbox() is not None, reason=str(missing_for_sandbox()))
async def test_a_demo_hides_sessions_from_each_other() -> None:
    settings = Settings.model_construct(allowed_tools=("Bash",), max_processes=1, pool_warm=0)
    app = create_app(settings, environ={"PATH": "/usr/bin:/bin"}, demo=True)
    async with serve(app, settings) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        await http.post("/v1/sessions", json={"id": "other"})
        await http.put("/v1/sessions/other/files/a", content=b"s3cret")
        steps = script(bash("cat ../../other*/files/a; echo read"))
        answer = await http.post(URL, json=asking(steps, session_id="one", enable_tools=True))
    [use] = answer.json()["choices"][0]["message"]["claude_activity"]
    assert use["result"].endswith("read")
    assert "s3cret" not in use["result"]


# MCP servers


def tools_offered(gateway: Gateway) -> list[str]:
    return sorted(tool["name"] for tool in gateway.upstream.requests[0].body["tools"])


async def test_the_model_calls_a_real_mcp_server_behind_a_url(gateway: Gateway) -> None:
    """The package mcp-server-time, over streamable HTTP with a secret header."""
    call = ("mcp__far__convert_time", dict(NOON))
    [(status, result)] = await results(gateway, call, mcp_servers=["far"])
    assert (status, json.loads(result)["target"]["datetime"][11:16]) == ("finished", "21:00")
    assert tools_offered(gateway) == ["mcp__far__convert_time", "mcp__far__get_current_time"]
    assert "21:00" in received(gateway)
    assert TOKEN not in json.dumps([request.body for request in gateway.upstream.requests])


async def test_one_that_is_a_command_works_beside_own_tools_and_functions(
    gateway: Gateway, session: str
) -> None:
    answer = await ask(
        gateway,
        ("mcp__time__convert_time", dict(NOON)),
        ("Glob", {"pattern": "*"}),
        ("weather", {}),
        session_id=session,
        mcp_servers=["time"],
        claude_tools=["Glob"],
        tools=[{"type": "function", "function": {"name": "weather", "parameters": {}}}],
    )
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    time, glob = choice["message"]["claude_activity"]
    assert [time["name"], glob["name"]] == ["mcp__time__convert_time", "Glob"]
    assert [time["status"], glob["status"]] == ["finished", "finished"]
    assert json.loads(time["result"])["target"]["datetime"][11:16] == "21:00"
    assert "21:00" in received(gateway)
    of_time = ["mcp__time__convert_time", "mcp__time__get_current_time"]
    assert tools_offered(gateway) == ["Glob", *of_time, "weather"]
    given = given_to(gateway, "time")
    assert given["MINE"] == "yes"
    assert not [name for name in given if name.startswith("ANTHROPIC_")]


def given_to(gateway: Gateway, server: str) -> dict[str, str]:
    """The environment of an MCP server's command, which runs beside the file that names it."""
    folder = gateway.app.state.gateway.settings.mcp_config.parent
    pairs = (folder / f"{server}.env").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


async def test_an_mcp_server_that_does_not_start_is_told(gateway: Gateway) -> None:
    answer = await ask(gateway, bash("ls"), mcp_servers=["broken"])
    assert error_of(answer) == (502, "mcp_server_failed")
    assert "/v1/mcp/servers/broken" in answer.json()["error"]["message"]
    given = given_to(gateway, "broken")  # a credential that its `env` names, and no other
    found = {name: value for name, value in given.items() if "ANTHROPIC_" in name}
    assert found == {"ANTHROPIC_API_KEY": "its own"}


async def test_an_unknown_mcp_server_is_a_bad_request_that_names_no_other(gateway: Gateway) -> None:
    answer = await ask(gateway, bash("ls"), mcp_servers=["time", "mail"])
    assert error_of(answer) == (400, "invalid_value")
    words = answer.json()["error"]["message"]
    assert words == "No such MCP server: 'mail'."


@pytest.mark.parametrize("approve", [True, False])
@pytest.mark.parametrize("require", [None, "always", {"always": {"tool_names": ["convert_time"]}}])
async def test_a_tool_of_an_mcp_server_waits_for_an_approval_unless_never(
    gateway: Gateway, require: Any, approve: bool
) -> None:
    tool = {"type": "mcp", "server_label": "far", "require_approval": require}
    asked = {"model": "sonnet", "tools": [tool]}
    steps = script(("mcp__far__convert_time", dict(NOON)))
    first = (await gateway.http.post("/v1/responses", json={**asked, "input": steps})).json()
    question = first["output"][-1]
    assert [question[name] for name in ("type", "server_label", "name")] == [
        "mcp_approval_request",
        "far",
        "convert_time",
    ]
    assert json.loads(question["arguments"]) == dict(NOON)
    about = {"approval_request_id": question["id"], "approve": approve}
    answer = {"type": "mcp_approval_response", **about}
    follow = {**asked, "previous_response_id": first["id"], "input": [answer]}
    second = (await gateway.http.post("/v1/responses", json=follow)).json()
    [call] = [item for item in second["output"] if item["type"] == "mcp_call"]
    assert ("21:00" in str(call["output"])) == approve
    assert ("21:00" in received(gateway)) == approve


async def test_a_tool_of_an_mcp_server_that_needs_no_approval_is_called(gateway: Gateway) -> None:
    tool = {"type": "mcp", "server_label": "far", "require_approval": "never"}
    steps = script(("mcp__far__convert_time", dict(NOON)))
    asked = {"model": "sonnet", "tools": [tool], "input": steps}
    answer = (await gateway.http.post("/v1/responses", json=asked)).json()
    assert [item["type"] for item in answer["output"]] == ["mcp_call", "message"]
    assert "21:00" in received(gateway)


async def test_a_function_does_not_hide_a_tool_of_an_mcp_server(gateway: Gateway) -> None:
    function = {
        "type": "function",
        "function": {"name": "mcp__far__convert_time", "parameters": {}},
    }
    answer = await ask(gateway, bash("ls"), mcp_servers=["far"], tools=[function])
    assert error_of(answer) == (400, "invalid_value")
    assert answer.json()["error"]["param"] == "tools"
    assert not gateway.upstream.requests
