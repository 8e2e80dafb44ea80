"""`python main.py key create|list|revoke`: keys in the servers' database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from commands import command_line
from main import create_app
from stores import StoreLimits, make_store, make_usage_stores
from stores.keys import StoredKey


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/keys.db"
    monkeypatch.setenv("DATABASE_URL", url)
    return url


def run(*words: str) -> int:
    return command_line.main(["key", *words], create_app)


async def stored(url: str) -> list[StoredKey]:
    store = make_store(url, StoreLimits())
    async with store:
        return list(await make_usage_stores(store)[1].all())


LIMITS = {
    "--requests-per-minute": 7,
    "--tokens-per-minute": 8,
    "--parallel-requests": 2,
    "--tokens-per-day": 9,
    "--tokens-per-month": 10,
    "--usd-per-day": 1.5,
    "--usd-per-month": 20.0,
}


def test_each_option_is_kept_as_it_says(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    limits = [word for name, value in LIMITS.items() for word in (name, str(value))]
    assert run("create", "alice", "--operator", "--no-tools", "--models", "haiku, s*", *limits) == 0
    assert capsys.readouterr().out.startswith("sk-")
    [key] = asyncio.run(stored(database))
    assert (key.name, key.operator, key.builtin_tools) == ("alice", True, False)
    assert key.models == ("haiku", "s*")
    kept = {name: getattr(key.limits, name[2:].replace("-", "_"), None) for name in LIMITS}
    assert kept | {"--requests-per-minute": key.requests_per_minute} == LIMITS


def test_a_key_is_listed_and_revoked(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("create", "alice") == 0
    assert run("create", "alice") == 1
    secret = capsys.readouterr().out.strip()
    assert run("list") == 0
    listed = capsys.readouterr().out
    assert "alice" in listed
    assert secret not in listed
    assert run("revoke", "alice") == 0
    assert run("revoke", "alice") == 1
    capsys.readouterr()
    assert run("list") == 0
    assert "alice" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["create"],
        ["create", "no name"],
        ["create", "alice", "--usd-per-day", "0"],
        ["create", "alice", "--usd-per-day", "nan"],
        ["create", "alice", "--tokens-per-day", "0"],
        ["revoke"],
        ["create", "alice", "--limit", "3"],
    ],
)
def test_an_argument_that_cannot_be_used_makes_nothing(
    database: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    assert capsys.readouterr().out == ""


def test_a_database_in_memory_keeps_no_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite://")
    assert run("create", "alice") == 2
    assert "memory only" in capsys.readouterr().err
