"""`kill -9` of the server and of its processes at random moments: `python -m benchmarks --kills N`.

Clients talk in sessions all the while, each question under its Idempotency-Key until it is
answered. Afterwards every session must hold just what its client asked and was told, once and in
order; and after each kill nothing of the server may be left.
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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.client import BenchmarkError
from benchmarks.contenders import Contender, fake_upstream_only, free_port, server
from benchmarks.siege import connected

CLIENTS = 6
LEFT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 1.5
MARK_VARIABLE = "CLAUDE_GATEWAY_MARK"
SETTINGS = {"MAX_PROCESSES": "3", "SESSION_TTL_SECONDS": "0", "LOG_LEVEL": "ERROR"}

Say = Callable[[str], None]
Turns = list[tuple[str, str]]


@dataclass(slots=True)
class Kills:
    """`turns` that clients saw, and how the sessions differ from them: `lost`, `doubled`, `half`.
    `left` counts kills after which something was alive or on the disk for five seconds more."""

    servers_killed: int = 0
    processes_killed: int = 0
    turns: int = 0
    lost: int = 0
    doubled: int = 0
    half: int = 0
    left: int = 0
    slowest_end_seconds: float = 0.0
    seconds: float = 0.0
    load_before: float = 0.0
    load_after: float = 0.0

    def as_text(self) -> str:
        return "\n".join(f"{name:20} {value}" for name, value in asdict(self).items())

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def none_wrong(self) -> bool:
        return not (self.lost or self.doubled or self.half or self.left)


async def killed(count: int, say: Say) -> Kills:
    """Every third kill is of the server, the others are of a Claude Code process."""
    async with fake_upstream_only() as (environment, home):
        temporary = home / "t"
        temporary.mkdir()
        chosen = environment | SETTINGS | {"TMPDIR": str(temporary)}
        chosen["WORKSPACE_ROOT"] = str(home / "workspaces")
        return await Killer(chosen, home, temporary, say).run(count)


@dataclass(slots=True)
class Killer:
    environment: dict[str, str]
    home: Path
    temporary: Path
    say: Say
    port: int = field(default_factory=free_port)
    found: Kills = field(default_factory=Kills)
    told: dict[str, Turns] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    random: random.Random = field(default_factory=lambda: random.Random(19))

    async def run(self, count: int) -> Kills:
        self.found.load_before, began_at = os.getloadavg()[0], time.perf_counter()
        talking = [asyncio.create_task(self._talk(f"s{number}")) for number in range(CLIENTS)]
        done = 0
        while done < count:
            async with server("ours", self.environment, self.home, port=self.port) as contender:
                while done < count:
                    await asyncio.sleep(self.random.random() * LONGEST_WAIT_SECONDS)
                    done += 1
                    if self.random.random() < 1 / 3:
                        await self._kill_server(contender)
                        break
                    self._kill_process(contender)
            if done % 25 == 0:
                self.say(f"{done} kills, {sum(map(len, self.told.values()))} turns")
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        async with server("ours", self.environment, self.home, port=self.port):
            for session, turns in self.told.items():
                self._compare(turns, await self._stored(session))
        self.found.seconds = round(time.perf_counter() - began_at, 1)
        self.found.load_after = os.getloadavg()[0]
        return self.found

    def _kill_process(self, contender: Contender) -> None:
        if processes := contender.cli_processes():
            with suppress(psutil.Error):
                self.random.choice(processes).send_signal(signal.SIGKILL)
                self.found.processes_killed += 1

    async def _kill_server(self, contender: Contender) -> None:
        self.names |= {path.name for path in self.temporary.iterdir()}
        contender.process.send_signal(signal.SIGKILL)
        self.found.servers_killed += 1
        began_at = time.perf_counter()
        while self._is_something_left():
            if time.perf_counter() - began_at > LEFT_SECONDS:
                self.found.left += 1
                self.say(f"left: {self._is_something_left()}")
                return
            await asyncio.sleep(0.05)
        seconds = round(time.perf_counter() - began_at, 2)
        self.found.slowest_end_seconds = max(self.found.slowest_end_seconds, seconds)

    def _is_something_left(self) -> str:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                mark = process.environ().get(MARK_VARIABLE, "").partition("/")[0]
                if mark in self.names and process.status() != psutil.STATUS_ZOMBIE:
                    return f"process {process.name()}"
        if left := [path.name for path in self.temporary.glob("claude-*")]:
            return f"directory {left[0]}"
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port)):
            return "the port"
        return ""

    async def _talk(self, session: str) -> None:
        turns = self.told.setdefault(session, [])
        while True:
            question = f"{session} question {len(turns)}"
            answer = await self._answered(session, question)
            if answer is not None:
                turns.append((question, answer))
                self.found.turns += 1

    async def _answered(self, session: str, question: str) -> str | None:
        body = {"messages": [{"role": "user", "content": question}], "session_id": session}
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            async with asyncio.timeout(30):
                status, content = await self._asked("POST", "/v1/chat/completions", body, question)
            if status == 200:
                return str(content["choices"][0]["message"]["content"])
            if status not in (409, 502, 503):
                raise BenchmarkError(f"{status}: {content}")
        await asyncio.sleep(0.1)
        return None

    async def _asked(
        self, method: str, path: str, body: dict[str, Any] | None = None, key: str = ""
    ) -> tuple[int, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", "connection: close"]
        lines += ["content-type: application/json", f"content-length: {len(content)}"]
        lines += [f"idempotency-key: {key}"] if key else []
        async with connected(self.port) as (reader, writer):
            writer.write("\r\n".join([*lines, "", ""]).encode() + content)
            answer = await reader.read()
        head, _, answered = answer.partition(b"\r\n\r\n")
        return int(head[9:12]), json.loads(answered)

    async def _stored(self, session: str) -> Turns:
        status, detail = await self._asked("GET", f"/v1/sessions/{session}")
        if status == 404:
            return []
        messages = detail["messages"]
        asked = [message["content"] for message in messages if message["role"] == "user"]
        told = [message["content"] for message in messages if message["role"] == "assistant"]
        self.found.half += len(asked) != len(told)
        return list(zip(asked, told, strict=False))

    def _compare(self, told: Turns, stored: Turns) -> None:
        """The last one stored may be one whose answer the client never saw."""
        self.found.lost += len([turn for turn in told if turn not in stored])
        questions = Counter(question for question, _ in stored)
        self.found.doubled += sum(count - 1 for count in questions.values())
        if stored[: len(told)] != told:
            self.found.lost += 1
