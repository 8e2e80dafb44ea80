"""Where the time to the first token goes: the queue, the process, or the API."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol, TypeVar

from core.events import Event, Started
from core.notes import TurnNotes
from engine.leases import Lease, LeaseKind, Worker


class Asking(Worker, Protocol):
    """A worker that knows when it last turned to the API (`time.monotonic` seconds)."""

    @property
    def asked_at(self) -> float | None: ...


A = TypeVar("A", bound=Asking)


@dataclass(frozen=True, slots=True)
class FirstToken:
    """One turn's way to its first token, in seconds: waiting for a process, what the process did
    before it called the API, and what the API took."""

    kind: LeaseKind
    queue: float
    process: float
    upstream: float


class FirstTokenWatch:
    """Notes, once, when the answer began."""

    def __init__(
        self, lease: Lease[A], recent: deque[FirstToken], notes: TurnNotes | None = None
    ) -> None:
        self._worker: Asking = lease.worker
        self._kind = lease.kind
        self._queue = lease.waited_seconds
        self._leased_at = lease.leased_at
        self._recent: deque[FirstToken] | None = recent
        self._notes = notes

    def feed(self, event: Event) -> None:
        if self._recent is None or isinstance(event, Started):
            return
        asked_at = max(self._leased_at, self._worker.asked_at or 0.0)
        process, upstream = asked_at - self._leased_at, time.monotonic() - asked_at
        self._recent.append(FirstToken(self._kind, self._queue, process, upstream))
        self._recent = None
        if self._notes is not None:
            self._notes.queue_seconds = self._queue
            self._notes.process_seconds = process
            self._notes.upstream_seconds = upstream
