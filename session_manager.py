"""Sessions: which history a turn belongs to, one turn at a time per session, expiry.

A turn takes the session's lease, puts the stored history before what the client sent, runs, and is
written in one transaction before its end is reported: what a client saw finished is stored, and
nothing else is. A lease ends by itself, so a killed server blocks no one for long; it
is checked again in the transaction that writes, so that a turn whose lease was lost changes
nothing.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeAlias

import anyio

from core.context_trim import begins_exchange, run_trimmed
from core.conversation import Message, system_text, text_block
from core.errors import (
    GatewayError,
    InvalidRequest,
    SessionNotFound,
    SessionTooLarge,
    StoreUnavailable,
    WorkspaceUnavailable,
)
from core.events import Event, Finished, Reply
from core.turn import Turn
from sessions.answer import answer_of, events_of, message_of
from sessions.cache import HistoryCache
from sessions.history import History, digest, reconcile
from sessions.locks import Leases, happened
from stores.protocols import CompletedTurn, Lease, Session, SessionStore, StoredMessage
from stores.rows import message_bytes

log = logging.getLogger(__name__)

ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
UNREACHABLE = frozenset({".", "..", "stats"})
"""Names that mean something else in the path of /v1/sessions/…."""

WRITE_SECONDS = 20.0
CHECK_SECONDS = 5.0
CHECKED_SECONDS = 2.0
SWEEP_BATCH = 500
MOST_TRIMMED = 10_000
CACHE_BYTES = 64 * 1024 * 1024
UNCHANGED = "The session keeps its history as it was before this request."

Status = Literal["new", "continued", "rewritten", "expired-restarted", "repeated", "unchanged"]
RunTurn: TypeAlias = Callable[[Turn], AsyncGenerator[Event, None]]
Exists: TypeAlias = Callable[[str, Sequence[str]], Awaitable[Collection[str]]]
"""Which of these ids of an owner's sessions there are."""

Complete: TypeAlias = Callable[[tuple[Message, ...]], tuple[Message, ...]]


class Workspaces(Protocol):
    """The directories in which built-in tools work for a session (tools.py has them)."""

    def held(self, directory: str | None) -> AbstractAsyncContextManager[None]:
        """Keeps the directory from being deleted meanwhile."""
        ...

    async def remember(self, owner: str, session_id: str, directory: str | None) -> None:
        """Keeps what is there before a turn, to compare with."""
        ...

    async def remove(self, owner: str, session_id: str) -> None: ...

    async def sweep(self, exists: Exists) -> None:
        """Deletes the directories of sessions that are gone."""
        ...


def check_id(session_id: str, param: str = "session_id") -> str:
    """The id itself. Raises InvalidRequest."""
    if not ID.fullmatch(session_id) or session_id in UNREACHABLE:
        raise InvalidRequest(
            "A session id is 1 to 128 characters of letters, digits, '.', '_' and '-' "
            f"(and none of {', '.join(sorted(UNREACHABLE))}).",
            param=param,
        )
    return session_id


def requested_id(in_body: str | None, in_header: str | None) -> str | None:
    """The session that a request names, if any. Raises InvalidRequest."""
    named = in_header if in_body is None else in_body
    if in_header is not None and named != in_header:
        raise InvalidRequest("`session_id` and X-Session-Id disagree.", param="session_id")
    return None if named is None else check_id(named)


def new_id() -> str:
    return f"sess_{secrets.token_hex(12)}"


@dataclass(frozen=True, slots=True)
class SessionRules:
    """Bounds, in seconds and bytes."""

    wait_seconds: float = 30.0
    lease_seconds: float = 15.0
    max_bytes: int = 64 * 1024 * 1024
    max_owner_bytes: int = 1024 * 1024 * 1024
    sweep_seconds: float = 60.0


@dataclass(slots=True)
class SessionCall:
    """One request in a session. `turn` holds what the client sent; `complete` checks a whole
    conversation and makes it one that the API takes; `request` names the request, so that one
    whose answer got lost can be repeated. With `trims_context` the oldest messages are left out of
    what the model gets where they do not fit; the session keeps them. `run` replaces the manager's;
    `stored_messages` is how many the turn added in the end."""

    turn: Turn
    session_id: str
    complete: Complete
    request: str | None = None
    trims_context: bool = False
    run: RunTurn | None = None
    status: Status | None = field(default=None, init=False)
    left_out: int = field(default=0, init=False)
    stored_messages: int = field(default=0, init=False)

    def headers(self) -> dict[str, str]:
        """What became of the session, as far as it is known."""
        status = {"x-session-status": self.status} if self.status else {}
        trimmed = {"x-context-trimmed": str(self.left_out)} if self.left_out else {}
        return {"x-session-id": self.session_id, **status, **trimmed}


