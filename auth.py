"""API keys -> Principal: who may come in. And how a key is made.

Keys come from API_KEY, API_KEYS, API_KEYS_FILE, and a store in which they are made and revoked
while servers run. Only their SHA-256 hashes are kept, and logs name a key by the first eight hex
digits of its hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from config.settings import Settings, SettingsError
from core.builtin_tools import rules, tool_rules
from core.errors import StoreUnavailable
from core.limits import NO_LIMITS, KeyLimits
from stores.keys import KeyStore, StoredKey

log = logging.getLogger(__name__)

REFRESH_SECONDS = 2.0
"""How old what is known of stored keys may be: how long a revoked one may go on elsewhere."""

UNKNOWN_SECONDS = 0.2
"""How often an unknown key may make this server query the store."""

KEY_PREFIX = "sk-"
KEY_BYTES = 32
MAX_PRESENTED = 3
"""Different keys of one request: one for each header that may carry one."""

NAME = r"[A-Za-z0-9_.@-]{1,64}"


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller a request is made for. Sessions and processes belong to `name`.

    `key_id` is None where no key was needed. `requests_per_minute` replaces the chat limit.
    `models` are patterns of model names; empty means all. `builtin_tools`: whether Claude Code's
    built-in tools may be requested at all; `allowed_tools` replace the server's, None leaves them.
    An `operator` may change what others may do, as those that OPERATOR_KEYS names.
    """

    name: str
    key_id: str | None = None
    requests_per_minute: int | None = None
    builtin_tools: bool = True
    models: tuple[str, ...] = ()
    allowed_tools: tuple[str, ...] | None = None
    disallowed_tools: tuple[str, ...] = ()
    limits: KeyLimits = NO_LIMITS
    operator: bool = False

    def may_use(self, *names: str) -> bool:
        """Whether one of a model's names fits one of the patterns."""
        patterns = [pattern.lower() for pattern in self.models]
        return not patterns or any(
            fnmatchcase(name.lower(), pattern) for name in names for pattern in patterns
        )


LOCAL = Principal("local")
"""Every caller, on a server without keys."""


