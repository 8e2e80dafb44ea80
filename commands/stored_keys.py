"""`python main.py key create|list|revoke`: API keys in the database of the servers, which need not
run. What is changed here holds on running servers within two seconds."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime

from auth import NAME, load_keyring, new_key
from config.settings import Settings, SettingsError, load_settings
from core.errors import GatewayError
from core.limits import NO_LIMITS, KeyLimits
from stores import KeyStore, StoreLimits, make_store, make_usage_stores
from stores.keys import StoredKey

DAY_SECONDS = 86_400
MEMORY = "DATABASE_URL is memory only: a key made here would be gone at once."

Action = Callable[[KeyStore], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The key to make. `models` are patterns, separated by commas; None and "" set no limit."""

    name: str
    operator: bool = False
    models: str = ""
    no_tools: bool = False
    expires_days: float | None = None
    requests_per_minute: int | None = None
    limits: KeyLimits = NO_LIMITS


def create_key(wanted: Wanted) -> int:
    """The exit status: 1 where there is such a key already. Raises SettingsError."""
    settings = load_settings()
    return asyncio.run(_with_store(settings, lambda keys: create(keys, settings, wanted)))


def revoke_key(name: str) -> int:
    """The exit status: 1 where there is no such key. Raises SettingsError."""
    return asyncio.run(_with_store(load_settings(), lambda keys: revoke(keys, name)))


def list_keys() -> int:
    """Raises SettingsError."""
    settings = load_settings()
    return asyncio.run(_with_store(settings, lambda keys: show(keys, settings)))


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


async def create(keys: KeyStore, settings: Settings, wanted: Wanted) -> int:
    """The key alone on stdout, for scripts."""
    if not re.fullmatch(NAME, wanted.name):
        raise SettingsError("A key's name is 1 to 64 letters, digits and _ . @ -")
    secret = new_key()
    made = await keys.add(_key(wanted, hashlib.sha256(secret.encode()).hexdigest()))
    if not made or wanted.name in load_keyring(settings).names():
        if made:
            await keys.remove(wanted.name)
        sys.stderr.write(f"There is a key named {wanted.name} already.\n")
        return 1
    sys.stdout.write(f"{secret}\n")
    sys.stderr.write("Shown only now: the database has only its hash.\n")
    return 0


def _key(wanted: Wanted, digest: str) -> StoredKey:
    now = time.time()
    limits = (*astuple(wanted.limits), wanted.requests_per_minute)
    if not all(limit > 0 for limit in limits if limit is not None):
        raise SettingsError("A limit is more than 0.")
    expires = None if wanted.expires_days is None else now + wanted.expires_days * DAY_SECONDS
    return StoredKey(
        wanted.name,
        digest,
        now,
        expires_at=expires,
        operator=wanted.operator,
        requests_per_minute=wanted.requests_per_minute,
        builtin_tools=not wanted.no_tools,
        models=tuple(part.strip() for part in wanted.models.split(",") if part.strip()),
        limits=wanted.limits,
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
