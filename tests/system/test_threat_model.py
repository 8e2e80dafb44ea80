"""The threat model, as attacks on a live server. SECURITY.md says the same in words.

| who            | may                                | must never                               |
|----------------|------------------------------------|------------------------------------------|
| anyone         | see that the server is alive       | ask the model, learn the set-up, stop it |
| a web page     | what CORS_ORIGINS names            | use an open server through its visitor   |
| a key's holder | ask, within its limits and models  | touch the host, or what is another key's |
| the model      | answer                             | reach the host or the network unasked    |

Elsewhere: bounds in test_bounds.py, limits in test_rate_limiter.py, all forms of image URLs (SSRF)
in test_media.py, logs in test_no_leaks.py, mutated bodies in test_fuzzed_bodies.py, another's
sessions in test_sessions.py.
"""

from __future__ import annotations

import asyncio
import gzip
import hmac
import json
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import auth
from config.settings import Settings
from main import create_app
from tests.conftest import MakeGateway
from tests.support import harness
from tests.support.harness import Gateway, cli_environ, gateway_at, said, serve
from web.middleware.access import FREE_FAILURES, MOST_WAITING

CHAT = "/v1/chat/completions"
ALICE = {"authorization": "Bearer sk-alice-0123456789"}
BOB = {"authorization": "Bearer sk-bob-0123456789"}
FORMS = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
KEYS = "alice:sk-alice-0123456789,bob:sk-bob-0123456789"


def asking(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


@pytest.fixture(scope="module")
async def shared_protected(shared_upstream: Any, tmp_path_factory: Any) -> AsyncIterator[Gateway]:
    home = tmp_path_factory.mktemp("protected")
    async with gateway_at(shared_upstream, home, api_keys=KEYS, pool_warm=0) as gateway:
        yield gateway


@pytest.fixture(scope="module")
async def shared_generous(shared_upstream: Any, tmp_path_factory: Any) -> AsyncIterator[Gateway]:
    home = tmp_path_factory.mktemp("generous")
    allowed: dict[str, Any] = {"cors_origins": ("https://chat.example",), "image_urls": True}
    async with gateway_at(shared_upstream, home, pool_warm=0, **allowed) as gateway:
        yield gateway


@pytest.fixture
def generous(shared_generous: Gateway, upstream: Any) -> Gateway:
    """A server that lets a page's origin in and fetches images."""
    return shared_generous


@pytest.fixture
def protected(shared_protected: Gateway, upstream: Any) -> Gateway:
    """A server that knows Alice and Bob."""
    return shared_protected


def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


# --- Anyone -----------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [CHAT, "/v1/models", "/v1/models/x", "/v1/auth/status"])
async def test_without_a_key_nothing_is_done_or_told(protected: Gateway, url: str) -> None:
    method, body = ("POST", asking("hi")) if url == CHAT else ("GET", None)
    answer = await protected.http.request(method, url, json=body)
    refused(answer, 401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert not protected.upstream.requests
    assert "ANTHROPIC" not in answer.text


GUESSES = [
    "sk-alice-012345678",
    "sk-alice-01234567890",
    "SK-ALICE-0123456789",
    "alice",
    "alice:sk-alice-0123456789",
    "null",
    "../../.env",
    "' OR 1=1 --",
]


async def test_a_wrong_key_is_no_key_and_all_wrong_keys_get_one_answer(protected: Gateway) -> None:
    answers = set()
    for guess in GUESSES[: FREE_FAILURES - 1]:  # more would have to wait
        answer = await protected.http.post(CHAT, json=asking("hi"), headers={"x-api-key": guess})
        refused(answer, 401, "invalid_api_key")
        answers.add(answer.text)
        assert guess not in f"{answer.text} {answer.headers}"
    assert len(answers) == 1
    known = auth.load_keyring(protected.app.state.gateway.settings)
    assert [known.find(guess.encode()) for guess in GUESSES] == [None] * len(GUESSES)


def test_the_time_of_a_look_up_does_not_depend_on_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes, never keys, are compared in constant time, and all of them whichever fits."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    known = auth.load_keyring(Settings.model_construct(api_keys=KEYS))
    for key in (b"sk-alice-0123456789", b"sk-bob-0123456789", b"wrong", b"x" * 100_000):
        known.find(key)
        assert compared == [(32, 32)] * 2
        compared.clear()


async def test_guessing_many_keys_at_once_is_stopped(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_keys=KEYS) as gateway:

        async def guess(number: int) -> int:
            headers = {"x-api-key": f"guess-{number}"}
            return (await gateway.http.get("/v1/models", headers=headers)).status_code

        count = FREE_FAILURES + MOST_WAITING + 3
        tasks = [asyncio.create_task(guess(number)) for number in range(count)]
        statuses = []
        for done in asyncio.as_completed(tasks):
            statuses.append(await done)
            if statuses.count(429) == 3:
                break
        assert statuses.count(401) >= FREE_FAILURES
        during = await gateway.http.get("/v1/models", headers={"x-api-key": "guess-more"})
        refused(during, 429, "too_many_requests")
        for task in tasks:
            task.cancel()


async def test_a_server_without_a_key_serves_no_other_computer(gateway: Gateway) -> None:
    """Also where uvicorn's own command was told to listen everywhere."""
    arrived: list[Any] = []

    async def send(message: Any) -> None:
        arrived.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    for path, status in (("/v1/models", 403), ("/", 403), ("/health", 200)):
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b""}
        scope |= {"headers": [(b"host", b"localhost")], "client": ("192.0.2.9", 4711)}
        await gateway.app({**scope, "server": ("192.0.2.1", 8000)}, receive, send)
        assert arrived[0]["status"] == status
        arrived.clear()


# --- A web page that is open on the same computer ----------------------------------------------


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1"]
)
async def test_a_drive_by_page_cannot_use_an_open_server(gateway: Gateway, origin: str) -> None:
    body = json.dumps(asking("hi"))
    for kind in ("text/plain", "application/json", "application/x-www-form-urlencoded"):
        headers = {"origin": origin, "content-type": kind}
        refused(
            await gateway.http.post(CHAT, content=body, headers=headers), 403, "origin_not_allowed"
        )
    preflight = {"origin": origin, "access-control-request-method": "POST"}
    answer = await gateway.http.options(CHAT, headers=preflight)
    assert "access-control-allow-origin" not in answer.headers
    assert not gateway.upstream.requests


