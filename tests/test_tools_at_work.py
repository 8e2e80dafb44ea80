"""Through the real CLI: where own tools work, and MCP servers that the model calls."""

# what is tested is on the disk

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo import StandIn
from main import create_app
from sandbox import missing_for_sandbox, sandbox_settings
from settings import Settings
from tests.harness import Gateway, gateway_at, serve
from tests.harness import test_settings as settings_for
from tests.mcp_time import NOON, TIME, mcp_file, time_over_http
from tests.session_wire import error_of
from tests.test_own_tools import Step, bash, script
from tests.wire import URL, asking

TOKEN = "time-token"
WHERE = '''
import json, os
from mcp.server import MCPServer

server = MCPServer("where")


@server.tool()
def where() -> str:
    """What this process was given."""
    return json.dumps({"folder": os.getcwd(), "environment": dict(os.environ)})


server.run("stdio")
'''


@pytest.fixture(scope="module")
async def shared_tools_gateway(
    shared_upstream: StandIn, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A server with commands, and MCP servers in a file and added."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("servers")
    (folder / "where.py").write_text(WHERE)
    where = {"command": sys.executable, "args": ["where.py"], "env": {"MINE": "yes"}}
    with_key = {**where, "env": {"ANTHROPIC_API_KEY": "its own"}}
    settings: dict[str, Any] = {
        "allowed_tools": ("all",),
        "mcp_config": mcp_file(
            folder, time=TIME, where=where, with_key=with_key, broken={"command": "/nowhere"}
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
def gateway(shared_tools_gateway: Gateway, upstream: StandIn) -> Gateway:
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


async def test_a_session_keeps_its_directory_from_turn_to_turn(
    gateway: Gateway, session: str
) -> None:
    asked = {"session_id": session, "enable_tools": True}
    write = ("Write", {"file_path": "notes/a.txt", "content": "one"})
    assert [status for status, _ in await results(gateway, write, **asked)] == ["finished"]
    found = await results(gateway, ("Read", {"file_path": "notes/a.txt"}), bash("ls"), **asked)
    assert found[1] == ("finished", "notes")
    assert "one" in found[0][1]
    files = f"/v1/sessions/{session}/files"
    listed = (await gateway.http.get(files)).json()["data"]
    assert [(file["path"], file["bytes"]) for file in listed] == [("notes/a.txt", 3)]
    assert (await gateway.http.get(f"{files}/notes/a.txt")).text == "one"


async def test_claude_reads_what_a_client_put_there(gateway: Gateway, session: str) -> None:
    await gateway.http.post("/v1/sessions", json={"id": session})
    await gateway.http.put(f"/v1/sessions/{session}/files/data.csv", content=b"a,b\n1,2\n")
    asked = {"session_id": session, "claude_tools": ["run_command"]}
    assert await results(gateway, bash("cat data.csv"), **asked) == [("finished", "a,b\n1,2")]


async def test_a_deleted_session_begins_again_in_an_empty_directory(
    gateway: Gateway, session: str
) -> None:
    asked = {"session_id": session, "claude_tools": ["Bash"]}
    for _ in range(2):
        assert (await results(gateway, bash("ls; touch made; pwd"), **asked))[0][1].startswith("/")
        assert (await results(gateway, bash("ls"), **asked)) == [("finished", "made")]
        assert (await gateway.http.delete(f"/v1/sessions/{session}")).status_code == 200


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
    gateway: Gateway, cwd: str, expected: tuple[int, str]
) -> None:
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
async def test_a_command_reads_neither_other_sessions_nor_secrets_of_mcp_servers(
    gateway: Gateway, session: str, root: Path
) -> None:
    asked = {"claude_tools": ["Bash"], "mcp_servers": ["far"]}
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
    own, *others = await results(gateway, *steps, session_id=session, **asked)
    assert own == ("finished", "mine\ntemporary")
    assert [status for status, _ in others[:3]] == ["failed"] * 3
    assert TOKEN not in str(others)
    assert "s3cret" not in str(others)
    assert other not in str(others)


@pytest.mark.skipif(missing_for_sandbox() is not None, reason=str(missing_for_sandbox()))
async def test_what_comes_after_the_process_is_hidden_too(
    gateway: Gateway, session: str, root: Path
) -> None:
    login = root.parent / ".netrc"
    asked = {"session_id": session, "claude_tools": ["Bash"]}
    await results(gateway, bash("true"), **asked)
    continued = gateway.engine.pool.counts["continue"]
    login.write_text("s3cret")
    [(_, said)] = await results(gateway, bash(f"cat {login}; echo read"), **asked)
    login.unlink()
    assert gateway.engine.pool.counts["continue"] == continued + 1
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


@pytest.mark.parametrize("name", ["time", "far"])
async def test_the_model_calls_a_real_mcp_server(gateway: Gateway, name: str) -> None:
    """The package mcp-server-time: as a command, and over streamable HTTP with a secret header."""
    call = (f"mcp__{name}__convert_time", dict(NOON))
    [(status, result)] = await results(gateway, call, mcp_servers=[name])
    assert (status, json.loads(result)["target"]["datetime"][11:16]) == ("finished", "21:00")
    tools = [tool["name"] for tool in gateway.upstream.requests[0].body["tools"]]
    assert sorted(tools) == [f"mcp__{name}__convert_time", f"mcp__{name}__get_current_time"]
    assert "21:00" in received(gateway)
    assert TOKEN not in json.dumps([request.body for request in gateway.upstream.requests])


async def test_mcp_servers_work_beside_own_tools_and_functions(
    gateway: Gateway, session: str
) -> None:
    function = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    answer = await ask(
        gateway,
        ("mcp__far__convert_time", dict(NOON)),
        bash("echo hi"),
        ("weather", {}),
        session_id=session,
        mcp_servers=["far"],
        claude_tools=["Bash"],
        tools=[function],
    )
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    names = [use["name"] for use in choice["message"]["claude_activity"]]
    assert names == ["mcp__far__convert_time", "Bash"]


async def given_to(gateway: Gateway, server: str) -> dict[str, Any]:
    await ask(gateway, (f"mcp__{server}__where", {}), mcp_servers=[server])
    [block] = json.loads(received(gateway))
    text = block["content"] if isinstance(block["content"], str) else block["content"][0]["text"]
    told: dict[str, Any] = json.loads(text)
    return json.loads(told["result"]) if "result" in told else told


async def test_an_mcp_command_gets_no_credentials_and_runs_beside_its_file(
    gateway: Gateway,
) -> None:
    told = await given_to(gateway, "where")
    assert told["folder"] == str(gateway.app.state.gateway.settings.mcp_config.parent)
    assert told["environment"]["MINE"] == "yes"
    assert not [name for name in told["environment"] if name.startswith("ANTHROPIC_")]


async def test_an_mcp_command_gets_the_credential_that_its_env_names(gateway: Gateway) -> None:
    environment = (await given_to(gateway, "with_key"))["environment"]
    found = {name: value for name, value in environment.items() if "ANTHROPIC_" in name}
    assert found == {"ANTHROPIC_API_KEY": "its own"}


async def test_an_mcp_server_that_does_not_start_is_told(gateway: Gateway) -> None:
    answer = await ask(gateway, bash("ls"), mcp_servers=["broken"])
    assert error_of(answer) == (502, "mcp_server_failed")
    assert "/v1/mcp/servers/broken" in answer.json()["error"]["message"]


async def test_an_unknown_mcp_server_is_a_bad_request_that_names_no_other(gateway: Gateway) -> None:
    answer = await ask(gateway, bash("ls"), mcp_servers=["time", "mail"])
    assert error_of(answer) == (400, "invalid_value")
    words = answer.json()["error"]["message"]
    assert words == "There is no MCP server 'mail'."


async def test_a_function_does_not_hide_a_tool_of_an_mcp_server(gateway: Gateway) -> None:
    function = {"type": "function", "function": {"name": "mcp__where__where", "parameters": {}}}
    answer = await ask(gateway, bash("ls"), mcp_servers=["where"], tools=[function])
    assert error_of(answer) == (400, "invalid_value")
    assert answer.json()["error"]["param"] == "tools"
    assert not gateway.upstream.requests
