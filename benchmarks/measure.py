"""The measurements. Contenders take turns within each, so that a noisy minute hits all of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import psutil

from benchmarks import conversations
from benchmarks.client import BenchmarkError, Connection, Exchange
from benchmarks.contenders import Contender, Contest, quiet, server
from benchmarks.plan import Plan
from benchmarks.results import Latency, Load, Memory, Name, Scenario, Startup, Streams

MB = 1_000_000
STARTED = ("ours", "naive")
Asked = Callable[[Contender, Connection], Awaitable[Exchange]]


async def fresh(contender: Contender, connection: Connection) -> Exchange:
    return await contender.ask(connection, conversations.fresh())


async def follow_up(contender: Contender, connection: Connection) -> Exchange:
    return await _second_answer(contender, connection, conversations.fresh(), pause=quiet)


async def follow_up_now(contender: Contender, connection: Connection) -> Exchange:
    return await _second_answer(contender, connection, conversations.fresh())


async def tool(contender: Contender, connection: Connection) -> Exchange:
    return await _second_answer(contender, connection, conversations.with_tool(), pause=quiet)


async def tool_now(contender: Contender, connection: Connection) -> Exchange:
    return await _second_answer(contender, connection, conversations.with_tool())


async def unseen(contender: Contender, connection: Connection) -> Exchange:
    return await contender.ask(connection, conversations.unseen())


async def long(contender: Contender, connection: Connection) -> Exchange:
    return await contender.ask(connection, conversations.long_history())


async def _second_answer(
    contender: Contender,
    connection: Connection,
    body: conversations.Body,
    pause: Callable[[], Awaitable[None]] | None = None,
) -> Exchange:
    first = await contender.ask(connection, body)
    if pause is not None:
        await pause()
    return await contender.ask(connection, conversations.continued(body, first))


ASKED: dict[Scenario, Asked] = {
    "fresh": fresh,
    "unseen": unseen,
    "follow_up": follow_up,
    "tool": tool,
    "long": long,
}
NOT_NAIVE = ("tool", "long")
"""The naive way has no tools, and writes a history out as one prompt."""


@dataclass(slots=True)
class Bench:
    """One run. `started_at` and the plan's budget end repetitions early."""

    contest: Contest
    plan: Plan
    started_at: float = field(default_factory=time.perf_counter)

    def over(self, share: float) -> bool:
        """Whether this share of the time budget is spent."""
        return time.perf_counter() - self.started_at > share * self.plan.budget_seconds

    def in_turn(self, round_number: int) -> list[Contender]:
        """The contenders, another one first each time."""
        running = list(self.contest.contenders.values())
        start = round_number % len(running)
        return running[start:] + running[:start]

    async def warm_up(self) -> None:
        """Makes the profiles known, and every code path loaded once."""
        for contender in self.contest.contenders.values():
            async with contender.connection() as connection:
                await fresh(contender, connection)
                if contender.name != "naive":  # which has no tools
                    await tool(contender, connection)
        await quiet()

    async def latency(self) -> dict[Scenario, dict[Name, Latency]]:
        seconds: dict[tuple[Scenario, Name], list[float]] = defaultdict(list)
        async with AsyncExitStack() as stack:
            connections = {
                contender.name: await stack.enter_async_context(contender.connection())
                for contender in self.contest.contenders.values()
            }
            for number in range(self.plan.latency_rounds):
                if number and self.over(0.4):
                    break
                for scenario, contender in self._latency_round(number):
                    await quiet()
                    exchange = await ASKED[scenario](contender, connections[contender.name])
                    seconds[scenario, contender.name].append(exchange.first_token_seconds)
        found: dict[Scenario, dict[Name, Latency]] = {scenario: {} for scenario in ASKED}
        for (scenario, name), values in seconds.items():
            found[scenario][name] = Latency.of(values)
        return found

    def _latency_round(self, number: int) -> list[tuple[Scenario, Contender]]:
        return [
            (scenario, contender)
            for scenario in ASKED
            for contender in self.in_turn(number)
            if contender.name != "naive"
            or (scenario not in NOT_NAIVE and number % self.plan.naive_every == 0)
        ]

    async def load(self) -> dict[Name, dict[str, Load]]:
        windows: dict[tuple[Name, int], list[Load]] = defaultdict(list)
        for number in range(self.plan.throughput_rounds):
            if number and self.over(0.75):
                break
            for clients in self.plan.clients:
                for contender in self.in_turn(number):
                    windows[contender.name, clients].append(await self._window(contender, clients))
        found: dict[Name, dict[str, Load]] = {name: {} for name in self.contest.contenders}
        for (name, clients), each in windows.items():
            found[name][str(clients)] = _median_load(each)
        return found

    async def _window(self, contender: Contender, clients: int) -> Load:
        """So many clients ask fresh conversations, one after the other, until the time is over."""
        naive = contender.name == "naive"
        async with _connections(contender, clients) as connections:
            if not naive:  # its processes, so that their start is not counted here
                await asyncio.gather(*[fresh(contender, one) for one in connections])
            await quiet()
            cpu, own_cpu = contender.cpu_seconds(), time.process_time()
            began_at = time.perf_counter()
            length = self.plan.naive_window_seconds if naive else self.plan.window_seconds
            loops = [_ask_until(began_at + length, contender, one) for one in connections]
            asked = [one for many in await asyncio.gather(*loops) for one in many]
            seconds = time.perf_counter() - began_at
            own_cpu = time.process_time() - own_cpu
            await quiet()  # what a request leaves to do belongs to it
            cpu = contender.cpu_seconds() - cpu
        first = Latency.of([exchange.first_token_seconds for exchange in asked])
        return Load(
            requests_per_second=round(len(asked) / seconds, 2),
            first_token_p50_ms=first.p50_ms,
            first_token_p95_ms=first.p95_ms,
            cpu_ms=round(cpu / len(asked) * 1e3, 2),
            generator_cpu_ms=round(own_cpu / len(asked) * 1e3, 3),
            requests=len(asked),
        )

    async def streams(self) -> dict[Name, dict[str, Streams]]:
        rates: dict[tuple[Name, int], list[float]] = defaultdict(list)
        tokens_of = dict(self.plan.stream_shape)
        for number in range(self.plan.stream_rounds):
            if number and self.over(0.95):
                break
            for clients, tokens in self.plan.stream_shape:
                for contender in self.in_turn(number):
                    rates[contender.name, clients].append(await _stream(contender, clients, tokens))
        found: dict[Name, dict[str, Streams]] = {name: {} for name in self.contest.contenders}
        for (name, clients), each in rates.items():
            found[name][str(clients)] = Streams(
                round(statistics.median(each), 1), tokens_of[clients]
            )
        return found

    async def startup(self) -> dict[Name, Startup]:
        """Fresh servers beside the others, which rest meanwhile."""
        found: dict[Name, Startup] = {}
        times: dict[Name, list[tuple[float, float]]] = defaultdict(list)
        for _ in range(self.plan.startup_rounds):
            for name in STARTED:
                await quiet()
                command = self.contest.command if name == "ours" else None
                async with server(
                    name, self.contest.environment, self.contest.logs, command
                ) as contender:
                    async with contender.connection() as connection:
                        exchange = await fresh(contender, connection)
                    first_token_at = exchange.began_at + exchange.first_token_seconds
                    healthy = contender.healthy_at - contender.began_at
                    times[contender.name].append((healthy, first_token_at - contender.began_at))
        for contender_name, each in times.items():
            health, answer = (statistics.median(column) * 1e3 for column in zip(*each, strict=True))
            found[contender_name] = Startup(round(health), round(answer))
        return found