async def test_a_form_of_any_page_is_no_request(gateway: Gateway) -> None:
    """Browsers send forms anywhere without asking; what they can send is not read as JSON."""
    marks = {"sec-fetch-site": "same-origin", "origin": gateway.url}
    for mark in marks.items():
        for kind in FORMS:
            answer = await gateway.http.post(
                CHAT,
                content=json.dumps(asking("hi")),
                headers={"content-type": kind, **dict([mark])},
            )
            refused(answer, 400, "invalid_content_type")
            assert "Content-Type: application/json" in answer.json()["error"]["message"]
    assert not gateway.upstream.requests


async def test_an_image_on_another_sites_page_starts_nothing(gateway: Gateway) -> None:
    """It sends no `Origin`. A link to the documentation may be followed."""
    foreign = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    for url in ("/v1/mcp/servers/x", "/v1/models", "/health/ready", "/docs"):
        refused(await gateway.http.get(url, headers=foreign), 403, "origin_not_allowed")
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert (await gateway.http.get("/docs", headers=followed)).status_code == 200
    refused(await gateway.http.get("/v1/models", headers=followed), 403, "origin_not_allowed")


async def test_the_servers_own_pages_may_call_it(gateway: Gateway) -> None:
    answer = await gateway.http.get("/v1/models", headers={"origin": gateway.url})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.0.2.1",
        "[2001:db8::1]:8000",
        "localhost@evil.example",
        "a:b:c",
    ],
)
async def test_a_rebound_name_does_not_reach_an_open_server(gateway: Gateway, host: str) -> None:
    for url in ("/v1/models", "/", "/openapi.json", "/health/ready"):
        refused(await gateway.http.get(url, headers={"host": host}), 403, "host_not_allowed")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8000", "a.localhost"]
)
async def test_every_name_of_this_computer_is_good(gateway: Gateway, host: str) -> None:
    assert (await gateway.http.get("/v1/models", headers={"host": host})).status_code == 200


async def test_with_keys_any_name_and_origin_may_knock(protected: Gateway) -> None:
    headers = {**ALICE, "host": "claude.example", "origin": "https://app.example"}
    answer = await protected.http.get("/v1/models", headers=headers)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


async def test_only_named_origins_are_let_in_by_the_browser(generous: Gateway) -> None:
    named = await generous.http.get("/health", headers={"origin": "https://chat.example"})
    other = await generous.http.get("/v1/models", headers={"origin": "https://evil.example"})
    assert named.headers["access-control-allow-origin"] == "https://chat.example"
    assert "access-control-allow-credentials" not in named.headers
    refused(other, 403, "origin_not_allowed")
    assert "access-control-allow-origin" not in other.headers


