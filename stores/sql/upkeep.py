"""The SQL store's statistics, and the sweep that empties expired sessions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import case, delete, exists, false, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from stores.protocols import BLOB_GRACE_SECONDS, FORGET_SECONDS, Stats
from stores.sql.tables import blobs, message_blobs, messages, sessions
from stores.sql.terms import FREED, Terms

EMPTY: dict[str, Any] = {
    "swept": True,
    "system": None,
    "metadata": {},
    "tools": None,
    "message_count": 0,
    "bytes": 0,
    **FREED,
}
"""The columns of a session whose contents are gone. A lease that has run out must not be found
again by a holder that slept: what it knows of the session is over."""


async def stats(db: AsyncConnection, terms: Terms, owner: str) -> Stats:
    active = terms.active(owner)
    counts = select(
        func.coalesce(func.sum(case((active, 1), else_=0)), 0),
        func.coalesce(func.sum(case((terms.expired(), 1), else_=0)), 0),
        func.coalesce(func.sum(case((active, sessions.c.message_count), else_=0)), 0),
        func.coalesce(func.sum(case((active, sessions.c.bytes), else_=0)), 0),
    ).where(sessions.c.owner == owner, sessions.c.draft == false())
    numbers = [int(number) for number in (await db.execute(counts)).one()]
    return Stats(active=numbers[0], expired=numbers[1], messages=numbers[2], bytes=numbers[3])


async def sweep(db: AsyncConnection, terms: Terms, limit: int) -> int:
    """Skips what another server sweeps or writes right now."""
    over = sessions.c.swept == false(), terms.expired(), terms.free(), sessions.c.draft == false()
    due = select(sessions.c.key).where(*over).order_by(sessions.c.expires_at).limit(limit)
    keys = (await db.execute(due.with_for_update(skip_locked=True))).scalars().all()
    if keys:
        await db.execute(delete(messages).where(messages.c.session_key.in_(keys)))
        await db.execute(update(sessions).where(sessions.c.key.in_(keys)).values(**EMPTY))
    await db.execute(delete(sessions).where(sessions.c.draft, terms.free()))
    old = sessions.c.swept, sessions.c.expires_at <= terms.now() - FORGET_SECONDS
    await db.execute(delete(sessions).where(*old))
    used = exists().where(message_blobs.c.sha256 == blobs.c.sha256)
    stale = blobs.c.used_at <= terms.now() - BLOB_GRACE_SECONDS
    await db.execute(delete(blobs).where(stale, ~used))
    return len(keys)
