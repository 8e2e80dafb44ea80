"""`python main.py key create|list|revoke`: API keys in the database of the servers, which need not
run. What is changed here holds on running servers within two seconds."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import re
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from auth import NAME, load_keyring, new_key
from config.settings import Settings, SettingsError, load_settings
from core.errors import GatewayError
from core.limits import KeyLimits
from stores import KeyStore, StoreLimits, make_store, make_usage_stores
from stores.keys import StoredKey

DAY_SECONDS = 86_400
MEMORY = "DATABASE_URL is memory only: a key made here would be gone at once."

Action = Callable[[KeyStore], Awaitable[int]]


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 where the key is not there, or is there already. Raises SettingsError."""
    asked = parser().parse_args(arguments)
    settings = load_settings()
    match asked.action:
        case "create":
            return asyncio.run(_with_store(settings, lambda keys: create(keys, settings, asked)))
        case "revoke":
            return asyncio.run(_with_store(settings, lambda keys: revoke(keys, asked.name)))
        case _:
            return asyncio.run(_with_store(settings, lambda keys: show(keys, settings)))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python main.py key", description="API keys of the servers")
    actions = made.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="all keys, without their secrets")
    gone = actions.add_parser("revoke", help="delete a key; nothing can use it any more")
    gone.add_argument("name")
    new = actions.add_parser("create", help="make a key, and print its secret once")
    new.add_argument("name", help="letters, digits and _ . @ -, 64 at most")
    new.add_argument("--operator", action="store_true", help="may manage keys, tools and servers")
    new.add_argument("--models", default="", help="patterns of model names, comma separated")
    new.add_argument("--no-tools", action="store_true", help="none of Claude Code's built-in tools")
    new.add_argument("--expires-days", type=float, help="days from now")
    for kind in ("requests-per-minute", "tokens-per-minute", "parallel-requests"):
        new.add_argument(f"--{kind}", type=int)
    for kind in ("tokens-per-day", "tokens-per-month"):
        new.add_argument(f"--{kind}", type=int)
    for kind in ("usd-per-day", "usd-per-month"):
        new.add_argument(f"--{kind}", type=float)
    return made


async def _with_store(settings: Settings, action: Action) -> int:
    try:
        store = make_store(settings.database_url, StoreLimits())
    except ValueError as error:
        raise SettingsError(f"DATABASE_URL {error}.") from None
    if type(store).__name__ == "MemoryStore":
        raise SettingsError(MEMORY)
    try:
        async with store:
            _, keys = make_usage_stores(store)
            return await action(keys)
    except GatewayError as error:
        raise SettingsError(error.message) from None


async def create(keys: KeyStore, settings: Settings, asked: argparse.Namespace) -> int:
    """The key alone on stdout, for scripts."""
    if not re.fullmatch(NAME, asked.name):
        raise SettingsError("A key's name is 1 to 64 letters, digits and _ . @ -")
    secret = new_key()
    made = await keys.add(_key(asked, hashlib.sha256(secret.encode()).hexdigest()))
    if not made or asked.name in load_keyring(settings).names():
        if made:
            await keys.remove(asked.name)
        sys.stderr.write(f"There is a key named {asked.name} already.\n")
        return 1
    sys.stdout.write(f"{secret}\n")
    sys.stderr.write("Shown only now: the database has only its hash.\n")
    return 0


def _key(asked: argparse.Namespace, digest: str) -> StoredKey:
    now = time.time()
    limits = {name: getattr(asked, name) for name in KeyLimits.__dataclass_fields__}
    given = [limit for limit in (*limits.values(), asked.requests_per_minute) if limit is not None]
    if any(limit <= 0 for limit in given):
        raise SettingsError("A limit is more than 0.")
    expires = None if asked.expires_days is None else now + asked.expires_days * DAY_SECONDS
    return StoredKey(
        asked.name,
        digest,
        now,
        expires_at=expires,
        operator=asked.operator,
        requests_per_minute=asked.requests_per_minute,
        builtin_tools=not asked.no_tools,
        models=tuple(part.strip() for part in asked.models.split(",") if part.strip()),
        limits=KeyLimits(**limits),
    )


async def revoke(keys: KeyStore, name: str) -> int:
    if await keys.remove(name):
        sys.stdout.write(f"{name} is revoked\n")
        return 0
    sys.stderr.write(f"There is no key named {name} in the database.\n")
    return 1


async def show(keys: KeyStore, settings: Settings) -> int:
    rows = [("NAME", "ID", "WHERE", "STATE", "LAST USED")]
    for principal in load_keyring(settings).principals():
        rows.append((principal.name, principal.key_id or "", "settings", "", ""))
    now = time.time()
    for key in await keys.all():
        row = (key.name, key.sha256[:8], "database", _state(key, now), _date(key.last_used_at))
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return 0


def _state(key: StoredKey, now: float) -> str:
    if key.disabled:
        return "disabled"
    if key.expires_at is not None and key.expires_at <= now:
        return "expired"
    return "operator" if key.operator else "active"


def _date(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
