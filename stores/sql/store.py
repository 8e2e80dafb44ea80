"""Sessions in SQLite or PostgreSQL, through SQLAlchemy.

A lease is two columns of the session's row, changed by compare-and-set, so it works across
processes and machines; what it protects is checked again in the transaction that writes a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, delete, false, func, or_, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.conversation import JsonObject
from core.errors import (
    SessionConflict,
    SessionExists,
    SessionNotFound,
    StoreUnavailable,
    TooManySessions,
)
from stores import rows
from stores.holders import is_void
from stores.protocols import (
    CompletedTurn,
    Lease,
    NewSession,
    Session,
    SessionStore,
    Stats,
    StoredMessage,
    StoreLimits,
    ToolRules,
)
from stores.sql import tools, turns, upkeep
from stores.sql.database import Database, to_its_end
from stores.sql.migrate import migrate
from stores.sql.tables import mcp_servers, message_blobs, messages, sessions
from stores.sql.terms import FREED, Terms


class SqlStore(SessionStore):
    """`clock` None is the database's own, which all servers on a PostgreSQL share. `database` is
    what other stores share: it is opened and migrated with this one."""

    def __init__(
        self,
        database: Database,
        limits: StoreLimits,
        *,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.database = database
        self._limits = limits
        self._terms = Terms(database.dialect, limits, clock)

    async def __aenter__(self) -> SqlStore:
        try:
            self.database.make_file()
            await migrate(self.database)
        except StoreUnavailable as error:
            await self.database.dispose()
            raise _cannot_be_opened(error) from None
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.database.dispose()

    @to_its_end
    async def create(self, new: NewSession) -> Session:
        async with self.database.write() as db:
            return await self._create(db, new)

    async def _create(self, db: AsyncConnection, new: NewSession) -> Session:
        over = or_(sessions.c.draft, self._terms.expired())
        theirs = sessions.c.owner == new.owner, sessions.c.id == new.id
        await db.execute(delete(sessions).where(*theirs, over, self._terms.free()))
        made = await self._inserted(db, new)
        if made is None:
            raise SessionExists(f"There is a session {new.id!r} already.", param="id")
        return made

    async def _inserted(self, db: AsyncConnection, new: NewSession, **held: Any) -> Session | None:
        """None where another session has the id."""
        await self._check_room(db, new.owner)
        now = self._terms.now()
        values = {
            "owner": new.owner,
            "id": new.id,
            "created_at": now,
            "used_at": now,
            "expires_at": self._terms.expiry(new.ttl_seconds),
            "ttl_seconds": new.ttl_seconds,
            "system": new.system,
            "metadata": dict(new.metadata),
        }
        statement = self._terms.insert(sessions).values(**values, **held).on_conflict_do_nothing()
        row = (await db.execute(statement.returning(*self._terms.columns()))).one_or_none()
        return None if row is None else rows.session(row)

    async def _check_room(self, db: AsyncConnection, owner: str) -> None:
        if self._terms.is_postgresql:  # one at a time counts and inserts
            lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:owner, 0))")
            await db.execute(lock, {"owner": owner})
        taken = select(func.count()).where(sessions.c.owner == owner, ~self._terms.expired())
        if (await db.execute(taken)).scalar_one() >= self._limits.max_sessions:
            raise TooManySessions(
                f"There are {self._limits.max_sessions} sessions already (MAX_SESSIONS): "
                "delete one first."
            )

    @to_its_end
    async def get(self, owner: str, id: str) -> Session:
        async with self.database.read() as db:
            return await self._get(db, owner, id)

    async def _get(
        self, db: AsyncConnection, owner: str, id: str, *, lock: bool = False
    ) -> Session:
        wanted = self._terms.active(owner), sessions.c.id == id
        query = select(*self._terms.columns()).where(*wanted)
        row = (await db.execute(query.with_for_update() if lock else query)).one_or_none()
        if row is None:
            raise not_found(id)
        return rows.session(row)

    @to_its_end
    async def read(self, owner: str, id: str) -> tuple[Session, list[StoredMessage]]:
        async with self.database.read() as db:
            session = await self._get(db, owner, id)
            return session, await turns.read(db, session.key)

    @to_its_end
    async def existing(self, owner: str, ids: Sequence[str]) -> set[str]:
        is_there = or_(sessions.c.draft, ~self._terms.expired())
        theirs = sessions.c.owner == owner, sessions.c.id.in_(ids), is_there
        async with self.database.read() as db:
            return set((await db.execute(select(sessions.c.id).where(*theirs))).scalars())

    @to_its_end
    async def messages(self, key: int) -> list[StoredMessage]:
        async with self.database.read() as db:
            return await turns.read(db, key)

    @to_its_end
    async def page(self, owner: str, limit: int, after: str | None = None) -> list[Session]:
        place = sessions.c.created_at, sessions.c.key
        columns = [column for column in self._terms.columns() if column.name != "system"]
        query = select(*columns).where(self._terms.active(owner))
        async with self.database.read() as db:
            if after is not None:
                last = await self._get(db, owner, after)
                query = query.where(tuple_(*place) < tuple_(last.created_at, last.key))
            query = query.order_by(*(column.desc() for column in place)).limit(limit)
            return [rows.session(row) for row in await db.execute(query)]

    @to_its_end
    async def delete(self, owner: str, id: str) -> None:
        wanted = sessions.c.owner == owner, sessions.c.id == id, sessions.c.draft == false()
        async with self.database.write() as db:
            gone = await db.execute(delete(sessions).where(*wanted).returning(sessions.c.key))
            if gone.one_or_none() is None:
                raise not_found(id)

    @to_its_end
    async def acquire(self, owner: str, id: str, token: str) -> Lease | None:
        theirs = sessions.c.owner == owner, sessions.c.id == id
        held = {"lease_token": token, "lease_until": self._terms.lease_until()}
        take = update(sessions).where(*theirs, self._terms.free()).values(**held)
        columns = [*self._terms.columns(), sessions.c.draft]
        async with self.database.write() as db:
            row = (await db.execute(take.returning(*columns))).one_or_none()
            if row is None and (void := await self._void_token(db, *theirs)) is not None:
                take = (
                    update(sessions).where(*theirs, sessions.c.lease_token == void).values(**held)
                )
                row = (await db.execute(take.returning(*columns))).one_or_none()
            if row is not None:
                return Lease(rows.session(row), token, created=row._mapping["draft"])
            if (await db.execute(select(sessions.c.key).where(*theirs))).one_or_none():
                return None
            made = await self._inserted(db, NewSession(owner, id), draft=True, **held)
            return None if made is None else Lease(made, token, created=True)

    async def _void_token(self, db: AsyncConnection, *theirs: ColumnElement[bool]) -> str | None:
        """The token of a lease that need not be waited for, if it is such."""
        held = select(
            sessions.c.lease_token, sessions.c.lease_until, self._terms.now().label("now")
        )
        found = (await db.execute(held.where(*theirs))).one_or_none()
        if found is None or found.lease_token is None:
            return None
        is_free = is_void(found.lease_token, found.lease_until, found.now)
        return str(found.lease_token) if is_free else None

    @to_its_end
    async def renew(self, key: int, token: str) -> bool:
        mine = sessions.c.key == key, sessions.c.lease_token == token
        statement = update(sessions).where(*mine).returning(sessions.c.key)
        async with self.database.write() as db:
            renewed = await db.execute(statement.values(lease_until=self._terms.lease_until()))
            return renewed.one_or_none() is not None

    @to_its_end
    async def release(self, owner: str, id: str, token: str) -> None:
        mine = sessions.c.owner == owner, sessions.c.id == id, sessions.c.lease_token == token
        async with self.database.write() as db:
            await db.execute(delete(sessions).where(*mine, sessions.c.draft))
            await db.execute(update(sessions).where(*mine).values(**FREED))

    @to_its_end
    async def write(self, lease: Lease, turn: CompletedTurn) -> Session:
        session = lease.session
        new, uses, data = rows.message_rows(session.key, turn)
        added_bytes = sum(row["bytes"] for row in new)
        values = turns.columns_after(self._terms, session, turn, added_bytes)
        async with self.database.write() as db:
            written = await self._take_back(db, lease, values)
            if turn.keep < session.message_count:
                kept_bytes = await turns.cut(db, session.key, turn.keep)
                written = await self._update(db, session.key, {"bytes": kept_bytes + added_bytes})
            await turns.add(db, self._terms, new, uses, data, written.used_at)
            return written

    async def _take_back(
        self, db: AsyncConnection, lease: Lease, values: dict[str, Any]
    ) -> Session:
        """Changes the leased row, if the lease still holds: no one else has changed it since."""
        mine = sessions.c.key == lease.session.key, sessions.c.lease_token == lease.token
        statement = update(sessions).where(*mine).values(**values, **FREED)
        row = (await db.execute(statement.returning(*self._terms.columns()))).one_or_none()
        if row is None:
            raise SessionConflict("The session was deleted, or another request took it over.")
        return rows.session(row)

    async def _update(self, db: AsyncConnection, key: int, values: dict[str, Any]) -> Session:
        statement = update(sessions).where(sessions.c.key == key).values(**values)
        return rows.session((await db.execute(statement.returning(*self._terms.columns()))).one())

    @to_its_end
    async def clear(self, lease: Lease) -> Session:
        expiry = self._terms.expiry(lease.session.ttl_seconds)
        used = {"used_at": self._terms.now(), "expires_at": expiry}
        async with self.database.write() as db:
            cleared = await self._take_back(db, lease, {"message_count": 0, "bytes": 0, **used})
            await turns.cut(db, cleared.key, 0)
            return cleared

    @to_its_end
    async def fork(self, owner: str, id: str, new: NewSession, keep: int | None) -> Session:
        async with self.database.write() as db:
            source = await self._get(db, owner, id, lock=True)
            ttl = source.ttl_seconds if new.ttl_seconds is None else new.ttl_seconds
            metadata = new.metadata or source.metadata
            made = await self._create(db, NewSession(owner, new.id, source.system, metadata, ttl))
            count = source.message_count if keep is None else min(keep, source.message_count)
            for table in (messages, message_blobs):
                await turns.copy(db, table, source.key, made.key, count)
            weight = await turns.weight(db, made.key)
            values = {"message_count": count, "model": source.model, "bytes": weight}
            return await self._update(db, made.key, values)

    @to_its_end
    async def set_session_tools(self, owner: str, id: str, rules: ToolRules | None) -> Session:
        async with self.database.write() as db:
            session = await self._get(db, owner, id, lock=True)
            return await self._update(db, session.key, {"tools": rules and asdict(rules)})

    @to_its_end
    async def tool_rules(self) -> dict[str, ToolRules]:
        async with self.database.read() as db:
            return await tools.read(db)

    @to_its_end
    async def set_tool_rules(self, owner: str, rules: ToolRules | None) -> None:
        async with self.database.write() as db:
            await tools.write(db, self._terms, owner, rules)

    @to_its_end
    async def mcp_servers(self) -> dict[str, JsonObject]:
        async with self.database.read() as db:
            found = await db.execute(select(mcp_servers).order_by(mcp_servers.c.name))
            return {row.name: row.entry for row in found}

    @to_its_end
    async def add_mcp_server(self, name: str, entry: JsonObject) -> bool:
        new = self._terms.insert(mcp_servers).values(name=name, entry=entry)
        statement = new.on_conflict_do_nothing().returning(mcp_servers.c.name)
        async with self.database.write() as db:
            return (await db.execute(statement)).one_or_none() is not None

    @to_its_end
    async def remove_mcp_server(self, name: str) -> bool:
        gone = delete(mcp_servers).where(mcp_servers.c.name == name).returning(mcp_servers.c.name)
        async with self.database.write() as db:
            return (await db.execute(gone)).one_or_none() is not None

    @to_its_end
    async def stored_bytes(self, owner: str) -> int:
        total = select(func.coalesce(func.sum(sessions.c.bytes), 0))
        async with self.database.read() as db:
            found = await db.execute(total.where(sessions.c.owner == owner))
            return int(found.scalar_one())

    @to_its_end
    async def stats(self, owner: str) -> Stats:
        async with self.database.read() as db:
            return await upkeep.stats(db, self._terms, owner)

    @to_its_end
    async def sweep(self, limit: int = 500) -> int:
        async with self.database.write() as db:
            return await upkeep.sweep(db, self._terms, limit)

    @to_its_end
    async def ping(self) -> None:
        async with self.database.write() as db:
            probe = NewSession("", "probe")
            values = {"owner": probe.owner, "id": probe.id, "metadata": {}, "draft": True}
            times = {"created_at": self._terms.now(), "used_at": self._terms.now()}
            insert = self._terms.insert(sessions).values(**values, **times)
            await db.execute(insert.on_conflict_do_nothing())
            await db.execute(delete(sessions).where(sessions.c.owner == probe.owner))


def _cannot_be_opened(error: StoreUnavailable) -> StoreUnavailable:
    """What an operator reads in the log: the driver's own words, which name no password."""
    cause = getattr(error.__cause__, "orig", None) or error.__cause__
    if cause is None:
        return error
    return StoreUnavailable(f"DATABASE_URL: the sessions' database cannot be opened: {cause}")


def not_found(id: str) -> SessionNotFound:
    return SessionNotFound(f"No such session: {id!r}.")
