"""Where sessions are kept: one `SessionStore`, over SQLite, PostgreSQL or memory."""

from __future__ import annotations

from stores.database import Database, database_url, in_memory
from stores.memory import MemoryStore
from stores.protocol import SessionStore, StoreLimits
from stores.sql import SqlStore

__all__ = ["SessionStore", "StoreLimits", "make_store"]


def make_store(url: str, limits: StoreLimits) -> SessionStore:
    """The store that a `DATABASE_URL` names; not opened yet. Raises ValueError."""
    parsed = database_url(url)
    return MemoryStore(limits) if in_memory(parsed) else SqlStore(Database(parsed), limits)
