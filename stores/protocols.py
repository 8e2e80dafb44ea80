"""What stores promise, by concern, and the plain data that goes in and out of them.

A store keeps sessions, their turns and who may write next: each session has a *lease*, a lock that
ends by itself unless it is renewed, so that a killed server locks no one out. All times
are Unix seconds by the store's own clock (the database's, where several servers share one).
`tests/stores/test_session_stores.py` holds every implementation to this module.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from core.conversation import JsonObject, Message
from core.events import StopReason, Usage

FORGET_SECONDS = 30 * 86_400
"""How long an expired session's id is still known to have expired."""

BLOB_GRACE_SECONDS = 3_600
"""A large image that nothing refers to any more is kept this long: a turn may be about to."""


@dataclass(frozen=True, slots=True)
class ToolRules:
    """What an operator set of Claude Code's built-in tools, for the server, a key or a session.
    `allowed` None leaves what holds without it."""

    allowed: tuple[str, ...] | None = None
    disallowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """A session without its messages. `expires_at` None is never; `ttl_seconds` None is the
    server's default. `message_count` and `bytes` are of what is stored; usage and cost of all that
    was ever asked in it, rewritten turns included."""

    key: int
    owner: str
    id: str
    created_at: float
    used_at: float
    expires_at: float | None = None
    ttl_seconds: float | None = None
    system: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    message_count: int = 0
    turn_count: int = 0
    bytes: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    tools: ToolRules | None = None
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """How an assistant's message came about."""

    model: str
    stop_reason: StopReason
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    stop_sequence: str | None = None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it is kept; `answer` where this server's model gave it, to the request that
    `request` names."""

    message: Message
    created_at: float
    answer: Answer | None = None
    request: str | None = None


@dataclass(frozen=True, slots=True)
class NewSession:
    owner: str
    id: str
    system: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    ttl_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class CompletedTurn:
    """What a turn adds: the first `keep` messages stay, the rest is replaced by `messages`, of
    which the last is the answer. `starts_over` starts the session over: nothing of it is kept.
    `request` names the request, so that its repetition is known."""

    keep: int
    messages: Sequence[Message]
    answer: Answer
    system: str | None
    request: str | None = None
    starts_over: bool = False


@dataclass(slots=True)
class Lease:
    """The right to write a session's next turn. `created`: it did not exist before. `over`: its
    holder has used it, which released it."""

    session: Session
    token: str
    created: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class Stats:
    """`messages` and `bytes` are of active sessions; `expired` counts those whose id is still
    known. What was asked by day is the usage ledger's (stores/usage.py)."""

    active: int
    expired: int
    messages: int
    bytes: int


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """`ttl_seconds` 0 is never; `max_sessions` counts a principal's active ones."""

    ttl_seconds: float = 3_600.0
    max_sessions: int = 10_000
    lease_seconds: float = 15.0


class SessionStore(contextlib.AbstractAsyncContextManager["SessionStore"], Protocol):
    """Sessions by owner and id; an owner never sees another's. An async context manager: opening
    it creates or migrates what they are kept in.

    Methods that get `owner` and `id` raise SessionNotFound where there is no such active session,
    unless they say otherwise. Every method is one transaction. StoreUnavailable is raised where
    the database cannot be reached.
    """

    async def create(self, new: NewSession) -> Session:
        """Raises SessionExists or TooManySessions. An expired session of that id is replaced."""
        ...

    async def get(self, owner: str, id: str) -> Session: ...

    async def read(self, owner: str, id: str) -> tuple[Session, list[StoredMessage]]:
        """The session and its messages as of one moment."""
        ...

    async def existing(self, owner: str, ids: Sequence[str]) -> set[str]:
        """Which of these sessions there are; those not yet seen, in their first turn, count."""
        ...

    async def page(self, owner: str, limit: int, after: str | None = None) -> list[Session]:
        """Active sessions, newest first, from behind the session `after`. The system prompt is
        left out. Raises SessionNotFound where `after` is unknown."""
        ...

    async def delete(self, owner: str, id: str) -> None:
        """Also while a turn runs, which then cannot be written. Takes expired ones too."""
        ...

    async def acquire(self, owner: str, id: str, token: str) -> Lease | None:
        """The lease of the session for `token`, or None while another has it: a living one, as far
        as can be known (stores/holders.py).

        A session that does not exist is begun: it is invisible until its first turn is written.
        An expired one is leased with `expired` set and stays as it is until then. Raises
        TooManySessions.
        """
        ...

    async def renew(self, key: int, token: str) -> bool:
        """Restarts the lease's time; False where it was lost."""
        ...

    async def release(self, owner: str, id: str, token: str) -> None:
        """Releases the lease; a session that it began and that got no turn is gone. Does nothing
        where `token` has no lease."""
        ...

    async def messages(self, key: int) -> list[StoredMessage]: ...

    async def write(self, lease: Lease, turn: CompletedTurn) -> Session:
        """Stores the turn, counts it and releases the lease, all or nothing. Raises
        SessionConflict where the lease was lost."""
        ...

    async def clear(self, lease: Lease) -> Session:
        """Drops all messages, keeps the rest, and releases the lease. Raises SessionConflict
        where the lease was lost."""
        ...

    async def fork(self, owner: str, id: str, new: NewSession, keep: int | None) -> Session:
        """A new session with the first `keep` messages (None: all), the system prompt and, where
        `new` has none, the metadata and TTL. Raises SessionExists or TooManySessions."""
        ...

    async def stored_bytes(self, owner: str) -> int:
        """Of all sessions of an owner that were not emptied yet."""
        ...

    async def stats(self, owner: str) -> Stats: ...

    async def sweep(self, limit: int = 500) -> int:
        """Empties up to `limit` expired sessions that no turn is running in, forgets old ones and
        frees what is no longer referenced. The number of sessions emptied; safe to run anywhere,
        any number of times at once."""
        ...

    async def ping(self) -> None:
        """Raises StoreUnavailable where a turn could not be written now: what it writes is gone
        again in the same transaction."""
        ...


class ToolRuleStore(Protocol):
    """What operators set of built-in tools. Raises StoreUnavailable."""

    async def tool_rules(self) -> dict[str, ToolRules]:
        """By owner; those of the empty name are the server's."""
        ...

    async def set_tool_rules(self, owner: str, rules: ToolRules | None) -> None: ...

    async def get(self, owner: str, id: str) -> Session:
        """The session, whose `tools` are its rules. Raises SessionNotFound."""
        ...

    async def set_session_tools(self, owner: str, id: str, rules: ToolRules | None) -> Session:
        """They go with the session; a fork has none. Raises SessionNotFound."""
        ...


class McpServerStore(Protocol):
    """MCP servers that an operator added. Raises StoreUnavailable."""

    async def mcp_servers(self) -> dict[str, JsonObject]:
        """Those that an operator added, by name."""
        ...

    async def add_mcp_server(self, name: str, entry: JsonObject) -> bool:
        """False where there is one of that name."""
        ...

    async def remove_mcp_server(self, name: str) -> bool:
        """False where there is none."""
        ...


class Store(SessionStore, ToolRuleStore, McpServerStore, Protocol):
    """All that one database keeps."""


def content_bytes(content: Sequence[JsonObject]) -> int:
    """What blocks weigh: their text, images and arguments, without JSON around them."""
    return sum(_weight(block) for block in content)


def _weight(value: object) -> int:
    match value:
        case str():
            return len(value.encode(errors="surrogatepass"))
        case dict():
            return sum(len(key) + _weight(item) for key, item in value.items())
        case list() | tuple():
            return sum(_weight(item) for item in value)
        case _:
            return 4