class FileEntry(BaseModel):
    """One principal of API_KEYS_FILE; either `key` or `sha256` (64 hex digits) is given."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key: Annotated[str, StringConstraints(min_length=1)] | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    requests_per_minute: PositiveInt | None = None
    builtin_tools: bool = Field(True, validation_alias=AliasChoices("builtin_tools", "own_tools"))
    models: tuple[str, ...] = ()
    allowed_tools: Annotated[tuple[str, ...], AfterValidator(tool_rules)] | None = None
    disallowed_tools: Annotated[tuple[str, ...], AfterValidator(rules)] = ()
    tokens_per_minute: PositiveInt | None = None
    parallel_requests: PositiveInt | None = None
    usd_per_day: PositiveFloat | None = None
    usd_per_month: PositiveFloat | None = None
    tokens_per_day: PositiveInt | None = None
    tokens_per_month: PositiveInt | None = None


LIMITS = tuple(limit.name for limit in fields(KeyLimits))
FILE = TypeAdapter(dict[Annotated[str, StringConstraints(pattern=rf"^{NAME}$")], FileEntry])


class Keyring:
    """The known keys as hashes. An empty one lets everybody in as `LOCAL`."""

    def __init__(self, entries: Iterable[tuple[bytes, Principal]] = ()) -> None:
        self._entries = tuple(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def names(self) -> set[str]:
        return {principal.name for _, principal in self._entries}

    def principals(self) -> list[Principal]:
        return [principal for _, principal in self._entries]

    def named(self, name: str, key_id: str) -> Principal | None:
        known = (principal for _, principal in self._entries)
        return next((p for p in known if (p.name, p.key_id) == (name, key_id)), None)

    def find(self, presented: bytes) -> Principal | None:
        """Looks at every known hash however early one fits, each in constant time."""
        digest = hashlib.sha256(presented).digest()
        found = None
        for known, principal in self._entries:
            if hmac.compare_digest(known, digest):
                found = principal
        return found


class KeyBook:
    """All keys: those of the settings, and those of a store as of REFRESH_SECONDS ago at most. An
    unknown key is looked up, so a new one works everywhere as soon as it is made.

    Where the store fails, what is known of it stays valid. A server that ever had a key never lets
    everybody in again.
    """

    def __init__(
        self,
        fixed: Keyring,
        store: KeyStore | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.fixed = fixed
        self.store = store
        self._clock = clock
        self._stored: dict[bytes, StoredKey] = {}
        self._revision = ""
        self._looked_at = float("-inf")
        self._was_protected = bool(fixed)
        self._lock = asyncio.Lock()

    @property
    def is_protected(self) -> bool:
        """Whether a key is needed. Without any, everybody is `LOCAL`."""
        return self._was_protected

    def names(self) -> set[str]:
        """Of all principals there are."""
        stored = {key.name for key in self._stored.values()}
        return (self.fixed.names() | stored) or {LOCAL.name}

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    async def find(self, presented: bytes) -> Principal | None:
        """None for a key that is unknown, disabled or expired."""
        await self.refresh(REFRESH_SECONDS)
        if found := self.fixed.find(presented):
            return found
        digest = hashlib.sha256(presented).digest()
        if digest not in self._stored and self.store is not None:
            await self._look_again()
        key = self._stored.get(digest)  # by its hash: what its time tells is no part of the key
        return None if key is None or not key.is_valid(self._clock()) else principal_of(key)

    async def named(self, name: str, key_id: str) -> Principal | None:
        """The principal of a key that was presented before, if it may still come in."""
        await self.refresh(REFRESH_SECONDS)
        if found := self.fixed.named(name, key_id):
            return found
        for digest, key in self._stored.items():
            if (key.name, digest.hex()[:8]) == (name, key_id) and key.is_valid(self._clock()):
                return principal_of(key)
        return None

    async def _look_again(self) -> None:
        """Reads the store when it may be asked next, which is at once or in a moment: a key that
        another server has just made is found."""
        wait_seconds = self._looked_at + UNKNOWN_SECONDS - time.monotonic()
        if wait_seconds > 0:
            await asyncio.sleep(wait_seconds)
        await self.refresh(UNKNOWN_SECONDS)

    async def refresh(self, older_than_seconds: float = 0.0) -> None:
        """Reads the store again, if what is known is older than that and it changed."""
        if self.store is None or not self._is_older(older_than_seconds):
            return
        async with self._lock:
            if not self._is_older(older_than_seconds):
                return
            self._looked_at = time.monotonic()
            try:
                await self._read(self.store)
            except StoreUnavailable as error:
                log.warning("API keys could not be looked up: %s", error.message)

    def _is_older(self, seconds: float) -> bool:
        return time.monotonic() - self._looked_at >= seconds

    async def _read(self, store: KeyStore) -> None:
        revision = await store.revision()
        if revision == self._revision:
            return
        self._stored = {bytes.fromhex(key.sha256): key for key in await store.all()}
        self._revision = revision
        self._was_protected = self._was_protected or bool(self._stored)


def principal_of(key: StoredKey) -> Principal:
    return Principal(
        key.name,
        key.sha256[:8],
        requests_per_minute=key.requests_per_minute,
        builtin_tools=key.builtin_tools,
        models=key.models,
        allowed_tools=key.allowed_tools,
        disallowed_tools=key.disallowed_tools,
        limits=key.limits,
        operator=key.operator,
    )


def load_keyring(settings: Settings) -> Keyring:
    """The keys of all three settings. Raises SettingsError, which never shows a key."""
    entries: dict[bytes, Principal] = {}
    file_names = set()
    for digest, principal in _file_entries(settings.api_keys_file):
        file_names.add(principal.name)
        _add(entries, digest, principal)
    for name, key in _setting_keys(settings):
        digest = hashlib.sha256(key.encode()).digest()
        principal = Principal(name or f"key-{digest.hex()[:8]}", digest.hex()[:8])
        if principal.name in file_names:
            raise SettingsError(f"API_KEYS: {principal.name} is in API_KEYS_FILE too.")
        _add(entries, digest, principal)
    return Keyring(entries.items())


def _add(entries: dict[bytes, Principal], digest: bytes, principal: Principal) -> None:
    owner = entries.setdefault(digest, principal)
    if owner.name != principal.name:
        raise SettingsError(f"API_KEYS: {owner.name} and {principal.name} have the same key.")


def _setting_keys(settings: Settings) -> Iterator[tuple[str, str]]:
    """Names, empty for keys without one, and keys. A name may come twice, to change its key."""
    if settings.api_key:
        yield "default", settings.api_key
    for item in (settings.api_keys or "").split(","):
        name, colon, key = (part.strip() for part in item.partition(":"))
        if not colon:
            name, key = "", name
        if not key and not name:
            continue
        if not key or (colon and not re.fullmatch(NAME, name)):
            raise SettingsError("API_KEYS must be keys or name:key pairs, comma separated.")
        yield name, key


def _file_entries(path: Path | None) -> Iterator[tuple[bytes, Principal]]:
    if path is None:
        return
    try:
        table = FILE.validate_json(path.expanduser().read_bytes())
    except OSError as error:
        raise SettingsError(f"API_KEYS_FILE cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        raise SettingsError(f"API_KEYS_FILE: {_problem(error)}.") from None
    for name, entry in table.items():
        if (entry.key is None) == (entry.sha256 is None):
            raise SettingsError(f"API_KEYS_FILE: {name} needs either key or sha256.")
        hashed = hashlib.sha256((entry.key or "").encode()).hexdigest()
        digest = entry.sha256 or hashed
        rules = entry.model_dump(exclude={"key", "sha256", *LIMITS})
        limits = KeyLimits(**{limit: getattr(entry, limit) for limit in LIMITS})
        yield bytes.fromhex(digest), Principal(name, digest[:8], **rules, limits=limits)


def _problem(error: ValidationError) -> str:
    """`alice.models: Input should be …`; the file's content is not repeated."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return "it is not JSON"
    place = ".".join(str(step) for step in first["loc"] if step != "[key]")
    return f"{place}: {first['msg']}" if place else first["msg"]


def presented_keys(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
    """What a request offers as `Authorization: Bearer`, `x-api-key` or `api-key`, each key once."""
    found: dict[bytes, None] = {}
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer" and key.strip():
                found[key.strip()] = None
        elif name in (b"x-api-key", b"api-key") and value.strip():
            found[value.strip()] = None
    return tuple(found)


def new_key() -> str:
    """256 random bits behind the prefix that OpenAI's keys have."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
