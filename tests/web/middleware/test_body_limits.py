"""How large, deep, slow and many: what a client may send to a live server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from config.settings import Settings, load_settings
from core.addresses import client_address, counted_as, is_loopback, parsed
from core.errors import Overloaded
from tests.conftest import MakeGateway
from tests.support.harness import Gateway, gateway_at
from web import http_protocol
from web.body_budget import SMALL_BYTES, BodyBudget
from web.middleware.body_limits import Bounds, is_deeper_than

CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
LIMITS: dict[str, Any] = {
    "max_request_bytes": 10_000,
    "max_header_bytes": 4_000,
    "max_nesting": 20,
    "max_messages": 5,
    "max_tools": 3,
    "max_connections": 6,
    "request_timeout": 0.2,
    "pool_warm": 0,  # none of these requests reaches a process
}


@pytest.fixture(scope="module")
async def small(shared_upstream: Any, tmp_path_factory: Any) -> AsyncIterator[Gateway]:
    """One server with narrow bounds for all of these tests."""
    async with gateway_at(shared_upstream, tmp_path_factory.mktemp("small"), **LIMITS) as gateway:
        yield gateway


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["x-request-id"].startswith("req_")
    return answer.status_code, answer.json()["error"]["code"]


TWO_MEGABYTES = 2 * 1024 * 1024


async def pieces(count: int, size: int = 1000) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * size


async def test_a_body_that_says_it_is_too_large_is_refused(small: Gateway) -> None:
    answer = await small.http.post(CHAT, content=b" " * 10_001, headers=JSON)
    assert code(answer) == (413, "request_too_large")
    assert answer.headers["connection"] == "close"


async def test_a_body_of_unsaid_length_is_refused_when_it_is_too_large(small: Gateway) -> None:
    answer = await small.http.post(CHAT, content=pieces(11), headers=JSON)
    assert code(answer) == (413, "request_too_large")


async def test_a_client_that_only_listens_after_sending_all_learns_why(small: Gateway) -> None:
    answer = await small.http.post(CHAT, content=pieces(300, 100_000), headers=JSON)
    assert code(answer) == (413, "request_too_large")


async def test_the_largest_body_is_taken_in_both_ways(small: Gateway) -> None:
    for content in (b" " * 10_000, pieces(10)):
        answer = await small.http.post(CHAT, content=content, headers=JSON)
        assert code(answer) == (400, "invalid_json")


async def test_bodies_that_are_held_together_have_a_bound() -> None:
    """Two large ones of a key; the next waits, and gets in when one has ended. Small ones and those
    of other keys need not wait."""
    budget = BodyBudget(4_000_000, wait_seconds=0.05)
    async with AsyncExitStack() as held:
        for key in ("alice", "alice", "bob"):
            await held.enter_async_context(budget.room(key, 1_000_000))
        with pytest.raises(Overloaded):
            async with budget.room("alice", 1_000_000):
                pass
        async with budget.room("alice", SMALL_BYTES), budget.room("bob", 1_000_000):
            assert budget.held == 4_000_000
        patient = BodyBudget(1000, wait_seconds=20)
        async with patient.room("", 900_000):  # one alone is always taken
            waiting = asyncio.create_task(_enter(patient))
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting
    assert budget.held == patient.held == 0


async def _enter(budget: BodyBudget) -> None:
    async with budget.room("", 900_000):
        pass


async def test_a_body_of_unsaid_length_counts_with_what_it_has_in_the_end() -> None:
    finish, held = asyncio.Event(), []
    budget = BodyBudget(4 * TWO_MEGABYTES)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        held.append(budget.held)
        await Response()(scope, receive, send)
        finish.set()

    async def receive() -> Message:
        done = len(pieces_left) == 1
        return {"type": "http.request", "body": pieces_left.pop(), "more_body": not done}

    async def send(message: Message) -> None:
        pass

    pieces_left = [b"x" * 200_000] * 2
    bounds = Bounds(app, Settings.model_construct(max_request_bytes=TWO_MEGABYTES), budget)
    scope: Scope = {
        "type": "http",
        "method": "PUT",
        "headers": [(b"transfer-encoding", b"chunked")],
    }
    await bounds(scope, receive, send)
    assert finish.is_set()
    assert (held, budget.held) == ([400_000], 0)


def head(*headers: str, path: str = CHAT) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json"]
    return "\r\n".join([*lines, *headers, "", ""]).encode()


class raw:  # used like a function
    """Some plain connections, closed in the end."""

    def __init__(self, gateway: Gateway, count: int = 1) -> None:
        self._port = int(gateway.url.rpartition(":")[2])
        self._count = count
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __aenter__(self) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        for _ in range(self._count):
            self._open.append(await asyncio.open_connection("127.0.0.1", self._port))
        return self._open

    async def __aexit__(self, *exc: object) -> None:
        for _, writer in self._open:
            writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(small: Gateway) -> None:
    async with raw(small) as [(reader, writer)]:
        writer.write(head("content-length: 100") + b"{")
        answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"request_timeout"' in answer


async def test_slow_clients_do_not_hold_others_up(small: Gateway) -> None:
    async with raw(small, 3) as slow:
        for _, writer in slow:
            writer.write(head("content-length: 100") + b"{")
        assert (await small.http.get("/health")).status_code == 200


async def test_a_request_without_an_end_to_its_headers_is_cut_off(small: Gateway) -> None:
    async with raw(small) as [(reader, writer)]:
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 5000)
        answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"x-request-id: req_" in answer


@pytest.mark.parametrize("where", ["header", "query", "path"])
async def test_a_head_that_is_too_large_is_refused(small: Gateway, where: str) -> None:
    long = "a" * 4000
    url = {"header": "/", "query": f"/?{long}", "path": f"/{long}"}[where]
    answer = await small.http.get(url, headers={"x": long} if where == "header" else {})
    assert code(answer) == (431, "request_header_fields_too_large")


async def test_a_request_that_does_not_begin_is_not_waited_for(
    small: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.1)
    async with raw(small, 2) as [(silent, _), (slow, writer)]:
        writer.write(b"GET / HT")
        for reader in (silent, slow):
            answer = await asyncio.wait_for(reader.read(), 10)
            assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_stray_line_break_after_a_body_harms_no_answer(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old browsers send one; the wait for a next request must not cut off this one's answer."""
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.05)
    text = "!demo tokens=3 first_delay=0.3"
    content = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    async with raw(gateway) as [(reader, writer)]:
        length = f"content-length: {len(content)}"
        writer.write(head(length, "connection: close") + content + b"\r\nGET")
        answer = await asyncio.wait_for(reader.read(), 20)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"word1 word2 word3" in answer


