"""API keys: where they come from, how they are sent, what a principal may do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from auth import LOCAL, Keyring, Principal, load_keyring, new_key, presented_keys
from config.settings import Settings, SettingsError
from core.errors import LimitExceeded
from tests.conftest import MakeGateway
from tests.support.harness import Gateway
from web.middleware.access import (
    FREE_FAILURES,
    LONGEST_DELAY_SECONDS,
    MOST_ADDRESSES,
    MOST_WAITING,
    Failures,
)

HI = {"model": "claude-sonnet-5", "messages": [{"role": "user", "content": "hi"}]}


def keyring(**settings: Any) -> Keyring:
    return load_keyring(Settings.model_construct(**settings))


def id_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def keys_file(folder: Path, content: object) -> Path:
    path = folder / "keys.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("name", ["builtin_tools", "own_tools"])
def test_a_key_without_built_in_tools_may_say_so_by_the_old_name_too(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"alice": {"key": "sk-alice", name: False}}))
    found = load_keyring(Settings.model_construct(api_keys_file=path)).find(b"sk-alice")
    assert found is not None
    assert not found.builtin_tools


def test_without_keys_there_is_nothing_to_find() -> None:
    assert not keyring()
    assert not keyring(api_keys=" , ")


def test_keys_come_with_names_and_without() -> None:
    known = keyring(api_key="sk-one", api_keys="alice:sk-two, sk-three ,alice:sk-four")
    names = {key: known.find(key.encode()) for key in ("sk-one", "sk-two", "sk-three", "sk-four")}
    assert names == {
        "sk-one": Principal("default", id_of("sk-one")),
        "sk-two": Principal("alice", id_of("sk-two")),
        "sk-three": Principal(f"key-{id_of('sk-three')}", id_of("sk-three")),
        "sk-four": Principal("alice", id_of("sk-four")),
    }


@pytest.mark.parametrize("wrong", ["", "sk-on", "sk-one ", "SK-ONE", "alice:sk-two", "default"])
def test_what_is_no_key_finds_nobody(wrong: str) -> None:
    assert keyring(api_key="sk-one", api_keys="alice:sk-two").find(wrong.encode()) is None


def test_a_file_holds_keys_or_hashes_and_their_limits(tmp_path: Path) -> None:
    bob = hashlib.sha256(b"sk-bob").hexdigest()
    table = {
        "alice": {"key": "sk-alice", "requests_per_minute": 3, "builtin_tools": False},
        "bob": {"sha256": bob, "models": ["sonnet", "claude-haiku*"]},
    }
    known = keyring(api_keys_file=keys_file(tmp_path, table))
    assert known.find(b"sk-alice") == Principal("alice", id_of("sk-alice"), 3, builtin_tools=False)
    assert known.find(b"sk-bob") == Principal("bob", bob[:8], models=("sonnet", "claude-haiku*"))


BAD_FILES: list[tuple[object, str]] = [
    ("s3cret", "API_KEYS_FILE: it is not JSON."),
    ({"a": {}}, "API_KEYS_FILE: a needs either key or sha256."),
    ({"a": {"key": "s3cret", "sha256": "0" * 64}}, "API_KEYS_FILE: a needs either key or sha256."),
    ({"a": {"sha256": "s3cret"}}, "API_KEYS_FILE: a.sha256: "),
    ({"a": {"key": "s3cret", "requests_per_minute": 0}}, "API_KEYS_FILE: a.requests_per_minute: "),
    ({"a": {"key": "s3cret", "tools": True}}, "API_KEYS_FILE: a.tools: "),
    ({"a b": {"key": "s3cret"}}, "API_KEYS_FILE: a b: "),
]


@pytest.mark.parametrize(("content", "sentence"), BAD_FILES)
def test_a_bad_file_is_told_in_one_sentence_without_its_content(
    tmp_path: Path, content: object, sentence: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        keyring(api_keys_file=keys_file(tmp_path, content))
    assert str(caught.value).startswith(sentence)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"api_keys": "a b:s3cret"}, "API_KEYS must be keys or name:key pairs"),
        ({"api_keys": "alice:"}, "API_KEYS must be keys or name:key pairs"),
        ({"api_keys": "a:s3cret,b:s3cret"}, "API_KEYS: a and b have the same key."),
        ({"api_keys_file": Path("/nowhere/keys")}, "API_KEYS_FILE cannot be read: No such file"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(
    settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        keyring(**settings)
    assert str(caught.value).startswith(sentence)
    assert "s3cret" not in str(caught.value)


def test_a_name_cannot_take_over_the_limits_of_a_file(tmp_path: Path) -> None:
    path = keys_file(tmp_path, {"alice": {"key": "sk-1"}})
    with pytest.raises(SettingsError, match=r"^API_KEYS: alice is in API_KEYS_FILE too\.$"):
        keyring(api_keys_file=path, api_keys="alice:sk-2")


def test_settings_and_keyrings_show_no_key() -> None:
    settings = Settings.model_construct(api_key="s3cret", api_keys="a:s3cret2", redis_url="s3cret3")
    known = load_keyring(settings)
    assert "s3cret" not in f"{settings!r} {known!r} {vars(known)!r}"


SENT: list[tuple[dict[str, str], tuple[bytes, ...]]] = [
    ({}, ()),
    ({"authorization": "Bearer k"}, (b"k",)),
    ({"authorization": "bearer  k "}, (b"k",)),
    ({"authorization": "Basic k"}, ()),
    ({"authorization": "Bearer"}, ()),
    ({"authorization": "k"}, ()),
    ({"x-api-key": "k"}, (b"k",)),
    ({"api-key": "k"}, (b"k",)),
    ({"authorization": "Bearer a", "x-api-key": "b"}, (b"a", b"b")),
]


@pytest.mark.parametrize(("headers", "keys"), SENT)
def test_three_headers_may_carry_a_key(headers: dict[str, str], keys: tuple[bytes, ...]) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert presented_keys(raw) == keys


def test_a_new_key_has_256_bits() -> None:
    assert len(new_key()) == len("sk-") + 43
    assert new_key() != new_key()


def test_a_models_other_names_count_for_its_pattern() -> None:
    limited = Principal("a", models=("Sonnet", "claude-haiku*"))
    assert limited.may_use("gpt-4o", "claude-sonnet-5", "sonnet")
    assert limited.may_use("CLAUDE-HAIKU-4-5")
    assert not limited.may_use("claude-opus-4-1", "opus")
    assert LOCAL.may_use("anything")


class Waits:
    """A clock and a sleep of the test's own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.failures = Failures(lambda: self.now, self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_each_wrong_key_over_some_waits_twice_as_long_up_to_a_bound() -> None:
    waits = Waits()
    for _ in range(FREE_FAILURES + 10):
        await waits.failures.punish("192.0.2.1")
    assert waits.slept[:4] == [0.25, 0.5, 1.0, 2.0]
    assert waits.slept[-1] == LONGEST_DELAY_SECONDS
    assert waits.failures.note("192.0.2.2") == 0.0


