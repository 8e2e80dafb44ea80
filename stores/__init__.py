"""Where sessions are kept: one `SessionStore`, over SQLite, PostgreSQL or memory."""

from __future__ import annotations

from stores.protocols import SessionStore, StoreLimits

__all__ = ["SessionStore", "StoreLimits", "make_store"]


def make_store(url: str, limits: StoreLimits) -> SessionStore:
    """The store that a `DATABASE_URL` names; not opened yet. Raises ValueError."""
    from stores.memory import MemoryStore
    from stores.sql.database import (  # SQLAlchemy, a fifth of a second
        Database,
        database_url,
        in_memory,
    )
    from stores.sql.store import SqlStore

    parsed = database_url(url)
    return MemoryStore(limits) if in_memory(parsed) else SqlStore(Database(parsed), limits)
