"""Load at a real model's pace: half a second to the first token, then 20 ms a token.

Each contender carries the same load for some seconds before it counts, so that processes which it
starts under load are there. Contenders take turns (A B A B).
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from typing import Final

from benchmarks import conversations
from benchmarks.client import BenchmarkError, Connection, Exchange
from benchmarks.contenders import Contender, Contest, quiet
from benchmarks.plan import Plan
from benchmarks.results import Latency, Name, Paced

MB = 1_000_000
TOKENS: Final = 100
LEFT_OUT: Final = ("floor", "naive")
"""The floor is asked apart, once; the naive way does not come through such a load."""

FLOOR_SECONDS: Final = 4.0


@dataclass(slots=True)
class Window:
    """What is counted between two moments of a load."""

    began_at: float
    server_cpu: float
    cli_cpu: float

    @classmethod
    def opened(cls, contender: Contender) -> Window:
        return cls(time.perf_counter(), *contender.cpu_split())

    def closed(self, contender: Contender) -> Window:
        """How long it was, in seconds, and the processor time that was spent in it."""
        now = Window.opened(contender)
        return Window(
            now.began_at - self.began_at,
            now.server_cpu - self.server_cpu,
            now.cli_cpu - self.cli_cpu,
        )


async def paced(
    contest: Contest, plan: Plan, say: Callable[[str], None]
) -> dict[Name, dict[str, Paced]]:
    """All contenders that can carry it, by numbers of clients."""
    windows: dict[tuple[Name, int], list[Paced]] = defaultdict(list)
    running = [each for name, each in contest.contenders.items() if name not in LEFT_OUT]
    for clients in plan.paced_clients:
        floor = await _first_token_of_floor(contest, clients, plan)
        for number in range(plan.paced_rounds):
            for contender in running if number % 2 == 0 else reversed(running):
                say(f"  {clients} clients at {contender.name}")
                window = await _measured(contender, clients, plan, floor)
                windows[contender.name, clients].append(window)
    found: dict[Name, dict[str, Paced]] = defaultdict(dict)
    for (name, clients), each in windows.items():
        found[name][str(clients)] = _median(each)
    return dict(found)


async def _first_token_of_floor(contest: Contest, clients: int, plan: Plan) -> float:
    """The upstream's own time to the first token, in seconds."""
    floor = contest.contenders["floor"]
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(floor.connection()) for _ in range(clients)]
        deadline = time.perf_counter() + min(FLOOR_SECONDS, plan.paced_seconds)
        asked = await asyncio.gather(*[_ask_until(deadline, floor, one) for one in connections])
    return statistics.median(each.first_token_seconds for many in asked for each in many)


async def _measured(contender: Contender, clients: int, plan: Plan, floor: float) -> Paced:
    await quiet()
    async with AsyncExitStack() as stack:
        entering = stack.enter_async_context
        connections = [await entering(contender.connection()) for _ in range(clients)]
        opens_at = time.perf_counter() + plan.paced_warm_up_seconds
        loops = [
            asyncio.create_task(_ask_until(opens_at + plan.paced_seconds, contender, one))
            for one in connections
        ]
        try:
            await asyncio.sleep(plan.paced_warm_up_seconds)
            window = Window.opened(contender)
            await asyncio.sleep(plan.paced_seconds)
            spent = window.closed(contender)
            processes = len(contender.cli_processes())
            asked = [each for many in await asyncio.gather(*loops) for each in many]
            memory = contender.memory_bytes() / MB
        finally:
            for loop in loops:
                loop.cancel()
    return _found(asked, window, spent, floor, processes, memory)


def _found(
    asked: list[Exchange],
    window: Window,
    spent: Window,
    floor: float,
    processes: int,
    memory: float,
) -> Paced:
    ended = [each for each in asked if each.ended_at >= window.began_at]
    counts = {each.words for each in ended}
    if counts != {TOKENS}:
        raise BenchmarkError(f"{sorted(counts)} words instead of {TOKENS}")
    inside = [each for each in ended if each.ended_at <= window.began_at + spent.began_at]
    answers = max(1, len(inside))
    over = Latency.of([each.first_token_seconds - floor for each in ended])
    tokens = answers * TOKENS
    return Paced(
        requests_per_second=round(len(inside) / spent.began_at, 2),
        over_p50_ms=over.p50_ms,
        over_p95_ms=over.p95_ms,
        whole_p50_ms=round(statistics.median(e.ended_at - e.began_at for e in ended) * 1e3, 1),
        server_cpu_us=round(spent.server_cpu / tokens * 1e6, 1),
        cli_cpu_us=round(spent.cli_cpu / tokens * 1e6, 1),
        processes=processes,
        memory_mb=round(memory, 1),
        requests=len(ended),
    )


async def _ask_until(
    deadline: float, contender: Contender, connection: Connection
) -> list[Exchange]:
    """At least one exchange."""
    asked: list[Exchange] = []
    while not asked or time.perf_counter() < deadline:
        asked.append(await contender.ask(connection, conversations.paced()))
    return asked


def _median(windows: list[Paced]) -> Paced:
    return Paced(
        **{
            field.name: round(statistics.median(getattr(each, field.name) for each in windows), 2)
            for field in fields(Paced)
        }
    )
