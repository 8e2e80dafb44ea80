"""`/v1/mcp/servers`, with a real MCP server (`mcp-server-time`) as a command and behind URLs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from demo import FakeAnthropic
from tests.conftest import MakeGateway
from tests.support.harness import Gateway, gateway_at
from tests.support.mcp_time import TIME, mcp_file, time_over_http
from tests.support.session_wire import error_of
from toolbox import mcp_status

TOKEN = "s3cret-token"
URL = "/v1/mcp/servers"
KEYS = {"api_key": "sk-operator-0123456789", "api_keys": "alice:sk-alice-0123456789abcdef"}


@pytest.fixture(scope="module")
async def time_url() -> AsyncIterator[str]:
    async with time_over_http(TOKEN) as url:
        yield url


@pytest.fixture(scope="module")
async def shared_served(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    path = mcp_file(
        home,
        time={**TIME, "env": {"API_TOKEN": TOKEN}},
        missing={"command": "/nonexistent/s3cret"},
        slow={"command": "sleep", "args": ["100"]},
    )
    async with gateway_at(shared_upstream, home, pool_warm=0, mcp_config=path, **KEYS) as gateway:
        gateway.http.headers["Authorization"] = f"Bearer {KEYS['api_key']}"
        yield gateway


@pytest.fixture
def served(shared_served: Gateway, upstream: FakeAnthropic) -> Gateway:
    """A server with keys, whose file has the time server, a command that is not there and one that
    hangs."""
    return shared_served


def remote(url: str, token: str = TOKEN, **fields: Any) -> dict[str, Any]:
    return {"url": url, "headers": {"Authorization": f"Bearer {token}"}, **fields}


async def detail(gateway: Gateway, name: str) -> dict[str, Any]:
    answer = await gateway.http.get(f"{URL}/{name}")
    assert answer.status_code == 200, answer.text
    assert TOKEN not in answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def children() -> set[int]:
    found = psutil.Process().children(recursive=True)
    return {child.pid for child in found if "claude" not in child.name()}


async def test_servers_of_the_file_are_listed_and_asked(
    served: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = await served.http.get(URL)
    assert [server["name"] for server in listed.json()["data"]] == ["time", "missing", "slow"]
    assert "s3cret" not in listed.text.replace("/nonexistent/s3cret", "")
    before = children()
    time = await detail(served, "time")
    assert (time["status"], time["error"], time["type"], time["source"], time["env"]) == (
        "connected",
        None,
        "stdio",
        "file",
        {"API_TOKEN": "…"},
    )
    assert {tool["name"] for tool in time["tools"]} == {"get_current_time", "convert_time"}
    assert all(tool["input_schema"]["type"] == "object" for tool in time["tools"])
    assert time["server_version"]
    missing = await detail(served, "missing")
    assert (missing["status"], missing["tools"]) == ("failed", [])
    monkeypatch.setattr(mcp_status, "ANSWER_SECONDS", 0.2)
    slow = await detail(served, "slow")
    assert (slow["status"], slow["error"]) == ("failed", "It did not answer within 0.2 seconds.")
    assert children() == before
    assert error_of(await served.http.get(f"{URL}/none")) == (404, "mcp_server_not_found")


async def test_a_server_behind_a_url_is_added_asked_and_removed(
    gateway: Gateway, time_url: str
) -> None:
    for name, entry in [
        ("http", remote(f"{time_url}/mcp?key=s3cret")),
        ("sse", remote(f"{time_url}/sse", type="sse")),
    ]:
        added = await gateway.http.post(URL, json={"name": name, **entry})
        assert added.json() == {
            "object": "mcp.server",
            "name": name,
            "type": name,
            "source": "api",
            "url": f"{time_url}/…",
            "headers": {"Authorization": "…"},
            "command": None,
            "env": None,
        }
        again = await gateway.http.post(URL, json={"name": name, **entry})
        assert error_of(again) == (409, "mcp_server_exists")
        asked = await detail(gateway, name)
        assert (asked["status"], len(asked["tools"])) == ("connected", 2), asked
        gone = await gateway.http.delete(f"{URL}/{name}")
        assert gone.json() == {"object": "mcp.server.deleted", "name": name, "deleted": True}
        assert error_of(await gateway.http.delete(f"{URL}/{name}")) == (404, "mcp_server_not_found")
    assert (await gateway.http.get(URL)).json()["data"] == []


@pytest.mark.parametrize("kind", ["http", "sse"])
@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("{time}/{path}", "It answered with status 401."),
        ("http://127.0.0.1:1/{path}", "No connection could be made."),
        ("{gateway}/health", None),
    ],
)
async def test_why_a_server_cannot_be_used_is_told_without_its_words(
    gateway: Gateway, time_url: str, kind: str, address: str, error: str | None
) -> None:
    path = {"http": "mcp", "sse": "sse"}[kind]
    url = address.format(time=time_url, path=path, gateway=gateway.url)
    entry = {"name": "bad", **remote(url, "wrong", type=kind)}
    assert (await gateway.http.post(URL, json=entry)).status_code == 200
    shown = await detail(gateway, "bad")
    await gateway.http.delete(f"{URL}/bad")
    assert (shown["status"], shown["tools"]) == ("failed", [])
    assert shown["error"] == error if error else shown["error"]
    assert "s3cret-words" not in json.dumps(shown)


@pytest.mark.parametrize(
    "fields",
    [
        {"command": "sh", "args": ["-c", "id"]},
        {"type": "stdio", "command": "sh"},
        {"type": "stdio", "url": "http://localhost"},
        {"url": "http://localhost", "command": "sh"},
        {"url": "http://localhost", "env": {}},
    ],
)
async def test_no_command_comes_over_http(gateway: Gateway, fields: dict[str, Any]) -> None:
    answer = await gateway.http.post(URL, json={"name": "sh", **fields})
    assert error_of(answer) == (403, "commands_not_allowed")
    assert (await gateway.http.get(URL)).json()["data"] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"a b": "c"}},
        {"headers": {"a": "b\r\nc"}},
        {"headersHelper": "id"},
        {"type": "ws"},
    ],
)
async def test_an_odd_entry_is_a_bad_request(gateway: Gateway, fields: dict[str, Any]) -> None:
    body = {"name": "a", "url": "http://localhost", **fields}
    assert (await gateway.http.post(URL, json=body)).status_code == 400


async def test_a_server_of_the_file_stays(served: Gateway) -> None:
    assert error_of(await served.http.delete(f"{URL}/time")) == (403, "permission_denied")


async def test_only_the_operator_may_look_or_change(served: Gateway) -> None:
    routes = [("GET", URL), ("POST", URL), ("GET", f"{URL}/a"), ("DELETE", f"{URL}/a")]
    body = {"name": "a", "url": "http://localhost"}

    async def statuses(key: str) -> list[int]:
        headers = {"Authorization": f"Bearer {key}"}
        return [
            (await served.http.request(method, url, json=body, headers=headers)).status_code
            for method, url in routes
        ]

    assert await statuses("sk-alice-0123456789abcdef") == [403] * 4
    assert await statuses(KEYS["api_key"]) == [200] * 4


async def test_a_server_open_to_others_has_no_operator(make_gateway: MakeGateway) -> None:
    async with make_gateway(allow_unprotected=True) as gateway:
        assert (await gateway.http.get(URL)).status_code == 403