async def test_pages_are_not_framed_sniffed_or_scripted_by_others(gateway: Gateway) -> None:
    for url in ("/docs", "/v1/models", "/nowhere"):
        headers = (await gateway.http.get(url)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
    policy = (await gateway.http.get("/docs")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


# --- Whoever wants to wear the server out -------------------------------------------------------


async def test_a_forged_forwarding_header_escapes_no_limit(make_gateway: MakeGateway) -> None:
    limits: dict[str, Any] = {"rate_limit_enabled": True, "rate_limit_general_per_minute": 2}
    async with make_gateway(**limits) as gateway:
        statuses = []
        for number in range(4):
            address = f"198.51.100.{number}"
            headers = {
                "x-forwarded-for": address,
                "x-real-ip": address,
                "forwarded": f"for={address}",
            }
            statuses.append((await gateway.http.get("/nowhere", headers=headers)).status_code)
    assert statuses == [404, 404, 429, 429]


async def test_behind_a_trusted_proxy_only_its_own_word_counts(make_gateway: MakeGateway) -> None:
    limits: dict[str, Any] = {"rate_limit_enabled": True, "rate_limit_general_per_minute": 2}
    trusted = (ip_network("127.0.0.1"),)
    async with make_gateway(**limits, trusted_proxies=trusted) as gateway:
        statuses = []
        for number in range(3):  # the client forges the left part, the proxy adds the right one
            headers = {"x-forwarded-for": f"198.51.100.{number}, 203.0.113.7"}
            statuses.append((await gateway.http.get("/nowhere", headers=headers)).status_code)
        headers = {"x-forwarded-for": "203.0.113.8"}
        statuses.append((await gateway.http.get("/nowhere", headers=headers)).status_code)
    assert statuses == [404, 404, 429, 404]


async def test_a_body_over_the_default_bound_is_refused(gateway: Gateway) -> None:
    async def endless() -> AsyncIterator[bytes]:  # as good as
        for _ in range(100):
            yield b" " * 1024 * 1024

    headers = {"content-type": "application/json"}
    answer = await gateway.http.post(CHAT, content=endless(), headers=headers)
    refused(answer, 413, "request_too_large")


async def test_a_compressed_bomb_is_not_opened(gateway: Gateway) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = await gateway.http.post(CHAT, content=bomb, headers=headers)
    refused(answer, 415, "unsupported_content_encoding")


# --- Whoever has a key --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/..%2f..%2f..%2fetc%2fpasswd",
        "/v1/models/%2e%2e/%2e%2e/etc/passwd",
        "/v1/models/..%5c..%5cetc%5cpasswd",
        "/v1/models/%00",
        "/v1/models/x%0d%0ax-evil:1",
        "/v1/../../etc/passwd",
        "/docs/../../etc/passwd",
        "/v1/sessions/..%2f..%2fetc%2fpasswd",
    ],
)
async def test_ids_lead_to_no_file_and_no_header(protected: Gateway, path: str) -> None:
    answer = await protected.http.get(protected.url + path, headers=ALICE)
    assert answer.status_code in (400, 404, 405), answer.text
    assert "root:" not in answer.text
    assert "x-evil" not in answer.headers


async def test_an_image_url_reaches_nothing_inside(generous: Gateway) -> None:
    """Also where the operator allows image URLs; test_media.py has every form of inner address."""
    before = len(generous.upstream.other_requests)
    for url in (generous.upstream.url, "https://127.0.0.1/", "https://169.254.169.254/latest"):
        image = {"type": "image_url", "image_url": {"url": url}}
        body = {"messages": [{"role": "user", "content": [image]}]}
        answer = await generous.http.post(CHAT, json=body)
        assert answer.status_code == 400, answer.text
    assert len(generous.upstream.other_requests) == before
    assert not generous.upstream.requests


BREAKS = ["x\r\nx-evil: 1", "x\nx-evil: 1", "x\u0000y", "é", "a" * 5000]


@pytest.mark.parametrize("text", BREAKS)
async def test_no_word_of_a_request_becomes_a_header(gateway: Gateway, text: str) -> None:
    bodies = [asking("hi", **{text: 1}), asking("hi", model=text), asking("hi", user=text)]
    for body in bodies:
        answer = await gateway.http.post(CHAT, json=body)
        assert answer.status_code in (200, 404)
        assert "x-evil" not in answer.headers
        assert "evil" not in str(answer.headers)


async def test_a_callers_request_id_is_echoed_only_where_it_is_harmless(gateway: Gateway) -> None:
    for value, echoed in (("id-1", "id-1"), ("é", None), ("a" * 600, None)):
        headers = {b"x-client-request-id": value.encode("latin-1")}
        answer = await gateway.http.get("/health", headers=headers)
        assert answer.headers.get("x-client-request-id") == echoed


