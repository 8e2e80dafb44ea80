"""What the pool deals with: workers, their places, and leases of them."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

LeaseKind = Literal["reuse", "blank"]
State = Literal["starting", "blank", "idle", "busy", "closing"]


class Worker(Protocol):
    """What the pool asks of a worker."""

    @property
    def alive(self) -> bool: ...

    @property
    def reusable(self) -> bool:
        """Whether it may serve another conversation after this one."""
        ...

    @property
    def has_successor(self) -> bool:
        """Whether another of its kind is to be ready when it ends, for the next turn."""
        ...

    def memory_bytes(self) -> int:
        """Resident memory, 0 where it is unknown."""
        ...

    def describe(self) -> dict[str, Any]:
        """What an operator may see of it: no content."""
        ...

    async def start(self) -> None:
        """Starts it; done when it can be used. Raises where it can't be. Bounded."""
        ...

    async def close(self) -> None:
        """Ends it at once. Bounded, never raises; called once."""
        ...


P = TypeVar("P", bound=Hashable)
W = TypeVar("W", bound=Worker)


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of a pool. Times in seconds, memory in bytes.

    `queue_size` counts those who wait although every place is busy; who waits for a worker that
    starts is not one of them. `max_per_principal` bounds the workers that one principal uses at a
    time; None is three quarters of all where several may come (`principals`) or have come.
    `max_starting` workers start at once, and `max_preparing` turns are between their lease and
    `Lease.asked`: both are what the processor can do at a time.
    """

    max_processes: int = 4
    warm: int = 1
    idle_seconds: float = 600.0
    max_uses: int = 200
    max_age_seconds: float = 3600.0
    max_memory_bytes: int = 400 * 1024 * 1024
    max_starting: int = 2
    max_preparing: int = 3
    max_per_principal: int | None = None
    principals: Callable[[], int] = lambda: 1
    queue_size: int = 100
    queue_timeout: float = 30.0


@dataclass(eq=False, slots=True)
class Slot(Generic[P, W]):
    """One worker and what the pool knows of it. `since` is when it came into its state;
    `principal` whom it serves, or served last."""

    worker: W
    number: int
    kind: Hashable
    born_at: float
    since: float
    state: State = "starting"
    profile: P | None = None
    principal: str = ""
    uses: int = 0
    memory_bytes: int = 0

    def serves(self, waiter: Waiter[P, W]) -> bool:
        """Whether it could, once it is free."""
        if self.state == "blank":
            return self.kind == waiter.kind
        return self.profile == waiter.profile

    def shown(self, now: float) -> dict[str, Any]:
        """For an operator, without its content. Seconds."""
        return {
            "number": self.number,
            "state": self.state,
            "age_seconds": now - self.born_at,
            "in_state_seconds": now - self.since,
            "uses": self.uses,
            "memory_bytes": self.worker.memory_bytes(),
            **self.worker.describe(),
        }


@dataclass(eq=False, slots=True)
class Waiter(Generic[P, W]):
    """A request that waits for a worker."""

    profile: P
    kind: Hashable
    principal: str
    asked_at: float
    found: asyncio.Future[tuple[Slot[P, W], LeaseKind]]


def expected_waits(running_seconds: Iterable[float], typical_seconds: float) -> Iterator[float]:
    """How long the first, the second and each further one in line will wait, in seconds, for turns
    that have run for so long; infinity where there are none. A turn that has run for longer than
    is typical is taken to run as long again."""
    first = sorted(
        typical_seconds - ran if ran < typical_seconds else ran for ran in running_seconds
    )
    if not first:
        yield from itertools.repeat(math.inf)
    for round_number in itertools.count():
        yield from (seconds + round_number * typical_seconds for seconds in first)


@dataclass(eq=False, slots=True)
class Lease(Generic[W]):
    """A worker for one turn. `kind` says whether it served before; `leased_at` is of the pool's
    clock. Ending the lease without `park` ends the worker."""

    worker: W
    kind: LeaseKind
    waited_seconds: float
    leased_at: float
    _asked: Callable[[], None] = field(repr=False)
    _release: Callable[[bool], None] = field(repr=False)
    is_over: bool = False

    def asked(self) -> None:
        """The worker has turned to the API: the next request may be prepared."""
        self._asked()

    def park(self) -> None:
        """The turn came to its end: the worker is free for others at once."""
        self.end(clean=True)

    def end(self, *, clean: bool = False) -> None:
        """Does nothing the second time."""
        if not self.is_over:
            self.is_over = True
            self._release(clean)
