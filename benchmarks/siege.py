"""One honest key among all attacks at once: `python -m benchmarks --siege`, five minutes.

Slow readers, slow bodies, large bodies, a flood of one key, idle connections and killed processes,
all by one other key or none. What is measured is what the honest key and `/health` see of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

from benchmarks import conversations
from benchmarks.client import BenchmarkError
from benchmarks.contenders import Contender, fake_upstream_only, server
from benchmarks.measure import MB
from benchmarks.results import Latency

HONEST, HOSTILE = "sk-honest-0123456789", "sk-hostile-0123456789"
SETTINGS = {
    "API_KEYS": f"honest:{HONEST},hostile:{HOSTILE}",
    "MAX_PROCESSES": "8",
    "POOL_WARM": "2",
}
CHAT = "/v1/chat/completions"
LARGE_BYTES = 16 * 1024 * 1024
PAUSE_SECONDS = 0.5
PROBE_SECONDS = 0.05
TRIES = 3
"""As the official clients ask: twice more after a 5xx."""

Say = Callable[[str], None]
Attack = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many of each attacker there are. `paced`: the model answers them at a real model's pace,
    not at once."""

    slow_readers: int = 8
    slow_bodies: int = 8
    large_bodies: int = 4
    flood: int = 40
    idle: int = 600
    killers: int = 1
    paced: bool = False


FEW = Crowd(2, 2, 1, 6, 30, 1)
"""For a test."""


@dataclass(slots=True)
class Siege:
    """What the honest key saw: turns, those asked again after a 5xx, and those lost. Times in ms of
    the first token; `quiet` is before the attacks. `load` is the machine's, over a minute."""

    seconds: float
    quiet: Latency
    honest: Latency
    health: Latency
    health_p99_ms: float
    turns: int
    asked_again: int
    lost: int
    server_mb: float
    attacks: dict[str, int]
    load_before: float
    load_after: float

    @property
    def ratio(self) -> float:
        """The p95 under attack in terms of the quiet one."""
        return round(self.honest.p95_ms / self.quiet.p95_ms, 1)

    def as_text(self) -> str:
        rows = {
            "seconds": f"{self.seconds:g}",
            "load": f"{self.load_before:.1f} before, {self.load_after:.1f} after",
            "honest turns": f"{self.turns}, {self.asked_again} asked again, {self.lost} lost",
            "first token, quiet": _shown(self.quiet),
            "first token, siege": f"{_shown(self.honest)}: p95 {self.ratio} times the quiet one",
            "/health": f"{_shown(self.health)}, p99 {self.health_p99_ms:.0f} ms",
            "server memory": f"{self.server_mb:.0f} MB at most",
            "attacks": str(self.attacks),
        }
        return "\n".join(f"{name:20} {text}" for name, text in rows.items())

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio}


def _shown(latency: Latency) -> str:
    return f"p50 {latency.p50_ms:.0f} ms, p95 {latency.p95_ms:.0f} ms"


async def besieged(seconds: float, say: Say, crowd: Crowd | None = None) -> Siege:
    """A server of its own, before the fake upstream."""
    async with fake_upstream_only() as (environment, home):
        chosen = environment | SETTINGS | {"WORKSPACE_ROOT": str(home / "workspaces")}
        async with server("ours", chosen, home) as contender:
            return await Besieger(contender, crowd or Crowd(), say).run(seconds)