def nested(levels: int) -> str:
    return '{"messages": [{"role": "user", "content": ' + "[" * levels + "]" * levels + "}]}"


@pytest.mark.parametrize("levels", [18, 500, 4_000])
async def test_what_is_nested_too_deeply_is_refused(small: Gateway, levels: int) -> None:
    answer = await small.http.post(CHAT, content=nested(levels), headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(("field", "most"), [("messages", 5), ("tools", 3), ("functions", 3)])
async def test_lists_have_a_bound(small: Gateway, field: str, most: int) -> None:
    message = {"role": "user", "content": "hi"}
    body: dict[str, Any] = {"model": "no-such-model", "messages": [message]}
    item = message if field == "messages" else {"name": "f"}
    answer = await small.http.post(CHAT, json={**body, field: [item] * (most + 1)})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, field)
    assert f"{most} entries" in error["message"]
    answer = await small.http.post(CHAT, json={**body, field: [item] * most})
    assert answer.json()["error"]["code"] == "model_not_found"


async def test_compressed_bodies_are_refused(small: Gateway) -> None:
    for encoding in ("gzip", "br", "identity, gzip"):
        headers = {**JSON, "content-encoding": encoding}
        answer = await small.http.post(CHAT, content=b"{}", headers=headers)
        assert code(answer) == (415, "unsupported_content_encoding")
    answer = await small.http.post(CHAT, content=b"{", headers={**JSON, "content-encoding": ""})
    assert code(answer) == (400, "invalid_json")


