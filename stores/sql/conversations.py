"""Conversations in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.conversation import JsonObject
from stores.response_store import (
    Conversation,
    ResponseLimits,
    conversation_locked,
    conversation_not_found,
    item_not_found,
    size_of,
)
from stores.sql.database import Database, to_its_end
from stores.sql.tables import conversation_items, conversations
from stores.sql.terms import Terms


class SqlConversations:
    def __init__(self, database: Database, limits: ResponseLimits, terms: Terms) -> None:
        self._database = database
        self._limits = limits
        self._terms = terms

    def _expiry(self) -> ColumnElement[Any]:
        """When what is used now expires; NULL is never."""
        seconds = self._limits.ttl_seconds
        return self._terms.now() + seconds if seconds else null()

    def _unexpired(self, expires_at: ColumnElement[Any]) -> ColumnElement[bool]:
        return or_(expires_at.is_(None), expires_at > self._terms.now())

    def _mine(self, owner: str, id: str) -> ColumnElement[bool]:
        mine = conversations.c.owner == owner, conversations.c.id == id
        return and_(*mine, self._unexpired(conversations.c.expires_at))

    @to_its_end
    async def create_conversation(
        self, owner: str, id: str, metadata: Mapping[str, str], items: Sequence[JsonObject]
    ) -> Conversation:
        values = {
            "owner": owner,
            "id": id,
            "created_at": self._terms.now(),
            "metadata": dict(metadata),
            "expires_at": self._expiry(),
        }
        async with self._database.write() as db:
            await db.execute(conversations.insert().values(**values))
            await self._append(db, owner, id, items)
            return await self._conversation(db, owner, id)

    @to_its_end
    async def conversation(self, owner: str, id: str) -> Conversation:
        async with self._database.read() as db:
            return await self._conversation(db, owner, id)

    async def _conversation(self, db: AsyncConnection, owner: str, id: str) -> Conversation:
        row = (await db.execute(select(conversations).where(self._mine(owner, id)))).one_or_none()
        if row is None:
            raise conversation_not_found(id)
        return Conversation(row.owner, row.id, int(row.created_at), row.metadata)

    @to_its_end
    async def set_metadata(self, owner: str, id: str, metadata: Mapping[str, str]) -> Conversation:
        statement = update(conversations).where(self._mine(owner, id))
        async with self._database.write() as db:
            await db.execute(statement.values(metadata=dict(metadata)))
            return await self._conversation(db, owner, id)

    @to_its_end
    async def delete_conversation(self, owner: str, id: str) -> None:
        statement = delete(conversations).where(self._mine(owner, id))
        async with self._database.write() as db:
            gone = await db.execute(statement.returning(conversations.c.key))
            if gone.one_or_none() is None:
                raise conversation_not_found(id)

    @to_its_end
    async def conversation_items(self, owner: str, id: str) -> list[JsonObject]:
        async with self._database.write() as db:
            key = await self._used(db, owner, id)
            query = select(conversation_items.c.item).order_by(conversation_items.c.key)
            mine = conversation_items.c.conversation_key == key
            return list((await db.execute(query.where(mine))).scalars())

    async def _used(self, db: AsyncConnection, owner: str, id: str) -> int:
        """The conversation's key; its time runs anew."""
        statement = update(conversations).where(self._mine(owner, id))
        used = statement.values(expires_at=self._expiry()).returning(conversations.c.key)
        key: int | None = (await db.execute(used)).scalar_one_or_none()
        if key is None:
            raise conversation_not_found(id)
        return key

    @to_its_end
    async def add_items(self, owner: str, id: str, items: Sequence[JsonObject]) -> None:
        async with self._database.write() as db:
            await self._append(db, owner, id, items)

    async def _append(
        self,
        db: AsyncConnection,
        owner: str,
        id: str,
        items: Sequence[JsonObject],
        seen: int | None = None,
    ) -> None:
        """Raises ConversationLocked where it does not have as many items as were `seen`."""
        key = await self._used(db, owner, id)  # which others wait for until this transaction ends
        if seen is not None:
            count = select(func.count()).where(conversation_items.c.conversation_key == key)
            if (await db.execute(count)).scalar_one() != seen:
                raise conversation_locked(id)
        about = {"conversation_key": key, "owner": owner}
        rows = [{**about, "id": i["id"], "item": i, "bytes": size_of([i])} for i in items]
        if rows:
            await db.execute(conversation_items.insert(), rows)

    @to_its_end
    async def delete_item(self, owner: str, id: str, item_id: str) -> Conversation:
        async with self._database.write() as db:
            key = await self._used(db, owner, id)
            mine = conversation_items.c.conversation_key == key, conversation_items.c.id == item_id
            gone = delete(conversation_items).where(*mine).returning(conversation_items.c.key)
            if not (await db.execute(gone)).all():
                raise item_not_found(item_id)
            return await self._conversation(db, owner, id)


async def delete_expired(db: AsyncConnection, terms: Terms) -> None:
    await db.execute(delete(conversations).where(conversations.c.expires_at <= terms.now()))
