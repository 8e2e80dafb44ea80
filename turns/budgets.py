"""What a key may still use: checked before a turn, out of the ledger.

What is spent is known to FRESH_SECONDS over all servers on one database, and exactly on this one.
So a limit can be exceeded by the turns that run when it is reached, and by what other servers let
in within about a second and a half; nothing that runs is cut.
"""

from __future__ import annotations

import datetime
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from auth import Principal
from core.errors import LimitExceeded, QuotaExceeded
from core.limits import KeyLimits
from stores.usage import Spent, UsageSum, as_sum, day_of
from turns.usage import UsageRecorder

FRESH_SECONDS = 1.0
MINUTE_SECONDS = 60.0
PARALLEL_RETRY_SECONDS = 1.0
MOST_KEYS = 10_000


@dataclass(slots=True)
class _Known:
    """What the ledger said of a key, and when."""

    spent: Spent
    running_elsewhere: int
    at: float
    generation: int


@dataclass(frozen=True, slots=True)
class Window:
    """One limit of a key: `used` of `limit`, which begins anew at `resets_at` (Unix seconds)."""

    name: str
    used: float
    limit: float
    resets_at: float


class Budgets:
    """Refuses turns of keys that have used up what they may. Keys without limits cost nothing."""

    def __init__(self, recorder: UsageRecorder, *, clock: Callable[[], float] = time.time) -> None:
        self._recorder = recorder
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def check(self, principal: Principal) -> None:
        """Raises QuotaExceeded where a day's or month's budget is spent, and LimitExceeded for the
        limits of a minute and of what runs at once. The asking request runs already."""
        limits = principal.limits
        if not limits:
            return
        if limits.parallel_requests is not None:
            self._recorder.tell_others(principal.name)
        known = await self._look_up(principal.name)
        for window in self._windows(principal.name, limits, known):
            if window.used >= window.limit:
                raise self._refusal(principal.name, window)
        running = self._recorder.running[principal.name] + known.running_elsewhere
        if limits.parallel_requests is not None and running > limits.parallel_requests:
            raise LimitExceeded(PARALLEL_RETRY_SECONDS)

    async def windows(self, principal: Principal) -> list[Window]:
        """What the key used of each of its limits."""
        known = await self._look_up(principal.name)
        return self._windows(principal.name, principal.limits, known)

    async def _look_up(self, key: str) -> _Known:
        known = self._known.get(key)
        if known is not None and self._is_fresh(known):
            return known
        async with self._recorder.settled():
            now, ledger = self._clock(), self._recorder.ledger
            spent, running = await ledger.spent(key, now), await ledger.running_elsewhere(key)
            known = _Known(spent, running, now, self._recorder.generation)
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > MOST_KEYS:
            self._known.popitem(last=False)
        return known

    def _is_fresh(self, known: _Known) -> bool:
        age = self._clock() - known.at
        return 0 <= age < FRESH_SECONDS and known.generation == self._recorder.generation

    def _windows(self, key: str, limits: KeyLimits, known: _Known) -> list[Window]:
        now = self._clock()
        extra, lately = UsageSum(), 0
        for record in self._recorder.unwritten(key):
            extra.add(as_sum(record))
            lately += record.tokens
        day, month = known.spent.day, known.spent.month
        tomorrow, next_month = _next_day(now), _next_month(now)
        rows = (
            (
                "tokens_per_minute",
                known.spent.minute_tokens + lately,
                limits.tokens_per_minute,
                now + MINUTE_SECONDS,
            ),
            ("usd_per_day", day.cost_usd + extra.cost_usd, limits.usd_per_day, tomorrow),
            ("usd_per_month", month.cost_usd + extra.cost_usd, limits.usd_per_month, next_month),
            ("tokens_per_day", day.tokens + extra.tokens, limits.tokens_per_day, tomorrow),
            ("tokens_per_month", month.tokens + extra.tokens, limits.tokens_per_month, next_month),
        )
        return [Window(name, used, most, at) for name, used, most, at in rows if most is not None]

    def _refusal(self, key: str, window: Window) -> LimitExceeded | QuotaExceeded:
        seconds = max(1.0, window.resets_at - self._clock())
        if window.name == "tokens_per_minute":
            return LimitExceeded(seconds)
        kind, _, period = window.name.partition("_per_")
        amount = f"${window.limit:g}" if kind == "usd" else f"{window.limit:g} tokens"
        reset = datetime.datetime.fromtimestamp(window.resets_at, datetime.UTC)
        return QuotaExceeded(
            f"The API key {key} has used its {amount} a {period}. "
            f"The budget resets at {reset:%Y-%m-%d %H:%M} UTC.",
            retry_after=seconds,
        )


def _next_day(now: float) -> float:
    today = datetime.datetime.fromisoformat(day_of(now)).replace(tzinfo=datetime.UTC)
    return (today + datetime.timedelta(days=1)).timestamp()


def _next_month(now: float) -> float:
    first = datetime.datetime.fromisoformat(day_of(now)).replace(day=1, tzinfo=datetime.UTC)
    return (first + datetime.timedelta(days=32)).replace(day=1).timestamp()
