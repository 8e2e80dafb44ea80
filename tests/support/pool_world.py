"""A pool over plain objects, with a clock that stands still: what the pool's own tests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from engine.leases import PoolLimits
from engine.pool import Pool


@dataclass(eq=False)
class Fake:
    """A worker whose start can be held up, and that can die."""

    gate: asyncio.Event
    failure: Exception | None = None
    alive: bool = False
    reusable: bool = True
    has_successor: bool = True
    kind: str | None = None
    closed: int = 0
    size: int = 1000
    served: list[str] = field(default_factory=list)

    def memory_bytes(self) -> int:
        return self.size

    def describe(self) -> dict[str, Any]:
        return {"served": len(self.served)}

    async def start(self) -> None:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.alive = True

    async def close(self) -> None:
        self.alive = False
        self.closed += 1
        for _ in range(5):
            await asyncio.sleep(0)


class World:
    """A pool, its workers and its clock. While `gate` is unset new workers stay starting. Profiles
    in capitals need a worker that was started for them; `a` is the one that most turns have."""

    def __init__(self, **limits: Any) -> None:
        self.now = 0.0
        self.made: list[Fake] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.reusable = True
        self.pool: Pool[str, Fake] = Pool(
            self.make,
            PoolLimits(**{"warm": 0, "queue_timeout": 5, "max_preparing": 100, **limits}),
            common="a",
            kind_of=lambda profile: profile if profile.isupper() else None,
            clock=lambda: self.now,
        )

    def make(self, kind: str | None) -> Fake:
        self.made.append(Fake(self.gate, self.failure, reusable=self.reusable, kind=kind))
        return self.made[-1]

    @property
    def living(self) -> int:
        return sum(fake.alive for fake in self.made)

    async def serve(
        self, profile: str = "a", principal: str = "", *, seconds: float = 0.0
    ) -> tuple[str, Fake]:
        """One clean turn of `seconds`: the lease's kind and worker."""
        async with self.pool.lease(profile, principal) as lease:
            lease.worker.served.append(profile)
            self.now += seconds
            lease.park()
            return lease.kind, lease.worker

    def asks(self, profile: str = "a", principal: str = "") -> asyncio.Task[tuple[str, Fake]]:
        """The same, in the background."""
        return asyncio.create_task(self.serve(profile, principal))

    def states(self) -> dict[str, int]:
        counted = self.pool.snapshot()["states"]
        return {state: count for state, count in counted.items() if count}


@asynccontextmanager
async def world(**limits: Any) -> AsyncIterator[World]:
    """A pool in use. Afterwards all its workers were ended, each once, and nobody waits."""
    made = World(**limits)
    async with made.pool:
        await settle()
        yield made
    assert made.living == 0
    assert all(fake.closed == 1 for fake in made.made)
    assert made.pool.processes == 0
    assert made.pool.queued == 0


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)
