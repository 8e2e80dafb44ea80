"""What the pool deals with: workers, their places, and leases of them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

LeaseKind = Literal["continue", "reuse", "blank"]
State = Literal["starting", "blank", "idle", "held", "busy", "closing"]


class Worker(Protocol):
    """What the pool asks of a worker."""

    @property
    def alive(self) -> bool: ...

    @property
    def reusable(self) -> bool:
        """Whether it may serve another conversation after this one."""
        ...

    def memory_bytes(self) -> int:
        """Resident memory, 0 where it is unknown."""
        ...

    def describe(self) -> dict[str, Any]:
        """What an operator may see of it: no content."""
        ...

    async def start(self) -> None:
        """Starts it blank; done when it can be used. Raises where it can't be. Bounded."""
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
    starts is not one of them. `max_starting` workers start at once: starting costs CPU.
    """

    max_processes: int = 4
    warm: int = 1
    idle_seconds: float = 600.0
    hold_seconds: float = 300.0
    max_uses: int = 200
    max_age_seconds: float = 3600.0
    max_memory_bytes: int = 500 * 1024 * 1024
    max_starting: int = 2
    queue_size: int = 100
    queue_timeout: float = 30.0


@dataclass(eq=False, slots=True)
class Slot(Generic[P, W]):
    """One worker and what the pool knows of it. `since` is when it came into its state."""

    worker: W
    number: int
    kind: Hashable
    born_at: float
    since: float
    state: State = "starting"
    profile: P | None = None
    fingerprint: Hashable = None
    held: bool = False
    uses: int = 0
    memory_bytes: int = 0


@dataclass(slots=True)
class Lease(Generic[W]):
    """A worker for one turn. `kind` says what it remembers: `continue` the conversation that was
    asked for, `reuse` another one of the same profile, `blank` nothing. `remembered` is its
    fingerprint, to park a worker that was not touched; `leased_at` is of the pool's clock."""

    worker: W
    kind: LeaseKind
    waited_seconds: float
    leased_at: float
    remembered: Hashable = None
    parked: bool = field(default=False, init=False)
    fingerprint: Hashable = field(default=None, init=False)
    held: bool = field(default=False, init=False)

    def park(self, fingerprint: Hashable, *, held: bool = False) -> None:
        """The turn ended cleanly: keep the worker. `held` means it waits for its caller."""
        self.parked, self.fingerprint, self.held = True, fingerprint, held