async def _ask_until(
    deadline: float, contender: Contender, connection: Connection
) -> list[Exchange]:
    """At least one exchange."""
    asked = [await fresh(contender, connection)]
    while time.perf_counter() < deadline:
        asked.append(await fresh(contender, connection))
    return asked


async def _stream(contender: Contender, clients: int, tokens: int) -> float:
    """Tokens a second of all streams together."""
    await quiet()
    async with _connections(contender, clients) as connections:
        body = conversations.long_answer
        asked = [contender.ask(one, body(tokens)) for one in connections]
        exchanges = await asyncio.gather(*asked)
    counts = [exchange.words for exchange in exchanges]
    # The naive way loses the end of an answer now and then, when 16 processes share the machine.
    if contender.name != "naive" and any(count != tokens for count in counts):
        raise BenchmarkError(f"{contender.name}: {sorted(set(counts))} words instead of {tokens}")
    began_at = min(exchange.began_at + exchange.first_token_seconds for exchange in exchanges)
    return sum(counts) / (max(exchange.ended_at for exchange in exchanges) - began_at)


@asynccontextmanager
async def _connections(contender: Contender, clients: int) -> AsyncIterator[list[Connection]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(contender.connection()) for _ in range(clients)]


def _median_load(windows: list[Load]) -> Load:
    def median(name: str) -> float:
        return float(statistics.median(getattr(window, name) for window in windows))

    return Load(
        requests_per_second=median("requests_per_second"),
        first_token_p50_ms=median("first_token_p50_ms"),
        first_token_p95_ms=median("first_token_p95_ms"),
        cpu_ms=median("cpu_ms"),
        generator_cpu_ms=median("generator_cpu_ms"),
        requests=sum(window.requests for window in windows),
    )


@dataclass(slots=True)
class MemoryWatch:
    """The server's memory from its start on, looked at twice a second. Use as `async with`."""

    contender: Contender
    start_bytes: int = 0
    peak_bytes: int = 0
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> MemoryWatch:
        self.start_bytes = self.peak_bytes = self.contender.process.memory_info().rss
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, self.contender.process.memory_info().rss)
            await asyncio.sleep(0.5)

    def found(self) -> Memory:
        """With the CLI processes as they are now."""
        rss, unique = [0], [0]
        for process in self.contender.cli_processes():
            try:
                info = process.memory_full_info()
            except psutil.Error:
                continue
            rss.append(info.rss)
            unique.append(info.uss)
        return Memory(
            server_start_mb=round(self.start_bytes / MB, 1),
            server_peak_mb=round(self.peak_bytes / MB, 1),
            cli_processes=len(rss) - 1,
            cli_rss_mb=round(statistics.median(rss[1:] or rss) / MB, 1),
            cli_unique_mb=round(statistics.median(unique[1:] or unique) / MB, 1),
        )
