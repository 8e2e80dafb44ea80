"""What a store of API keys promises: keys that are made, changed and revoked while servers run.

Only the SHA-256 of a key is kept. `tests/stores/test_key_stores.py` holds every implementation to
this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from core.limits import KeyLimits


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One key. `sha256` is 64 hex digits. `expires_at` and `last_used_at` are Unix seconds. An
    `operator` may change what others may do. The rest is as in auth.Principal."""

    name: str
    sha256: str
    created_at: float
    expires_at: float | None = None
    last_used_at: float | None = None
    disabled: bool = False
    operator: bool = False
    requests_per_minute: int | None = None
    builtin_tools: bool = True
    models: tuple[str, ...] = ()
    allowed_tools: tuple[str, ...] | None = None
    disallowed_tools: tuple[str, ...] = ()
    limits: KeyLimits = field(default_factory=KeyLimits)

    def is_valid(self, now: float) -> bool:
        return not self.disabled and (self.expires_at is None or now < self.expires_at)


class KeyStore(Protocol):
    """Every method is one transaction. Raises StoreUnavailable."""

    async def revision(self) -> str:
        """Another one after every change but that of `last_used_at`."""
        ...

    async def all(self) -> Sequence[StoredKey]:
        """By name."""
        ...

    async def add(self, key: StoredKey) -> bool:
        """False where the name, or the key, is taken."""
        ...

    async def change(self, key: StoredKey) -> bool:
        """Replaces the one of this name; its secret, its creation and its last use stay. False
        where there is none."""
        ...

    async def remove(self, name: str) -> bool:
        """False where there is none."""
        ...
