"""The messages of a session in the SQL store: read, cut, added, copied, counted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, delete, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from stores import rows
from stores.protocols import CompletedTurn, Session, StoredMessage
from stores.sql.tables import blobs, message_blobs, messages
from stores.sql.terms import Terms


async def read(db: AsyncConnection, key: int) -> list[StoredMessage]:
    mine = select(messages).where(messages.c.session_key == key).order_by(messages.c.position)
    found = (await db.execute(mine)).all()
    used = (
        select(blobs.c.sha256, blobs.c.data)
        .join(message_blobs, message_blobs.c.sha256 == blobs.c.sha256)
        .where(message_blobs.c.session_key == key)
    )
    data = {row.sha256: row.data for row in await db.execute(used)}
    return [rows.stored_message(row, data) for row in found]


async def weight(db: AsyncConnection, key: int) -> int:
    total = select(func.coalesce(func.sum(messages.c.bytes), 0))
    return int((await db.execute(total.where(messages.c.session_key == key))).scalar_one())


async def cut(db: AsyncConnection, key: int, keep: int) -> int:
    """Drops the messages from position `keep` on; the weight of those that stay."""
    mine = messages.c.session_key == key
    await db.execute(delete(messages).where(mine, messages.c.position >= keep))
    return await weight(db, key)


async def add(
    db: AsyncConnection,
    terms: Terms,
    new: list[dict[str, Any]],
    uses: list[dict[str, Any]],
    data: dict[str, bytes],
    now: float,
) -> None:
    """Stores what `rows.message_rows` made of a turn."""
    for name in sorted(data):  # in one order everywhere, so that no two wait for each other
        await _keep_blob(db, terms, name, data[name])
    await db.execute(messages.insert(), [{**row, "created_at": now} for row in new])
    if uses:
        await db.execute(message_blobs.insert(), uses)


async def _keep_blob(db: AsyncConnection, terms: Terms, name: str, data: bytes) -> None:
    """Touches one that is there already, so that no sweep takes it before it is referred to."""
    values = {"sha256": name, "data": data, "used_at": terms.now()}
    statement = terms.insert(blobs).values(**values)
    touched = {"used_at": statement.excluded.used_at}
    await db.execute(statement.on_conflict_do_update(index_elements=["sha256"], set_=touched))


async def copy(db: AsyncConnection, table: Table, old: int, new: int, count: int) -> None:
    """Copies the rows of the first `count` messages to another session."""
    names = [column.name for column in table.c]
    source = [literal(new) if name == "session_key" else table.c[name] for name in names]
    mine = table.c.session_key == old, table.c.position < count
    await db.execute(table.insert().from_select(names, select(*source).where(*mine)))


def columns_after(
    terms: Terms, session: Session, turn: CompletedTurn, added_bytes: int
) -> dict[str, Any]:
    """The columns of a session that this turn is added to, with nothing cut."""
    before = Session(session.key, session.owner, session.id, 0, 0) if turn.starts_over else session
    usage = before.usage + turn.answer.usage
    values: dict[str, Any] = {
        **{name: getattr(usage, name) for name in rows.USAGE_COLUMNS},
        "used_at": terms.now(),
        "expires_at": terms.expiry(before.ttl_seconds),
        "ttl_seconds": before.ttl_seconds,
        "system": turn.system,
        "metadata": dict(before.metadata),
        "model": turn.answer.model,
        "message_count": turn.keep + len(turn.messages),
        "turn_count": before.turn_count + 1,
        "bytes": before.bytes + added_bytes,
        "cost_usd": before.cost_usd + (turn.answer.cost_usd or 0.0),
        "draft": False,
        "swept": False,
    }
    return values | ({"created_at": terms.now(), "tools": None} if turn.starts_over else {})
