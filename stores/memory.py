"""Sessions in this process's memory: for tests, the demo, and servers that may forget."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from core.conversation import JsonObject
from core.errors import SessionConflict, SessionExists, SessionNotFound, TooManySessions
from stores.holders import is_void
from stores.protocols import (
    FORGET_SECONDS,
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
from stores.rows import message_bytes


@dataclass(slots=True)
class _Kept:
    """A session with its messages and its lease. `draft`: it has not had its first turn."""

    session: Session
    messages: list[StoredMessage] = field(default_factory=list)
    draft: bool = False
    swept: bool = False
    token: str | None = None
    until: float = 0.0


class MemoryStore(SessionStore):
    """No method waits, so each is one transaction."""

    def __init__(self, limits: StoreLimits, *, clock: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._clock = clock
        self._keys = itertools.count(1)
        self._kept: dict[int, _Kept] = {}
        self._by_id: dict[tuple[str, str], _Kept] = {}
        self._tool_rules: dict[str, ToolRules] = {}
        self._mcp_servers: dict[str, JsonObject] = {}

    async def __aenter__(self) -> MemoryStore:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._kept.clear()
        self._by_id.clear()

    def _expired(self, kept: _Kept) -> bool:
        at = kept.session.expires_at
        return not kept.draft and at is not None and at <= self._clock()

    def _free(self, kept: _Kept) -> bool:
        now = self._clock()
        return kept.token is None or kept.until <= now or is_void(kept.token, kept.until, now)

    def _expiry(self, ttl_seconds: float | None) -> float | None:
        seconds = self._limits.ttl_seconds if ttl_seconds is None else ttl_seconds
        return self._clock() + seconds if seconds else None

    def _seen(self, kept: _Kept) -> Session:
        return replace(kept.session, expired=self._expired(kept))

    def _find(self, owner: str, id: str) -> _Kept:
        kept = self._by_id.get((owner, id))
        if kept is None or kept.draft or self._expired(kept):
            raise SessionNotFound(f"No such session: {id!r}.")
        return kept

    def _drop(self, kept: _Kept) -> None:
        self._kept.pop(kept.session.key, None)
        self._by_id.pop((kept.session.owner, kept.session.id), None)

    def _mine(self, lease: Lease) -> _Kept:
        kept = self._kept.get(lease.session.key)
        if kept is None or kept.token != lease.token:
            raise SessionConflict("The session was deleted, or another request took it over.")
        return kept

    def _make(self, new: NewSession) -> _Kept:
        theirs = [kept for kept in self._kept.values() if kept.session.owner == new.owner]
        if sum(not self._expired(kept) for kept in theirs) >= self._limits.max_sessions:
            raise TooManySessions(
                f"There are {self._limits.max_sessions} sessions already (MAX_SESSIONS): "
                "delete one first."
            )
        now = self._clock()
        session = Session(
            key=next(self._keys),
            owner=new.owner,
            id=new.id,
            created_at=now,
            used_at=now,
            expires_at=self._expiry(new.ttl_seconds),
            ttl_seconds=new.ttl_seconds,
            system=new.system,
            metadata=dict(new.metadata),
        )
        kept = self._kept[session.key] = self._by_id[(new.owner, new.id)] = _Kept(session)
        return kept

    async def create(self, new: NewSession) -> Session:
        return self._seen(self._create(new))

    def _create(self, new: NewSession) -> _Kept:
        before = self._by_id.get((new.owner, new.id))
        if before is not None:
            if not (before.draft or self._expired(before)) or not self._free(before):
                raise SessionExists(f"There is a session {new.id!r} already.", param="id")
            self._drop(before)
        return self._make(new)

    async def get(self, owner: str, id: str) -> Session:
        return self._seen(self._find(owner, id))

    async def read(self, owner: str, id: str) -> tuple[Session, list[StoredMessage]]:
        kept = self._find(owner, id)
        return self._seen(kept), list(kept.messages)

    async def existing(self, owner: str, ids: Sequence[str]) -> set[str]:
        found = {id: self._by_id.get((owner, id)) for id in ids}
        return {id for id, kept in found.items() if kept and not self._expired(kept)}

    async def page(self, owner: str, limit: int, after: str | None = None) -> list[Session]:
        active = [
            kept.session
            for kept in self._kept.values()
            if kept.session.owner == owner and not kept.draft and not self._expired(kept)
        ]
        active.sort(key=_place, reverse=True)
        if after is not None:
            last = _place(self._find(owner, after).session)
            active = [session for session in active if _place(session) < last]
        return [replace(session, system=None) for session in active[:limit]]

    async def delete(self, owner: str, id: str) -> None:
        kept = self._by_id.get((owner, id))
        if kept is None or kept.draft:
            raise SessionNotFound(f"No such session: {id!r}.")
        self._drop(kept)

    async def acquire(self, owner: str, id: str, token: str) -> Lease | None:
        kept = self._by_id.get((owner, id))
        if kept is None:
            kept = self._make(NewSession(owner, id))
            kept.draft = True
        elif not self._free(kept):
            return None
        kept.token, kept.until = token, self._clock() + self._limits.lease_seconds
        return Lease(self._seen(kept), token, created=kept.draft)

    async def renew(self, key: int, token: str) -> bool:
        kept = self._kept.get(key)
        if kept is None or kept.token != token:
            return False
        kept.until = self._clock() + self._limits.lease_seconds
        return True

    async def release(self, owner: str, id: str, token: str) -> None:
        kept = self._by_id.get((owner, id))
        if kept is not None and kept.token == token:
            kept.token = None
            if kept.draft:
                self._drop(kept)

    async def messages(self, key: int) -> list[StoredMessage]:
        kept = self._kept.get(key)
        return list(kept.messages) if kept else []

    async def write(self, lease: Lease, turn: CompletedTurn) -> Session:
        kept = self._mine(lease)
        now = self._clock()
        *said, answer = [StoredMessage(message, now) for message in turn.messages]
        reported = replace(answer.message, model=turn.answer.model)
        kept.messages[0 if turn.starts_over else turn.keep :] = [
            *said,
            StoredMessage(reported, now, turn.answer, turn.request),
        ]
        kept.session = self._after(kept, turn, now)
        kept.draft = kept.swept = False
        kept.token = None
        return self._seen(kept)

    def _after(self, kept: _Kept, turn: CompletedTurn, now: float) -> Session:
        session = kept.session
        before = Session(session.key, session.owner, session.id, now, now)
        before = before if turn.starts_over else session
        return replace(
            before,
            used_at=now,
            expires_at=self._expiry(before.ttl_seconds),
            system=turn.system,
            model=turn.answer.model,
            message_count=len(kept.messages),
            turn_count=before.turn_count + 1,
            bytes=_weight(kept.messages),
            usage=before.usage + turn.answer.usage,
            cost_usd=before.cost_usd + (turn.answer.cost_usd or 0.0),
        )

    async def clear(self, lease: Lease) -> Session:
        kept = self._mine(lease)
        kept.messages.clear()
        kept.token = None
        kept.session = replace(
            kept.session,
            used_at=self._clock(),
            expires_at=self._expiry(kept.session.ttl_seconds),
            message_count=0,
            bytes=0,
        )
        return self._seen(kept)

    async def fork(self, owner: str, id: str, new: NewSession, keep: int | None) -> Session:
        source = self._find(owner, id)
        ttl = source.session.ttl_seconds if new.ttl_seconds is None else new.ttl_seconds
        metadata = new.metadata or source.session.metadata
        made = self._create(NewSession(owner, new.id, source.session.system, metadata, ttl))
        made.messages = source.messages[:keep]
        made.session = replace(
            made.session,
            message_count=len(made.messages),
            model=source.session.model,
            bytes=_weight(made.messages),
        )
        return self._seen(made)

    async def set_session_tools(self, owner: str, id: str, rules: ToolRules | None) -> Session:
        kept = self._find(owner, id)
        kept.session = replace(kept.session, tools=rules)
        return self._seen(kept)

    async def tool_rules(self) -> dict[str, ToolRules]:
        return dict(self._tool_rules)

    async def set_tool_rules(self, owner: str, rules: ToolRules | None) -> None:
        self._tool_rules.pop(owner, None)
        if rules is not None:
            self._tool_rules[owner] = rules

    async def mcp_servers(self) -> dict[str, JsonObject]:
        return dict(self._mcp_servers)

    async def add_mcp_server(self, name: str, entry: JsonObject) -> bool:
        return self._mcp_servers.setdefault(name, entry) is entry

    async def remove_mcp_server(self, name: str) -> bool:
        return self._mcp_servers.pop(name, None) is not None

    async def stored_bytes(self, owner: str) -> int:
        theirs = (kept.session for kept in self._kept.values() if kept.session.owner == owner)
        return sum(session.bytes for session in theirs)

    async def stats(self, owner: str) -> Stats:
        theirs = [k for k in self._kept.values() if k.session.owner == owner and not k.draft]
        active = [kept.session for kept in theirs if not self._expired(kept)]
        return Stats(
            active=len(active),
            expired=len(theirs) - len(active),
            messages=sum(session.message_count for session in active),
            bytes=sum(session.bytes for session in active),
        )

    async def sweep(self, limit: int = 500) -> int:
        due = [k for k in self._kept.values() if self._expired(k) and self._free(k) and not k.swept]
        for kept in due[:limit]:
            kept.messages.clear()
            kept.swept, kept.token = True, None
            kept.session = replace(
                kept.session, system=None, metadata={}, tools=None, message_count=0, bytes=0
            )
        for kept in list(self._kept.values()):
            at = kept.session.expires_at
            old = kept.swept and at is not None and at <= self._clock() - FORGET_SECONDS
            if old or (kept.draft and self._free(kept)):
                self._drop(kept)
        return len(due[:limit])

    async def ping(self) -> None:
        pass


def _place(session: Session) -> tuple[float, int]:
    return session.created_at, session.key


def _weight(messages: list[StoredMessage]) -> int:
    return sum(message_bytes(kept.message) for kept in messages)
