"""Where sessions are kept: one `Store`, over SQLite, PostgreSQL or memory."""

from __future__ import annotations

from stores.protocols import Store, StoreLimits

__all__ = ["Store", "StoreLimits", "make_store"]


def make_store(url: str, limits: StoreLimits) -> Store:
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