@dataclass(slots=True)
class Besieger:
    contender: Contender
    crowd: Crowd
    say: Say
    attacks: Counter[str] = field(default_factory=Counter)
    first_tokens: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    asked_again: int = 0
    lost: int = 0
    server_mb: float = 0.0
    random: random.Random = field(default_factory=lambda: random.Random(19))

    async def run(self, seconds: float) -> Siege:
        load_before = os.getloadavg()[0]
        quiet_seconds = max(3.0, seconds / 10)
        self.say(f"quiet for {quiet_seconds:g} s")
        await self._watched(quiet_seconds)
        quiet = Latency.of(self.first_tokens)
        self.first_tokens, self.probes = [], []
        self.asked_again = self.lost = 0
        self.say(f"siege for {seconds:g} s: {self.crowd}")
        attackers = [asyncio.create_task(self._forever(attack)) for attack in self._attacks()]
        try:
            await self._watched(seconds)
        finally:
            for attacker in attackers:
                attacker.cancel()
            await asyncio.gather(*attackers, return_exceptions=True)
        ranked = sorted(self.probes)
        return Siege(
            seconds=seconds,
            quiet=quiet,
            honest=Latency.of(self.first_tokens),
            health=Latency.of(self.probes),
            health_p99_ms=round(ranked[int(len(ranked) * 0.99)] * 1e3, 1),
            turns=len(self.first_tokens),
            asked_again=self.asked_again,
            lost=self.lost,
            server_mb=round(self.server_mb, 1),
            attacks=dict(self.attacks),
            load_before=load_before,
            load_after=os.getloadavg()[0],
        )

    async def _watched(self, seconds: float) -> None:
        """The honest key asks, and `/health` is asked beside it."""
        tasks = [asyncio.create_task(each()) for each in (self._honest, self._probe, self._weigh)]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise BenchmarkError(f"the siege itself failed: {result!r}")

    async def _honest(self) -> None:
        while True:
            await self._turn()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _turn(self) -> None:
        for attempt in range(TRIES):
            began_at = time.perf_counter()
            first, status = await self._asked()
            if status == 200 and first is not None:
                self.first_tokens.append(first - began_at)
                return
            self.asked_again += attempt + 1 < TRIES
            await asyncio.sleep(0.5)
        self.lost += 1

    async def _asked(self) -> tuple[float | None, int]:
        """When the first token came, and the status; None where the answer did not end well."""
        sent = post(conversations.fresh(), HONEST)
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(60), connected(self.contender.port) as (reader, writer):
                writer.write(sent)
                head = await reader.readuntil(b"\r\n\r\n")
                body, first = b"", None
                while piece := await reader.read(65536):
                    body += piece
                    if first is None and b'"content":"' in body:
                        first = time.perf_counter()
                return (first if b"[DONE]" in body else None), int(head[9:12])
        return None, 0

    async def _probe(self) -> None:
        """A new connection each time, as a load balancer has it."""
        while True:
            began_at = time.perf_counter()
            with suppress(OSError):
                async with connected(self.contender.port) as (reader, writer):
                    writer.write(b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                    if b" 200 " in await reader.readline():
                        self.probes.append(time.perf_counter() - began_at)
                    else:
                        self.probes.append(60.0)  # refused is as bad as silent
            await asyncio.sleep(PROBE_SECONDS)

    async def _weigh(self) -> None:
        while True:
            self.server_mb = max(self.server_mb, self.contender.process.memory_info().rss / MB)
            await asyncio.sleep(0.25)

    def _attacks(self) -> list[Attack]:
        crowd = self.crowd
        return [
            *[self._slow_reader] * crowd.slow_readers,
            *[self._slow_body] * crowd.slow_bodies,
            *[self._large_body] * crowd.large_bodies,
            *[self._flood] * crowd.flood,
            *[self._idle] * crowd.idle,
            *[self._kill] * crowd.killers,
        ]

    async def _forever(self, attack: Attack) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await attack()
            self.attacks[attack.__name__.strip("_")] += 1
            await asyncio.sleep(0.05 + self.random.random() * 0.1)

    async def _slow_reader(self) -> None:
        async with connected(self.contender.port, receive_bytes=4096) as (_, writer):
            rate = 50 if self.crowd.paced else None
            writer.write(post(conversations.long_answer(20_000, rate), HOSTILE))
            await asyncio.sleep(20)

    async def _slow_body(self) -> None:
        async with connected(self.contender.port) as (_, writer):
            writer.write(post_head(LARGE_BYTES, HOSTILE) + b'{"a": "' + b" " * 200_000)
            for _ in range(20):
                await asyncio.sleep(1)
                writer.write(b" " * 1000)
                await writer.drain()

    async def _large_body(self) -> None:
        """Millions of values, or one text that is as large as it may be."""
        body = self.random.choice(LARGE)
        async with connected(self.contender.port) as (reader, writer):
            writer.write(post_head(len(body), HOSTILE))
            writer.write(body)
            await writer.drain()
            await asyncio.wait_for(reader.readline(), 60)

    async def _flood(self) -> None:
        async with connected(self.contender.port) as (reader, writer):
            asked = conversations.paced if self.crowd.paced else conversations.unseen
            writer.write(post(asked(), HOSTILE))
            while await reader.read(65536):
                pass

    async def _idle(self) -> None:
        """Comes again a while after it had to make way."""
        async with connected(self.contender.port) as (reader, _):
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), 30)
        await asyncio.sleep(5)

    async def _kill(self) -> None:
        await asyncio.sleep(5)
        if processes := self.contender.cli_processes():
            with suppress(psutil.Error):
                self.random.choice(processes).send_signal(signal.SIGKILL)


def _text_part(text: str) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text}]}).encode()


LARGE = (
    _text_part("!demo tokens=1\n" + "x, y " * (LARGE_BYTES // 5 - 100)),
    b'{"metadata": [' + b",".join([b"[]"] * (LARGE_BYTES // 3 - 100)) + b"]}",
    b'{"messages": [' + b",".join([b'{"type":"text","text":"a"}'] * 500_000) + b"]}",
)


def post_head(length: int, key: str) -> bytes:
    return (
        f"POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


def post(body: dict[str, Any], key: str) -> bytes:
    content = json.dumps(body).encode()
    return post_head(len(content), key) + content


@asynccontextmanager
async def connected(
    port: int, receive_bytes: int = 0
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is dropped in the end, whatever came of it."""
    plain = socket.socket()
    if receive_bytes:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    plain.setblocking(False)
    writer: asyncio.StreamWriter | None = None
    try:
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=plain)
        if receive_bytes:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        yield reader, writer
    finally:
        if writer is not None:
            writer.transport.abort()
        plain.close()