def test_wrong_keys_are_forgiven_after_a_while() -> None:
    waits = Waits()
    for _ in range(FREE_FAILURES + 1):
        waits.failures.note("192.0.2.1")
    waits.now = 301.0
    assert waits.failures.note("192.0.2.1") == 0.0


async def test_only_some_wrong_answers_of_an_address_wait_at_once() -> None:
    hold = asyncio.Event()

    async def wait(seconds: float) -> None:
        await hold.wait()

    failures = Failures(lambda: 0.0, wait)
    tasks = [
        asyncio.create_task(failures.punish("192.0.2.1"))
        for _ in range(FREE_FAILURES + MOST_WAITING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(LimitExceeded):
        failures.check("192.0.2.1")
    failures.check("192.0.2.2")
    hold.set()
    await asyncio.gather(*tasks)
    failures.check("192.0.2.1")


def test_the_memory_of_wrong_keys_is_bounded() -> None:
    failures = Failures(lambda: 0.0)
    for number in range(MOST_ADDRESSES + 5):
        failures.note(str(number))
    assert len(failures._seen) == MOST_ADDRESSES


@pytest.fixture(scope="session")
def two_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    table = {"bob": {"key": "sk-bob", "models": ["haiku"], "requests_per_minute": 2}}
    path = keys_file(tmp_path_factory.mktemp("keys"), table)
    return {"api_keys": "alice:sk-alice", "api_keys_file": path}


HEADERS = ({"authorization": "Bearer sk-alice"}, {"x-api-key": "sk-alice"}, {"api-key": "sk-alice"})


async def test_a_protected_server_end_to_end(
    make_gateway: MakeGateway, two_keys: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """One server, since each costs a process: headers, principals, models, limits, logs."""
    caplog.set_level(logging.INFO)
    async with make_gateway(**two_keys) as gateway:
        await _every_route_but_the_open_ones_asks_for_a_key(gateway)
        await _every_header_opens(gateway)
        await _a_key_for_some_models_sees_only_these(gateway)
        await _a_key_has_its_own_limit(gateway)
        await _readiness_says_why_only_to_a_key(gateway)
    keys = {record.fields["key"] for record in caplog.records if hasattr(record, "fields")}
    assert keys == {id_of("sk-alice"), id_of("sk-bob"), None}
    assert "sk-alice" not in caplog.text


OPEN = {"/", "/health", "/health/ready", "/docs", "/openapi.json"}


async def _every_route_but_the_open_ones_asks_for_a_key(gateway: Gateway) -> None:
    """Drift: a route whose signature forgets the Principal is found here."""
    for path, methods in gateway.app.openapi()["paths"].items():
        for method in methods:
            url = re.sub(r"\{.*?\}", "x", path)
            answer = await gateway.http.request(method, url, json={} if method == "post" else None)
            expected = 200 if path in OPEN else 401
            assert answer.status_code == expected, (method, path, answer.text)
    for path in ("/docs", "/assets/page.css", "/openapi.json"):
        assert (await gateway.http.get(path)).status_code == 200


async def _every_header_opens(gateway: Gateway) -> None:
    for headers in HEADERS:
        answer = await gateway.http.post("/v1/chat/completions", json=HI, headers=headers)
        assert answer.status_code == 200, answer.text


async def _a_key_for_some_models_sees_only_these(gateway: Gateway) -> None:
    bob = {"authorization": "Bearer sk-bob"}
    listed = (await gateway.http.get("/v1/models", headers=bob)).json()["data"]
    assert listed
    assert all("haiku" in model["id"] for model in listed)
    refused = await gateway.http.post("/v1/chat/completions", json=HI, headers=bob)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    hidden = await gateway.http.get("/v1/models/claude-sonnet-5", headers=bob)
    assert hidden.status_code == 403


async def _a_key_has_its_own_limit(gateway: Gateway) -> None:
    bob = {"authorization": "Bearer sk-bob"}
    haiku = {**HI, "model": "haiku"}
    answer = await gateway.http.post("/v1/chat/completions", json=haiku, headers=bob)
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"  # the refused one counted
    over = await gateway.http.post("/v1/chat/completions", json=haiku, headers=bob)
    assert over.status_code == 429
    alice = await gateway.http.post("/v1/chat/completions", json=HI, headers=HEADERS[0])
    assert alice.status_code == 200
    assert "x-ratelimit-limit-requests" not in alice.headers


async def _readiness_says_why_only_to_a_key(gateway: Gateway) -> None:
    unknown = (await gateway.http.get("/health/ready")).json()
    known = (await gateway.http.get("/health/ready", headers=HEADERS[0])).json()
    assert unknown["status"] == known["status"] == "ready"
    assert {check["detail"] for check in unknown["checks"].values()} == {None}
    assert "ANTHROPIC_API_KEY" in known["checks"]["credentials"]["detail"]
