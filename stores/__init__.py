"""Where sessions, responses, usage and keys are kept: over SQLite, PostgreSQL or memory."""

from __future__ import annotations

from stores.keys import KeyStore
from stores.protocols import Store, StoreLimits
from stores.response_store import ResponseLimits, ResponseStore
from stores.usage import UsageLedger

__all__ = [
    "KeyStore",
    "ResponseLimits",
    "ResponseStore",
    "Store",
    "StoreLimits",
    "UsageLedger",
    "make_response_store",
    "make_store",
    "make_usage_stores",
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


def make_usage_stores(sessions: Store) -> tuple[UsageLedger, KeyStore]:
    """In the database of the sessions, which opens and closes it."""
    from stores.memory import MemoryStore
    from stores.usage_memory import MemoryKeyStore, MemoryUsageLedger

    if isinstance(sessions, MemoryStore):
        keys = MemoryKeyStore()
        return MemoryUsageLedger(keys), keys
    from stores.sql.keys import SqlKeyStore
    from stores.sql.store import SqlStore
    from stores.sql.usage import SqlUsageLedger

    if not isinstance(sessions, SqlStore):
        raise TypeError(f"no usage ledger goes with {type(sessions).__name__}")
    return SqlUsageLedger(sessions.database), SqlKeyStore(sessions.database)
