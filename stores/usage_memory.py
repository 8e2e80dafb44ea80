"""A usage ledger and a key store in this process's memory."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from stores.keys import KeyStore, StoredKey
from stores.usage import (
    HOURS_KEPT_SECONDS,
    Dimension,
    Numbered,
    Slot,
    Spent,
    TurnFilter,
    TurnRecord,
    UsageFilter,
    UsageLedger,
    UsageSum,
    day_of,
    hour_of,
    month_of,
    status_range,
    summed,
)

MOST_RECORDS = 100_000

Sums = dict[Slot, UsageSum]


class MemoryKeyStore(KeyStore):
    def __init__(self) -> None:
        self._keys: dict[str, StoredKey] = {}
        self._revision = 0

    async def revision(self) -> str:
        return str(self._revision)

    async def all(self) -> Sequence[StoredKey]:
        return [self._keys[name] for name in sorted(self._keys)]

    async def add(self, key: StoredKey) -> bool:
        taken = any(key.sha256 == other.sha256 for other in self._keys.values())
        if taken or key.name in self._keys:
            return False
        self._put(key)
        return True

    async def change(self, key: StoredKey) -> bool:
        before = self._keys.get(key.name)
        if before is None:
            return False
        self._put(
            replace(
                key,
                sha256=before.sha256,
                created_at=before.created_at,
                last_used_at=before.last_used_at,
            )
        )
        return True

    async def remove(self, name: str) -> bool:
        self._revision += 1
        return self._keys.pop(name, None) is not None

    def _put(self, key: StoredKey) -> None:
        self._keys[key.name] = key
        self._revision += 1

    def touch(self, name: str, at: float) -> None:
        if (known := self._keys.get(name)) is not None:
            self._keys[name] = replace(known, last_used_at=max(at, known.last_used_at or 0.0))


class MemoryUsageLedger(UsageLedger):
    """The oldest records are forgotten first; sums stay."""

    def __init__(self, keys: MemoryKeyStore) -> None:
        self._keys = keys
        self._numbers = itertools.count(1)
        self._records: deque[Numbered] = deque(maxlen=MOST_RECORDS)
        self._hours: Sums = {}
        self._days: Sums = {}

    async def write(self, records: Sequence[TurnRecord], running: Mapping[str, int]) -> None:
        self._records.extend(zip(self._numbers, records, strict=False))
        for record in records:
            self._keys.touch(record.key, record.at)
        for sums, daily in ((self._hours, False), (self._days, True)):
            for slot, added in summed(records, daily=daily).items():
                sums.setdefault(slot, UsageSum()).add(added)

    async def usage(
        self, wanted: UsageFilter, by: Sequence[Dimension] = ()
    ) -> list[tuple[tuple[str, ...], UsageSum]]:
        found: OrderedDict[tuple[str, ...], UsageSum] = OrderedDict()
        for slot, added in sorted((self._hours if "hour" in by else self._days).items(), key=str):
            if _fits(slot, wanted):
                found.setdefault(tuple(_value(slot, name) for name in by), UsageSum()).add(added)
        return sorted(found.items(), key=lambda item: item[0]) if by else _one(found.values())

    async def spent(self, key: str, now: float) -> Spent:
        spent = Spent()
        for slot, added in self._days.items():
            if slot.key == key and slot.start >= month_of(now):
                spent.month.add(added)
                if slot.start == day_of(now):
                    spent.day.add(added)
        tokens = sum(r.tokens for _, r in self._records if r.key == key and r.at > now - 60)
        return replace(spent, minute_tokens=tokens)

    async def running_elsewhere(self, key: str) -> int:
        return 0

    async def recent(
        self, wanted: TurnFilter, limit: int, *, after: int | None = None, before: int | None = None
    ) -> list[Numbered]:
        return list(itertools.islice(self._matching(wanted, after, before), limit))

    def _matching(
        self, wanted: TurnFilter, after: int | None, before: int | None
    ) -> Iterator[Numbered]:
        for number, record in reversed(self._records):
            if after is not None and number <= after:
                return
            if (before is None or number < before) and matches(record, wanted):
                yield number, record

    async def find(self, id: str) -> Numbered | None:
        return next((each for each in reversed(self._records) if each[1].id == id), None)

    async def sweep(self, now: float, keep_seconds: float) -> None:
        while self._records and self._records[0][1].at < now - keep_seconds:
            self._records.popleft()
        oldest = hour_of(now - HOURS_KEPT_SECONDS)
        for slot in [slot for slot in self._hours if slot.start < oldest]:
            del self._hours[slot]


def matches(record: TurnRecord, wanted: TurnFilter) -> bool:
    first, last = status_range(wanted.status) if wanted.status is not None else (0, 999)
    return (
        wanted.key in (None, record.key)
        and wanted.model in (None, record.model_asked, record.model)
        and wanted.dialect in (None, record.dialect)
        and wanted.session_id in (None, record.session_id)
        and first <= record.status <= last
    )


def _fits(slot: Slot, wanted: UsageFilter) -> bool:
    day = slot.start[:10]
    return (
        wanted.key in (None, slot.key)
        and wanted.model in (None, slot.model)
        and wanted.dialect in (None, slot.dialect)
        and wanted.stored in (None, slot.stored)
        and (wanted.since is None or day >= wanted.since)
        and (wanted.until is None or day <= wanted.until)
    )


def _value(slot: Slot, name: Dimension) -> str:
    match name:
        case "hour":
            return slot.start
        case "day":
            return slot.start[:10]
        case "key":
            return slot.key
        case "model":
            return slot.model
        case "dialect":
            return slot.dialect


def _one(sums: Iterable[UsageSum]) -> list[tuple[tuple[str, ...], UsageSum]]:
    total = UsageSum()
    for each in sums:
        total.add(each)
    return [((), total)]
