"""API keys -> Principal: who may come in. And how a key is made.

Keys come from API_KEY, API_KEYS and API_KEYS_FILE. Only their SHA-256 hashes are kept, and logs
name a key by the first eight hex digits of its hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from config.settings import Settings, SettingsError
from core.builtin_tools import rules, tool_rules

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
    """

    name: str
    key_id: str | None = None
    requests_per_minute: int | None = None
    builtin_tools: bool = True
    models: tuple[str, ...] = ()
    allowed_tools: tuple[str, ...] | None = None
    disallowed_tools: tuple[str, ...] = ()

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


FILE = TypeAdapter(dict[Annotated[str, StringConstraints(pattern=rf"^{NAME}$")], FileEntry])


class Keyring:
    """The known keys as hashes. An empty one lets everybody in as `LOCAL`."""

    def __init__(self, entries: Iterable[tuple[bytes, Principal]] = ()) -> None:
        self._entries = tuple(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def names(self) -> set[str]:
        return {principal.name for _, principal in self._entries}

    def find(self, presented: bytes) -> Principal | None:
        """Looks at every known hash however early one fits, each in constant time."""
        digest = hashlib.sha256(presented).digest()
        found = None
        for known, principal in self._entries:
            if hmac.compare_digest(known, digest):
                found = principal
        return found


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
        limits = entry.model_dump(exclude={"key", "sha256"})
        yield bytes.fromhex(digest), Principal(name, digest[:8], **limits)


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