class SessionManager:
    """Runs turns in sessions. An async context manager: it opens the store and sweeps it, and with
    it the sessions' directories."""

    def __init__(
        self, store: SessionStore, workspaces: Workspaces, run_turn: RunTurn, rules: SessionRules
    ) -> None:
        self.store = store
        self._workspaces = workspaces
        self._run_turn = run_turn
        self._rules = rules
        self._cache = HistoryCache(CACHE_BYTES)
        self._leases = Leases(store, rules.wait_seconds, rules.lease_seconds)
        self._left_out: dict[int, int] = {}
        self._problem: str | None = None
        self._checked_until = 0.0
        self._stopping = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SessionManager:
        await self.store.__aenter__()
        self._sweeper = asyncio.create_task(self._sweep_forever())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stopping.set()
        if self._sweeper is not None:
            await self._sweeper
        await self.store.__aexit__(None, None, None)

    def runner(self, call: SessionCall) -> RunTurn:
        """`run` in the engine's place: the turn is the call's own."""
        return lambda _: self.run(call)

    async def run(self, call: SessionCall) -> AsyncGenerator[Event, None]:
        """The events of the turn, with the session's history before it. Raises a GatewayError;
        whenever it raises or is closed early, the session is as it was before."""
        async with self._leases.hold(call.turn.principal, call.session_id) as lease:
            try:
                if lease.session.expired:
                    await self._workspaces.remove(call.turn.principal, call.session_id)
                async with (
                    self._workspaces.held(_directory(call)),
                    aclosing(self._turn(call, lease)) as events,
                ):
                    async for event in events:
                        yield event
            except GatewayError as error:
                call.status = "unchanged"
                error.add(UNCHANGED, call.headers())
                raise

    async def _turn(self, call: SessionCall, lease: Lease) -> AsyncGenerator[Event, None]:
        stored = await self._stored(lease)
        if answered := _answered(call, stored):
            call.status = "repeated"
            for event in answered:
                yield event
            return
        if _begins_a_turn(call.turn):
            principal, directory = call.turn.principal, _directory(call)
            await self._workspaces.remember(principal, call.session_id, directory)
        history = reconcile([kept.message for kept in stored], call.turn.messages)
        call.status = _status(lease, history)
        added_bytes = self._check_size(lease.session, history)
        await self._check_total(call.turn.principal, added_bytes)
        reply, run = Reply(), call.run or self._run_turn
        turn = _whole_turn(call, lease, history)
        running = self._trimmed(call, lease, turn, run) if call.trims_context else run(turn)
        async with aclosing(running) as events:
            async for event in events:
                reply.feed(event)
                if isinstance(event, Finished):
                    await self._keep(call, lease, stored, history, reply)
                yield event

    def _trimmed(
        self, call: SessionCall, lease: Lease, turn: Turn, run: RunTurn
    ) -> AsyncGenerator[Event, None]:
        """Remembers what was left out, so that the next turn need not find out again."""
        key, count = lease.session.key, len(turn.messages)

        def note(left_out: int) -> None:
            call.left_out = left_out
            self._left_out.pop(key, None)
            if left_out:
                self._left_out[key] = left_out
            if len(self._left_out) > MOST_TRIMMED:
                del self._left_out[next(iter(self._left_out))]

        known = self._left_out.get(key, 0)
        starts = known < count and begins_exchange(turn.messages[known])
        return run_trimmed(run, turn, note, known if starts else 0)

    async def _stored(self, lease: Lease) -> Sequence[StoredMessage]:
        if lease.session.expired or not lease.session.message_count:
            return ()
        known = self._cache.get(lease.session)
        return await self.store.messages(lease.session.key) if known is None else known

    def _check_size(self, session: Session, history: History) -> int:
        """How many bytes the request adds."""
        kept = session.bytes
        if history.rewritten:
            kept = sum(message_bytes(message) for message in history.messages[: history.keep])
        size = kept + sum(message_bytes(message) for message in history.new)
        if size > self._rules.max_bytes:
            raise SessionTooLarge(
                f"The session would hold {size} bytes, at most {self._rules.max_bytes} are "
                "allowed (MAX_SESSION_BYTES): clear it, or go on in a new one.",
                param="session_id",
            )
        return size - session.bytes

    async def _check_total(self, owner: str, added_bytes: int) -> None:
        """Raises SessionTooLarge where all sessions of a key would hold too much."""
        most = self._rules.max_owner_bytes
        if added_bytes > 0 and await self.store.stored_bytes(owner) + added_bytes > most:
            raise SessionTooLarge(
                f"All sessions of this API key would hold more than {most} bytes "
                "(MAX_STORED_BYTES): delete some.",
                param="session_id",
            )

    async def _keep(
        self,
        call: SessionCall,
        lease: Lease,
        stored: Sequence[StoredMessage],
        history: History,
        reply: Reply,
    ) -> None:
        message = message_of(reply)
        if message is None:
            call.status = "unchanged"
            return
        completed = CompletedTurn(
            keep=history.keep,
            messages=(*_with_heard(history.new, reply), message),
            answer=answer_of(reply),
            system=_system(call, lease),
            request=_named(call),
            starts_over=lease.session.expired,
        )
        try:
            with anyio.CancelScope(shield=True), anyio.fail_after(WRITE_SECONDS):
                written = await self.store.write(lease, completed)
        except TimeoutError:
            raise StoreUnavailable("The sessions' database does not answer.") from None
        lease.over = True
        call.stored_messages = len(completed.messages)
        self._cache.put(written, [*stored[: completed.keep], *_as_stored(completed, written)])

    async def check(self) -> str | None:
        """None where a turn could be stored now, else the reason why not. Asks the database every
        two seconds at most."""
        if asyncio.get_running_loop().time() < self._checked_until:
            return self._problem
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self.store.ping()
            self._problem = None
        except StoreUnavailable as error:
            self._problem = error.message
        except TimeoutError:
            self._problem = "The sessions' database does not answer."
        self._checked_until = asyncio.get_running_loop().time() + CHECKED_SECONDS
        return self._problem

    @asynccontextmanager
    async def at_rest(self, owner: str, session_id: str) -> AsyncIterator[Lease]:
        """Meanwhile no turn runs in it. Raises SessionNotFound or SessionBusy."""
        await self.store.get(owner, session_id)
        async with self._leases.hold(owner, session_id) as lease:
            if lease.created or lease.session.expired:
                raise SessionNotFound(f"No such session: {session_id!r}.")
            yield lease

    async def clear(self, owner: str, session_id: str) -> Session:
        """Drops the messages, when no turn runs. Raises SessionNotFound or SessionBusy."""
        async with self.at_rest(owner, session_id) as lease:
            cleared = await self.store.clear(lease)
            lease.over = True
            return cleared

    async def delete(self, owner: str, session_id: str) -> None:
        """Forgets a session and deletes its files; where a turn runs in it, the files are swept
        later. Raises SessionNotFound."""
        await self.store.delete(owner, session_id)
        await self._workspaces.remove(owner, session_id)

    async def _sweep_forever(self) -> None:
        while not await happened(self._stopping, self._rules.sweep_seconds):
            try:
                await self.sweep()
            except (StoreUnavailable, WorkspaceUnavailable) as error:
                log.warning("expired sessions could not be swept: %s", error.message)

    async def sweep(self) -> int:
        """Empties all expired sessions and deletes their files; how many there were."""
        total = 0
        while swept := await self.store.sweep(SWEEP_BATCH):
            total += swept
        await self._workspaces.sweep(self.store.existing)
        return total


