"""A bounded soak: a mix of everything for thousands of requests, and what grows meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from benchmarks import conversations
from benchmarks.client import BenchmarkError, Connection
from benchmarks.contenders import Contender, quiet
from benchmarks.measure import MB, follow_up_now, fresh, tool_now, unseen
from benchmarks.results import Soak, SoakSample

CLIENTS = 8
SAMPLES = 100
LIMIT_SECONDS = 1_500.0
WARM_UP = 2_000
"""So many requests fill what is bounded: the pool's processes and what the SDK keeps for each,
compiled statements, recent first tokens, and what the allocator keeps for the next crowd."""

SERVER_GROWTH_MB = 2.0
DESCRIPTOR_GROWTH = 8

MIX = {"fresh": 60, "follow_up": 20, "tool": 13, "unseen": 2, "leaves": 3, "refused": 2}
"""Of a hundred clients; one that continues a conversation asks twice."""


@dataclass(slots=True)
class Soaker:
    """`warm_up` and then `requests` requests to one contender, by so many clients at once."""

    contender: Contender
    requests: int
    clients: int = CLIENTS
    warm_up: int = 0
    began_at: float = field(default_factory=time.perf_counter)
    done: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    samples: list[SoakSample] = field(default_factory=list)

    async def run(self) -> Soak:
        """Ends early, with what it has, after 25 minutes."""
        await self._at_once(["fresh"] * 2 * self.clients)  # what is only made once is there
        await self._at_once(["tool"] * self.clients)
        await quiet()
        before = self.sample()
        self.began_at = time.perf_counter()
        self.done.clear()
        chooser = random.Random(4)  # the same mix each time
        kinds = (chooser.choices(list(MIX), list(MIX.values()))[0] for _ in itertools.count())
        await asyncio.gather(*[self._client(kinds) for _ in range(self.clients)])
        await quiet()
        after = self.sample()
        return Soak(
            requests=self.done.total(),
            failures=self.failures.total(),
            seconds=round(time.perf_counter() - self.began_at, 1),
            mix=dict(self.done),
            before=before,
            after=after,
            samples=self.samples,
            warm_up=self.warm_up,
        )

    @property
    def _all(self) -> int:
        return self.warm_up + self.requests

    async def _at_once(self, kinds: list[str]) -> None:
        async def one(kind: str) -> None:
            async with self.contender.connection() as connection:
                await self._ask(kind, connection)

        await asyncio.gather(*[one(kind) for kind in kinds])

    async def _client(self, kinds: Iterator[str]) -> None:
        async with self.contender.connection() as connection:
            while self.done.total() < self._all:
                if time.perf_counter() - self.began_at > LIMIT_SECONDS:
                    return
                await self._ask(next(kinds), connection)
                if self.done.total() >= len(self.samples) * self._all / SAMPLES:
                    self.samples.append(self.sample())

    async def _ask(self, kind: str, connection: Connection) -> None:
        try:
            await ACTS[kind](self.contender, connection)
        except (BenchmarkError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.failures[f"{kind}: {error}"] += 1
            connection.close()
        self.done[kind] += 2 if kind in ("follow_up", "tool") else 1

    def sample(self) -> SoakSample:
        return SoakSample(
            requests=self.done.total(),
            seconds=round(time.perf_counter() - self.began_at, 1),
            processes=len(self.contender.cli_processes()),
            descriptors=self.contender.process.num_fds(),
            server_mb=round(self.contender.process.memory_info().rss / MB, 1),
        )


async def _leaves(contender: Contender, connection: Connection) -> None:
    """Is gone in the middle of a long answer."""
    await connection.leave_early(contender.path, conversations.long_answer(5_000))


async def _refused(contender: Contender, connection: Connection) -> None:
    status = await connection.status_of(contender.path, conversations.refused())
    if status != 503:
        raise BenchmarkError(f"an overloaded upstream was answered with {status}")


ACTS: dict[str, Callable[[Contender, Connection], Awaitable[object]]] = {
    "fresh": fresh,
    "follow_up": follow_up_now,
    "tool": tool_now,
    "unseen": unseen,
    "leaves": _leaves,
    "refused": _refused,
}


@dataclass(frozen=True, slots=True)
class Growth:
    """From the first quarter of a soak after its warm-up to the last, in medians."""

    processes: float
    descriptors: float
    server_mb: float

    @property
    def none(self) -> bool:
        few = self.descriptors <= DESCRIPTOR_GROWTH and self.processes <= 1
        return few and self.server_mb <= SERVER_GROWTH_MB


def growth(soak: Soak) -> Growth:
    samples = soak.warm_samples
    quarter = max(1, len(samples) // 4)
    early, late = samples[:quarter], samples[-quarter:]

    def grown(name: str) -> float:
        middle = [
            float(statistics.median(getattr(sample, name) for sample in part))
            for part in (early, late)
        ]
        return round(middle[1] - middle[0], 1)

    return Growth(grown("processes"), grown("descriptors"), grown("server_mb"))