async def test_a_body_without_a_key_is_not_read(make_gateway: MakeGateway) -> None:
    """A client without a key gets its answer before it has sent what it announced."""
    async with make_gateway(api_key="sk-one") as gateway, raw(gateway) as [pair]:
        reader, writer = pair
        writer.write(head("content-length: 30000000"))
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    ("value", "levels"), [({}, 1), ([], 1), ("text", 0), ([[]], 2), ({"a": [{"b": [1]}]}, 4)]
)
def test_depth_is_counted_in_containers(value: object, levels: int) -> None:
    assert not is_deeper_than(levels, value)
    assert levels == 0 or is_deeper_than(levels - 1, value)


PROXIES = load_settings(trusted_proxies="10.0.0.0/8, 2001:db8::/32").trusted_proxies
FORWARDED: list[tuple[str, dict[str, str], str]] = [
    ("192.0.2.1", {}, "192.0.2.1"),
    ("192.0.2.1", {"x-forwarded-for": "198.51.100.1"}, "192.0.2.1"),
    ("192.0.2.1", {"x-real-ip": "198.51.100.1"}, "192.0.2.1"),
    ("10.0.0.1", {"x-forwarded-for": "198.51.100.1"}, "198.51.100.1"),
    ("10.0.0.1", {"x-forwarded-for": "203.0.113.9, 198.51.100.1"}, "198.51.100.1"),
    ("10.0.0.1", {"x-forwarded-for": "203.0.113.9, 198.51.100.1, 10.2.3.4"}, "198.51.100.1"),
    ("10.0.0.1", {"x-forwarded-for": "10.9.9.9, 10.2.3.4"}, "10.9.9.9"),
    ("10.0.0.1", {"x-forwarded-for": "198.51.100.1:4711"}, "198.51.100.1"),
    ("10.0.0.1", {"x-forwarded-for": "[2001:db9::1]:4711"}, "2001:db9::1"),
    ("10.0.0.1", {"x-forwarded-for": "198.51.100.1, unknown"}, "10.0.0.1"),
    ("10.0.0.1", {"x-forwarded-for": ""}, "10.0.0.1"),
    ("10.0.0.1", {"x-real-ip": "198.51.100.1"}, "198.51.100.1"),
    ("10.0.0.1", {"x-forwarded-for": "203.0.113.9", "x-real-ip": "198.51.100.1"}, "203.0.113.9"),
    ("::ffff:10.0.0.1", {"x-forwarded-for": "198.51.100.1"}, "198.51.100.1"),
    ("2001:db8::1", {"x-forwarded-for": "198.51.100.1"}, "198.51.100.1"),
    ("", {"x-forwarded-for": "198.51.100.1"}, "local"),
]


@pytest.mark.parametrize(("peer", "headers", "address"), FORWARDED)
def test_the_right_most_untrusted_address_counts(
    peer: str, headers: dict[str, str], address: str
) -> None:
    raw_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"client": (peer, 1) if peer else None, "headers": raw_headers}
    assert client_address(scope, PROXIES) == address


def test_loopback_is_told_from_the_rest() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost", "a.localhost")))
    others = ("0.0.0.0", "::", "", "192.0.2.1", "localhost.evil.example", "127.0.0.1.evil.example")
    assert not any(map(is_loopback, others))
    assert is_loopback("::ffff:127.0.0.1")


def test_addresses_are_parsed_with_and_without_a_port() -> None:
    assert str(parsed(" 192.0.2.1:80")) == "192.0.2.1"
    assert parsed("host:80") is None
    assert counted_as("2001:db8::1") == "2001:db8::/64"
    assert counted_as("192.0.2.1") == "192.0.2.1"
