"""What a usage ledger promises: a record of every turn, and their sums by hour and day.

A record holds numbers and names, and nothing of a prompt or an answer. Times are Unix seconds by
the clock of the server that answered; days and hours are UTC's.
`tests/stores/test_usage_ledgers.py` holds every implementation to this module.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, Protocol

from core.events import Usage

HOURS_KEPT_SECONDS = 92 * 86_400
"""How long sums by the hour are kept; those by the day are kept for good."""

RUNNING_SECONDS = 10.0
"""How long a server's word on what runs there holds: one that was killed takes it back by this."""

Dimension = Literal["hour", "day", "key", "model", "dialect"]


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One request that asked for a turn, whatever became of it.

    `id` is the request's, `at` when it came, `key` the name of its API key. `model` is the one
    that answered, empty where none did. `status` is the HTTP status; a client that left has 499,
    and a stream that broke the status of its error. `error` is that error's code. Times to the
    first token are None where there was none; the split is of the first answer that began.
    """

    id: str
    at: float
    key: str
    dialect: str
    key_id: str | None = None
    session_id: str | None = None
    response_id: str | None = None
    model_asked: str = ""
    model: str = ""
    stream: bool = False
    answers: int = 1
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    first_token_ms: float | None = None
    queue_ms: float | None = None
    process_ms: float | None = None
    upstream_ms: float | None = None
    duration_ms: float = 0.0
    status: int = 200
    error: str | None = None
    tools: Mapping[str, int] = field(default_factory=dict)
    approvals: Sequence[Mapping[str, str]] = field(default_factory=list)
    """What a person was asked for: `tool`, `decision` (`approved`, `denied` or `expired`), `by`."""

    stored_messages: int = 0
    """How many messages it added to its session; 0 outside of one."""

    @property
    def tokens(self) -> int:
        return self.usage.prompt_tokens + self.usage.output_tokens


@dataclass(slots=True)
class UsageSum:
    """Sums over turns. `first_tokens` is how many turns had a first token."""

    turns: int = 0
    errors: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float = 0.0
    duration_ms: float = 0.0
    first_token_ms: float = 0.0
    first_tokens: int = 0
    messages: int = 0

    @property
    def prompt_tokens(self) -> int:
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens

    def add(self, other: UsageSum) -> None:
        for name in MEASURES:
            setattr(self, name, getattr(self, name) + getattr(other, name))


MEASURES = tuple(measure.name for measure in fields(UsageSum))


@dataclass(frozen=True, slots=True)
class Slot:
    """What sums are kept by. `start` is the hour (`2026-11-20T09`) or the day (`2026-11-20`);
    `stored`: the turns were written to sessions."""

    start: str
    key: str
    dialect: str
    model: str
    stored: bool


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """None is all. `since` and `until` are days, both included."""

    key: str | None = None
    model: str | None = None
    dialect: str | None = None
    since: str | None = None
    until: str | None = None
    stored: bool | None = None


@dataclass(frozen=True, slots=True)
class TurnFilter:
    """Which records to read. `model` is what was asked for or what answered; `status` is one, or a
    class of them by its first digit."""

    key: str | None = None
    model: str | None = None
    dialect: str | None = None
    status: int | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What a key used so far: today, this month, and in the last minute."""

    day: UsageSum = field(default_factory=UsageSum)
    month: UsageSum = field(default_factory=UsageSum)
    minute_tokens: int = 0


Numbered = tuple[int, TurnRecord]
"""A record and its number, which grows."""


class UsageLedger(Protocol):
    """Every method is one transaction. Raises StoreUnavailable."""

    async def write(self, records: Sequence[TurnRecord], running: Mapping[str, int]) -> None:
        """Adds records and their sums, notes each key's last use, and replaces this server's word
        on how many requests of which key run here."""
        ...

    async def usage(
        self, wanted: UsageFilter, by: Sequence[Dimension] = ()
    ) -> list[tuple[tuple[str, ...], UsageSum]]:
        """Sums by these dimensions, in their order; without any, one sum."""
        ...

    async def spent(self, key: str, now: float) -> Spent: ...

    async def running_elsewhere(self, key: str) -> int:
        """Requests of the key that run on other servers, as those said last."""
        ...

    async def recent(
        self, wanted: TurnFilter, limit: int, *, after: int | None = None, before: int | None = None
    ) -> list[Numbered]:
        """The newest records first, with numbers between `after` and `before`, neither included."""
        ...

    async def find(self, id: str) -> Numbered | None:
        """The record of a request."""
        ...

    async def sweep(self, now: float, keep_seconds: float) -> None:
        """Forgets records older than that, and sums by the hour older than HOURS_KEPT_SECONDS."""
        ...


def hour_of(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H")


def day_of(at: float) -> str:
    return hour_of(at)[:10]


def month_of(at: float) -> str:
    """Its first day."""
    return f"{hour_of(at)[:7]}-01"


def summed(records: Iterable[TurnRecord], *, daily: bool) -> dict[Slot, UsageSum]:
    """The sums of these records, in an order that is the same everywhere: servers that add to the
    same sums at once must not wait for each other in a circle."""
    sums: dict[Slot, UsageSum] = {}
    for record in records:
        start = day_of(record.at) if daily else hour_of(record.at)
        stored = record.stored_messages > 0
        slot = Slot(start, record.key, record.dialect, record.model, stored)
        sums.setdefault(slot, UsageSum()).add(as_sum(record))
    return dict(sorted(sums.items(), key=lambda item: str(item[0])))


def as_sum(record: TurnRecord) -> UsageSum:
    usage = record.usage
    return UsageSum(
        turns=1,
        errors=int(record.status >= 400),
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost_usd=record.cost_usd or 0.0,
        duration_ms=record.duration_ms,
        first_token_ms=record.first_token_ms or 0.0,
        first_tokens=int(record.first_token_ms is not None),
        messages=record.stored_messages,
    )


def status_range(status: int) -> tuple[int, int]:
    """The statuses that a filter means: 4 is 400 to 499."""
    return (status * 100, status * 100 + 99) if status < 10 else (status, status)
