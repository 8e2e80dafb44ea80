"""Where sessions and responses are kept: over SQLite, PostgreSQL or memory."""

from __future__ import annotations

from stores.protocols import Store, StoreLimits
from stores.response_store import ResponseLimits, ResponseStore

__all__ = [
    "ResponseLimits",
    "ResponseStore",
    "Store",
    "StoreLimits",
    "make_response_store",
    "make_store",
]


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


def make_response_store(sessions: Store, limits: ResponseLimits) -> ResponseStore:
    """In the database of the sessions, which opens it."""
    from stores.memory import MemoryStore
    from stores.response_memory import MemoryResponseStore

    if isinstance(sessions, MemoryStore):
        return MemoryResponseStore(limits)
    from stores.sql.responses import SqlResponseStore
    from stores.sql.store import SqlStore

    if not isinstance(sessions, SqlStore):
        raise TypeError(f"no store of responses goes with {type(sessions).__name__}")
    return SqlResponseStore(sessions.database, limits)
