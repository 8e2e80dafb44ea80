"""Which MCP servers there are: the file, what was added, and what is shown of them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from config.settings import SettingsError
from core.errors import GatewayError
from main import create_app
from stores.memory import MemoryStore
from stores.protocols import StoreLimits
from tests.support.harness import test_settings as settings_for
from tests.support.mcp_time import mcp_file
from toolbox import mcp_servers
from toolbox.mcp_servers import McpServer, McpServers, read_file

REMOTE = {"type": "http", "url": "https://mcp.example.com/mcp", "headers": {}}


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore(StoreLimits()) as memory:
        yield memory


def read(folder: Path, environ: dict[str, str] | None = None, **servers: Any) -> list[McpServer]:
    return list(read_file(mcp_file(folder, **servers), environ or {}, ("ANTHROPIC_API_KEY", "B")))


def native(folder: Path, environ: dict[str, str] | None = None, **servers: Any) -> dict[str, Any]:
    return {server.name: server.native for server in read(folder, environ, **servers)}


# The file


def test_variables_of_the_file_are_replaced_as_claude_code_does(tmp_path: Path) -> None:
    environ = {"HOST": "h.example", "TOKEN": "s3cret", "EMPTY": ""}
    found = native(
        tmp_path,
        environ,
        a={
            "type": "http",
            "url": "https://${HOST}/${PATH_TO:-mcp}/${EMPTY:-full}",
            "headers": {"Authorization": "Bearer ${TOKEN}", "X": "$TOKEN ${TOKEN"},
        },
        b={"command": "${BIN:-run}", "args": ["--token=${TOKEN}"], "env": {"T": "${TOKEN}"}},
    )
    assert found["a"]["url"] == "https://h.example/mcp/"
    assert found["a"]["headers"] == {"Authorization": "Bearer s3cret", "X": "$TOKEN ${TOKEN"}
    assert found["b"]["args"][-2:] == ["run", "--token=s3cret"]
    assert found["b"]["env"] == {"T": "s3cret"}


def test_a_command_runs_beside_its_file_without_credentials_it_was_not_given(
    tmp_path: Path,
) -> None:
    """Not in the directory of the request, where the model may have put what it would load."""
    (tmp_path / "work").mkdir()
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\npwd; echo "$1 ${A-unset} ${ANTHROPIC_API_KEY-unset} ${B-unset}"')
    program.chmod(0o755)
    entry = native(tmp_path, x={"command": "./program", "args": ["a b"], "env": {"B": "mine"}})["x"]
    environ = {**os.environ, "A": "kept", "ANTHROPIC_API_KEY": "s3cret", **entry["env"]}
    command = [entry["command"], *entry["args"]]
    done = subprocess.run(
        command, cwd=tmp_path / "work", env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [str(tmp_path), "a b kept unset mine"]
    assert "mine" not in " ".join(command)


def test_what_else_an_entry_has_is_handed_on(tmp_path: Path) -> None:
    found = native(tmp_path, a={**REMOTE, "timeout": 5}, b={"command": "x", "timeout": 6})
    assert (found["a"]["timeout"], found["b"]["timeout"]) == (5, 6)


def test_without_a_setting_the_file_of_the_working_directory_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(read_file(None, {})) == []
    mcp_file(tmp_path, a=REMOTE).rename(tmp_path / ".mcp.json")
    assert [server.name for server in read_file(None, {})] == ["a"]


BAD: list[tuple[str, str]] = [
    ("{", "MCP_CONFIG: it is not JSON."),
    ("[]", "MCP_CONFIG: mcpServers: "),
    ('{"mcpServers": {"a": {}}}', "MCP_CONFIG: a.command: Field required."),
    ('{"mcpServers": {"a": {"command": "x", "args": "s3cret"}}}', "MCP_CONFIG: a.args: "),
    ('{"mcpServers": {"a": {"type": "ws", "url": "ws://s3cret"}}}', "MCP_CONFIG: a.type: "),
    ('{"mcpServers": {"a": {"command": "${NEED}"}}}', "MCP_CONFIG: a needs the variable NEED, "),
    ('{"mcpServers": {"a b": {"command": "x"}}}', "MCP_CONFIG: the name 'a b' is not 1 to 64"),
    ('{"mcpServers": {"a__b": {"command": "x"}}}', "MCP_CONFIG: the name 'a__b' is not 1 to 64"),
    ('{"mcpServers": {"caller": {"command": "x"}}}', "MCP_CONFIG: the name 'caller' is not"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD)
def test_a_bad_file_is_told_in_one_sentence_before_anything_starts(
    tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "mcp.json").write_text(text)
    with pytest.raises(SettingsError) as caught:
        create_app(settings_for(mcp_config=tmp_path / "mcp.json"), environ={})
    assert str(caught.value).startswith(sentence)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^MCP_CONFIG cannot be read: No such file"):
        list(read_file(tmp_path / "none", {}))


# What is shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://localhost:99", "http://localhost:99"),
        ("https://user:s3cret@a.example/", "https://a.example"),
        ("https://a.example:8443/api/s3cret/mcp", "https://a.example:8443/…"),
        ("https://a.example?key=s3cret", "https://a.example/…"),
        ("http://[::1/s3cret", "…"),
    ],
)
def test_of_a_url_only_the_host_is_shown(tmp_path: Path, url: str, shown: str) -> None:
    entry = {**REMOTE, "url": url, "headers": {"X-Key": "s3cret"}}
    [server] = read(tmp_path, a=entry)
    assert (server.shown["url"], server.shown["headers"]) == (shown, {"X-Key": "…"})
    assert "s3cret" not in repr(server)


def test_of_a_command_no_value_is_shown(tmp_path: Path) -> None:
    entry = {"command": "${BIN}/run", "args": ["--key=s3cret"], "env": {"K": "s3cret"}}
    [server] = read(tmp_path, {"BIN": "s3cret"}, a=entry)
    assert server.shown == {
        "name": "a",
        "source": "file",
        "type": "stdio",
        "command": "${BIN}/run",
        "env": {"K": "…"},
    }
    assert "s3cret" not in repr(server)


# What is added, and what a request gets


async def test_a_request_gets_the_servers_it_names_and_no_other(
    tmp_path: Path, store: MemoryStore
) -> None:
    servers = McpServers(read(tmp_path, a=REMOTE, b=REMOTE), store)
    await servers.add("c", {**REMOTE, "headers": {"X": "é"}})
    assert await servers.config([]) == ""
    config = json.loads(await servers.config(["c", "a"]))
    assert config == {"mcpServers": {"c": {**REMOTE, "headers": {"X": "é"}}, "a": REMOTE}}
    with pytest.raises(GatewayError, match=r"^No such MCP server: 'd'\.$") as bad:
        await servers.config(["a", "d"])
    assert (bad.value.status, bad.value.param) == (400, "mcp_servers")


async def test_the_file_wins_over_what_was_added_before(tmp_path: Path, store: MemoryStore) -> None:
    await McpServers([], store).add("a", {**REMOTE, "url": "http://added"})
    servers = McpServers(read(tmp_path, a=REMOTE), store)
    assert (await servers.get("a")).shown["source"] == "file"
    with pytest.raises(GatewayError) as caught:
        await servers.add("a", REMOTE)
    assert (caught.value.status, caught.value.code) == (409, "mcp_server_exists")
    with pytest.raises(GatewayError) as caught:
        await servers.remove("a")
    assert caught.value.status == 403


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a__b", "é", "n" * 65, "caller"])
async def test_a_name_must_fit_into_the_names_of_tools(store: MemoryStore, name: str) -> None:
    with pytest.raises(GatewayError) as caught:
        await McpServers([], store).add(name, REMOTE)
    assert (caught.value.status, caught.value.param) == (400, "name")


URLS = [
    "",
    "ftp://a",
    "file:///etc/passwd",
    "a",
    "http://",
    "http://[::1",
    "https://${HOME}/",
    "//a",
    "http://a:b",
]


@pytest.mark.parametrize("url", URLS)
async def test_only_a_plain_url_is_added(store: MemoryStore, url: str) -> None:
    with pytest.raises(GatewayError) as caught:
        await McpServers([], store).add("a", {**REMOTE, "url": url})
    assert (caught.value.status, caught.value.param) == (400, "url")


async def test_what_is_added_reads_no_variable_of_this_server(store: MemoryStore) -> None:
    """Claude Code would put its own API key there, and send it to that URL."""
    entry = {**REMOTE, "headers": {"X": "${ANTHROPIC_API_KEY}"}}
    with pytest.raises(GatewayError, match="MCP_CONFIG only"):
        await McpServers([], store).add("a", entry)


async def test_there_is_room_for_so_many(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_servers, "MAX_ADDED", 1)
    servers = McpServers([], store)
    await servers.add("a", REMOTE)
    with pytest.raises(GatewayError, match="delete one first"):
        await servers.add("b", REMOTE)