def _begins_a_turn(turn: Turn) -> bool:
    """Not one that goes on after an approval or a function's result."""
    return not turn.decisions and all(map(begins_exchange, turn.messages[-1:]))


def _status(lease: Lease, history: History) -> Status:
    if lease.created:
        return "new"
    if lease.session.expired:
        return "expired-restarted"
    return "rewritten" if history.rewritten else "continued"


def _whole_turn(call: SessionCall, lease: Lease, history: History) -> Turn:
    messages = call.complete(history.messages)
    return replace(call.turn, messages=messages, system=_system(call, lease))


def _directory(call: SessionCall) -> str | None:
    return call.turn.builtin_tools.directory if call.turn.builtin_tools else None


def _system(call: SessionCall, lease: Lease) -> str | None:
    """A system prompt in the request replaces the session's."""
    kept = None if lease.session.expired else lease.session.system
    return kept if call.turn.system is None else system_text(call.turn.system)


def _with_heard(new: tuple[Message, ...], reply: Reply) -> tuple[Message, ...]:
    """What the user said while an agent worked belongs to the message that it answers."""
    heard = reply.finished.heard if reply.finished else ()
    last = replace(new[-1], content=(*new[-1].content, *map(text_block, heard)))
    return (*new[:-1], last) if heard else new


def _named(call: SessionCall) -> str | None:
    """The name of the request, with what it asks."""
    if call.request is None:
        return None
    return f"{call.request} {digest(call.turn.messages)}"


def _as_stored(turn: CompletedTurn, written: Session) -> Iterator[StoredMessage]:
    *said, answer = turn.messages
    for message in said:
        yield StoredMessage(replace(message, model=None), written.used_at)
    yield StoredMessage(answer, written.used_at, turn.answer, turn.request)


def _answered(call: SessionCall, stored: Sequence[StoredMessage]) -> list[Event]:
    """The answer to this very request, where it is in the session already. Raises InvalidRequest
    where another one had its name."""
    request = _named(call)
    if request is None:
        return []
    for kept in stored:
        if kept.answer is None or kept.request is None:
            continue
        if kept.request == request:
            return list(events_of(kept.message, kept.answer))
        if kept.request.rpartition(" ")[0] == call.request:
            raise InvalidRequest(
                "This Idempotency-Key was used for another request.", code="idempotency_key_reused"
            )
    return []
