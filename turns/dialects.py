"""Which dialects there are: the one list that routes, errors and reports read."""

from __future__ import annotations

from typing import Any

from dialects import chat, completions, messages, responses
from dialects.base import Dialect

DIALECTS: dict[str, Dialect[Any]] = {
    dialect.name: dialect
    for dialect in (chat.DIALECT, responses.DIALECT, completions.DIALECT, messages.DIALECT)
}
DEFAULT = chat.DIALECT
"""Whose form the errors of all other routes have."""


def of_path(path: str) -> Dialect[Any]:
    """The dialect that is served at a path or below it, for errors of any kind; else DEFAULT."""
    for dialect in DIALECTS.values():
        if path == dialect.wire.path or path.startswith(f"{dialect.wire.path}/"):
            return dialect
    return DEFAULT
