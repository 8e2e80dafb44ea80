"""Responses in SQLite or PostgreSQL; conversations are in `conversations.py`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.conversation import JsonObject
from stores.protocols import StoreLimits
from stores.response_store import (
    OPEN,
    ResponseLimits,
    ResponseStore,
    StoredResponse,
    abandoned,
    response_not_found,
    size_of,
)
from stores.sql import conversations
from stores.sql.conversations import SqlConversations
from stores.sql.database import Database, to_its_end
from stores.sql.tables import conversation_items, response_events, response_items, responses
from stores.sql.terms import Terms

FREED: dict[str, Any] = {"lease_token": None, "lease_until": None}


class SqlResponseStore(SqlConversations, ResponseStore):
    """Over a database that a SqlStore has opened and migrated."""

    def __init__(
        self,
        database: Database,
        limits: ResponseLimits,
        *,
        clock: Callable[[], float] | None = None,
    ) -> None:
        lease = StoreLimits(lease_seconds=limits.lease_seconds)
        super().__init__(database, limits, Terms(database.dialect, lease, clock))

    def _there(self, owner: str, id: str) -> ColumnElement[bool]:
        mine = responses.c.owner == owner, responses.c.id == id
        return and_(*mine, self._unexpired(responses.c.expires_at))

    def _held(self, owner: str, id: str, token: str) -> ColumnElement[bool]:
        return and_(self._there(owner, id), responses.c.lease_token == token)

    def _lost(self) -> ColumnElement[bool]:
        return and_(responses.c.status.in_(OPEN), responses.c.lease_until <= self._terms.now())

    @to_its_end
    async def add(self, response: StoredResponse, token: str | None = None) -> None:
        values: dict[str, Any] = {
            "owner": response.owner,
            "id": response.id,
            "previous_id": response.previous_id,
            "conversation_id": response.conversation_id,
            "status": response.status,
            "body": response.body,
            "background": response.background,
            "streamed": response.streamed,
            "expires_at": self._expiry(),
            "lease_token": token,
            "lease_until": null() if token is None else self._terms.lease_until(),
            "bytes": size_of(response.input) + size_of(response.output),
        }
        async with self._database.write() as db:
            made = await db.execute(responses.insert().values(**values).returning(responses.c.key))
            key = made.scalar_one()
            await self._add_items(db, key, response, 0, response.input, is_output=False)
            if token is None:
                await self._complete(db, key, response)

    async def _add_items(
        self,
        db: AsyncConnection,
        key: int,
        response: StoredResponse,
        first: int,
        items: Sequence[JsonObject],
        *,
        is_output: bool,
    ) -> None:
        about = {"response_key": key, "owner": response.owner, "is_output": is_output}
        rows = [
            {**about, "position": position, "id": item["id"], "item": item}
            for position, item in enumerate(items, first)
        ]
        if rows:
            await db.execute(response_items.insert(), rows)

    async def _complete(self, db: AsyncConnection, key: int, response: StoredResponse) -> None:
        first = len(response.input)
        await self._add_items(db, key, response, first, response.output, is_output=True)
        if response.conversation_id is not None and response.status in ("completed", "incomplete"):
            new = [*response.input, *response.output]
            seen, id = response.seen_items, response.conversation_id
            await self._append(db, response.owner, id, new, seen)

    @to_its_end
    async def get(self, owner: str, id: str) -> StoredResponse:
        async with self._database.read() as db:
            return await self._get(db, owner, id)

    async def _get(self, db: AsyncConnection, owner: str, id: str) -> StoredResponse:
        lost = self._lost().label("lost")
        found = await db.execute(select(responses, lost).where(self._there(owner, id)))
        row = found.one_or_none()
        if row is None:
            raise response_not_found(id)
        mine = response_items.c.response_key == row.key
        items = await db.execute(
            select(response_items).where(mine).order_by(response_items.c.position)
        )
        return _response(row, items.all())

    @to_its_end
    async def chain(self, owner: str, id: str) -> list[StoredResponse]:
        async with self._database.write() as db:
            found = [await self._get(db, owner, id)]
            while (before := found[-1].previous_id) is not None:
                found.append(await self._get(db, owner, before))
            if self._limits.ttl_seconds:
                ids = [response.id for response in found]
                used = responses.c.owner == owner, responses.c.id.in_(ids)
                await db.execute(update(responses).where(*used).values(expires_at=self._expiry()))
            return found[::-1]

    @to_its_end
    async def latest(self, owner: str, limit: int) -> list[StoredResponse]:
        mine = responses.c.owner == owner, self._unexpired(responses.c.expires_at)
        query = select(responses, self._lost().label("lost")).where(*mine)
        async with self._database.read() as db:
            newest = query.order_by(responses.c.key.desc()).limit(limit)
            return [_response(row, ()) for row in await db.execute(newest)]

    @to_its_end
    async def items(self, owner: str, ids: Collection[str]) -> dict[str, JsonObject]:
        async with self._database.read() as db:
            found: dict[str, JsonObject] = {}
            for table in (conversation_items, response_items):
                wanted = table.c.owner == owner, table.c.id.in_(ids)
                rows = await db.execute(select(table.c.id, table.c.item).where(*wanted))
                found |= {row.id: row.item for row in rows}
            return found

    @to_its_end
    async def delete(self, owner: str, id: str) -> None:
        statement = delete(responses).where(self._there(owner, id)).returning(responses.c.key)
        async with self._database.write() as db:
            if (await db.execute(statement)).one_or_none() is None:
                raise response_not_found(id)

    @to_its_end
    async def renew(self, owner: str, id: str, token: str) -> bool:
        statement = update(responses).where(self._held(owner, id, token))
        renewed = statement.values(lease_until=self._terms.lease_until())
        async with self._database.write() as db:
            found = await db.execute(renewed.returning(responses.c.key))
            return found.one_or_none() is not None

    @to_its_end
    async def finish(
        self, response: StoredResponse, token: str, first: int = 0, frames: Sequence[str] = ()
    ) -> bool:
        mine = self._held(response.owner, response.id, token)
        size = size_of(response.input) + size_of(response.output)
        values = {"status": response.status, "body": response.body, "bytes": size, **FREED}
        statement = update(responses).where(mine).values(**values).returning(responses.c.key)
        async with self._database.write() as db:
            key = (await db.execute(statement)).scalar_one_or_none()
            if key is None:
                return False
            await _add_events(db, key, first, frames)
            await self._complete(db, key, response)
            return True

    @to_its_end
    async def cancel(self, owner: str, id: str) -> StoredResponse:
        async with self._database.write() as db:
            response = await self._get(db, owner, id)
            if response.status in OPEN:
                body = {**response.body, "status": "cancelled"}
                values = {"status": "cancelled", "body": body, **FREED}
                there = self._there(owner, id)
                await db.execute(update(responses).where(there).values(**values))
            return await self._get(db, owner, id)

    @to_its_end
    async def add_events(
        self, owner: str, id: str, token: str, first: int, frames: Sequence[str]
    ) -> None:
        mine = select(responses.c.key).where(self._held(owner, id, token))
        async with self._database.write() as db:
            key = (await db.execute(mine)).scalar_one_or_none()
            if key is not None:
                await _add_events(db, key, first, frames)

    @to_its_end
    async def events(self, owner: str, id: str, after: int) -> list[str]:
        query = (
            select(response_events.c.frame)
            .join(responses, responses.c.key == response_events.c.response_key)
            .where(self._there(owner, id), response_events.c.number > after)
            .order_by(response_events.c.number)
        )
        async with self._database.read() as db:
            return list((await db.execute(query)).scalars())

    @to_its_end
    async def stored_bytes(self, owner: str) -> int:
        async with self._database.read() as db:
            totals = [
                select(func.coalesce(func.sum(table.c.bytes), 0)).where(table.c.owner == owner)
                for table in (responses, conversation_items)
            ]
            return sum([int((await db.execute(total)).scalar_one()) for total in totals])

    @to_its_end
    async def sweep_responses(self) -> int:
        async with self._database.write() as db:
            lost = select(responses.c.key, responses.c.body).where(self._lost())
            found = (await db.execute(lost.with_for_update(skip_locked=True))).all()
            for row in found:
                values = {"status": "failed", "body": abandoned(row.body), **FREED}
                mine = responses.c.key == row.key
                await db.execute(update(responses).where(mine).values(**values))
            over = responses.c.expires_at <= self._terms.now()
            gone = await db.execute(delete(responses).where(over).returning(responses.c.key))
            count = len(found) + len(gone.all())
            await conversations.delete_expired(db, self._terms)
            return count


async def _add_events(db: AsyncConnection, key: int, first: int, frames: Sequence[str]) -> None:
    rows = [
        {"response_key": key, "number": number, "frame": frame}
        for number, frame in enumerate(frames, first)
    ]
    if rows:
        await db.execute(response_events.insert(), rows)


def _response(row: Any, items: Sequence[Any]) -> StoredResponse:
    return StoredResponse(
        owner=row.owner,
        id=row.id,
        status="failed" if row.lost else row.status,
        body=abandoned(row.body) if row.lost else row.body,
        input=[kept.item for kept in items if not kept.is_output],
        output=[kept.item for kept in items if kept.is_output],
        previous_id=row.previous_id,
        conversation_id=row.conversation_id,
        background=row.background,
        streamed=row.streamed,
    )
