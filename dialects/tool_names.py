"""The names and ids of functions and calls that the API allows, and the caller's own."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

NATIVE_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
NATIVE_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(slots=True)
class Names:
    """The caller's function names and the ones that the API allows, both ways."""

    reserved: frozenset[str] = frozenset()
    _native: dict[str, str] = field(default_factory=dict)
    _wire: dict[str, str] = field(default_factory=dict)

    def native(self, name: str) -> str:
        if name not in self._native:
            native = _marked(name) if name in self.reserved else _allowed(name, NATIVE_NAME)
            self._native[name], self._wire[native] = native, name
        return self._native[name]

    def wire(self, native: str) -> str:
        return self._wire.get(native, native)


def native_id(call_id: str) -> str:
    """An id that the API allows; those that it does are kept."""
    return _allowed(call_id, NATIVE_ID)


def _allowed(name: str, pattern: re.Pattern[str]) -> str:
    return name if pattern.fullmatch(name) else _marked(name)


def _marked(name: str) -> str:
    mark = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
    return f"{re.sub(r'[^a-zA-Z0-9_-]', '_', name)[:50]}_{mark}"