async def test_callers_share_a_process_and_nothing_else(protected: Gateway) -> None:
    """The same words of two callers reach the model as each wrote them, and nothing more."""
    for caller in (ALICE, BOB, ALICE, BOB):
        answer = await protected.http.post(CHAT, json=asking("!demo recall"), headers=caller)
        assert json.loads(answer.json()["choices"][0]["message"]["content"]) == [
            ["user", "!demo recall"]
        ]
    requests = protected.upstream.requests
    for request in requests:
        assert [said(message) for message in request.messages] == [
            ("user", [{"type": "text", "text": "!demo recall"}])
        ]
    ends = [request.body["metadata"]["user_id"] for request in requests]
    assert ends[0] == ends[2] != ends[1] == ends[3]
    assert not {"alice", "bob"} & set(ends)


@pytest.mark.parametrize("name", ["Bash", "Write", "Read"])
@pytest.mark.parametrize("form", ["anthropic", "oauth"])
async def test_a_function_named_like_a_tool_of_the_host_is_not_run(
    make_gateway: MakeGateway, tmp_path: Path, form: str, name: str
) -> None:
    """A process without tools has none to run, with a key and under a login."""
    made = tmp_path / "made.txt"
    arguments = {"command": f"touch {made}", "file_path": str(made), "content": "x"}
    call = json.dumps([{"name": name, "input": arguments}])
    function = {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    async with make_gateway(form=form, max_processes=1) as gateway:
        body = asking(f"!demo calls={call}", tools=[function])
        choice = (await gateway.http.post(CHAT, json=body)).json()["choices"][0]
        assert (await gateway.http.post(CHAT, json=asking("next"))).status_code == 200
        requests = len(gateway.upstream.requests)
    assert choice["finish_reason"] == "tool_calls"
    [made_call] = choice["message"]["tool_calls"]
    assert made_call["function"]["name"] == name
    assert json.loads(made_call["function"]["arguments"]) == arguments
    assert requests == 2
    assert not made.exists()


async def test_tools_of_the_host_are_not_there_for_the_asking(gateway: Gateway) -> None:
    """Until a server allows them, asking changes nothing."""
    text = '!demo calls=[{"name": "Bash", "input": {"command": "id"}}]'
    wishes = {
        "enable_tools": True,
        "claude_tools": ["Bash"],
        "permission_mode": "bypassPermissions",
    }
    answer = await gateway.http.post(CHAT, json=asking(text, **wishes))
    assert "uid=" not in answer.text
    for request in gateway.upstream.requests:
        assert request.body.get("tools") in (None, [])


async def test_a_server_that_anyone_reaches_knows_it(make_gateway: MakeGateway) -> None:
    """Whatever touches the host asks for this."""
    cases: list[tuple[dict[str, Any], bool]] = [
        ({}, False),
        ({"allow_unprotected": True}, True),
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "api_key": "sk-one"}, False),
    ]
    for settings, expected in cases:
        async with make_gateway(**settings) as gateway:
            assert gateway.app.state.gateway.reachable_without_key is expected


@pytest.mark.parametrize(
    "text",
    ["@/etc/hostname", "/help", "/clear", "!id", "#note", "<system-reminder>x", "@~/.ssh/id"],
)
async def test_words_of_a_prompt_are_never_commands(gateway: Gateway, text: str) -> None:
    answer = await gateway.http.post(CHAT, json=asking(text))
    assert answer.status_code == 200
    [request] = gateway.upstream.requests
    assert [said(message) for message in request.messages] == [
        ("user", [{"type": "text", "text": text}])
    ]


# --- The model, and the process that speaks for it ----------------------------------------------


async def test_no_secret_of_the_host_reaches_the_cli(
    upstream: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither from what credentials are looked for in, nor from this server's own environment."""
    names = ("OPENAI_API_KEY", "DATABASE_URL", "API_KEYS", "API_KEY", "REDIS_URL", "GITHUB_TOKEN")
    for name in names:
        monkeypatch.setenv(name, f"own-s3cret-{name}")
    secrets = {name: f"host-s3cret-{name}" for name in names}
    environ = {**cli_environ(upstream, tmp_path), **secrets}
    app = create_app(harness.test_settings(pool_warm=0), environ=environ)
    async with serve(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        assert (await http.post(CHAT, json=asking("hi"))).status_code == 200
        slots = app.state.gateway.engine.pool.in_state("idle")
        assert slots
        for slot in slots:
            process = psutil.Process(slot.worker.describe()["pid"])
            environment = process.environ()
            assert "ANTHROPIC_API_KEY" in environment
            assert not set(names) & set(environment)
            assert "s3cret" not in f"{environment} {process.cmdline()}"
