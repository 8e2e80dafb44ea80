"""One whole run: everything is started, measured and ended."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Collection
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.contenders import (
    Commands,
    Contender,
    Contest,
    contest,
    fake_upstream_only,
    server,
    with_peers,
)
from benchmarks.dialects import token_costs
from benchmarks.measure import Bench, MemoryWatch
from benchmarks.pace import paced
from benchmarks.plan import Plan
from benchmarks.results import Results, Soak
from benchmarks.soak import CLIENTS, WARM_UP, Soaker

Say = Callable[[str], None]
PHASES = ("startup", "latency", "load", "streams", "paced", "dialects")


async def compare(
    plan: Plan, say: Say, commands: Commands | None = None, only: Collection[str] = PHASES
) -> Results:
    """This server between the floor and the naive way, beside a peer and what else is named."""
    with TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as scratch:
        chosen = with_peers(commands or {}, Path(scratch))
        async with contest(chosen) as everyone:
            return await compared(everyone, plan, say, only)


async def compared(
    everyone: Contest, plan: Plan, say: Say, only: Collection[str] = PHASES
) -> Results:
    """Those that run already."""
    results = Results(plan=plan.name, machine=machine())
    async with MemoryWatch(everyone.ours) as memory:
        bench = Bench(everyone, plan)
        await bench.warm_up()
        if "startup" in only:
            say("start-up")
            results.startup = await bench.startup()
        if "latency" in only:
            say("first tokens")
            results.latency = await bench.latency()
        if "load" in only:
            say("requests a second")
            results.load = await bench.load()
        if "streams" in only:
            say("long answers")
            results.streams = await bench.streams()
        results.memory = memory.found()
    if "paced" in only:
        say("a real model's pace")
        results.paced = await paced(everyone, plan, say)
    if "dialects" in only:
        say("a token in each dialect")
        results.dialects = await token_costs(everyone.ours, plan)
    results.seconds = round(time.perf_counter() - bench.started_at, 1)
    results.machine["load after (1 min)"] = round(os.getloadavg()[0], 1)
    return results


async def soak(requests: int, say: Say, commands: Commands | None = None) -> Soak:
    """This server alone, for long: so many requests after those that warm it up."""
    say(f"soak of {requests:,} requests")
    async with (
        fake_upstream_only() as (environment, home),
        server("ours", environment, home, (commands or {}).get("ours")) as contender,
    ):
        return await soaked(contender, requests, say)


async def soaked(contender: Contender, requests: int, say: Say, clients: int = CLIENTS) -> Soak:
    """One that runs already."""
    soaker = Soaker(contender, requests, clients, min(WARM_UP, requests))
    found = await soaker.run()
    for failure, count in soaker.failures.most_common(10):
        say(f"  {count} x {failure[:300]}")
    return found


def machine() -> dict[str, str | int | float]:
    """What matters of this machine, and nothing that names it."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "memory GB": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "claude-agent-sdk": version("claude-agent-sdk"),
        "FastAPI": version("fastapi"),
        "uvicorn": version("uvicorn"),
        "load before (1 min)": round(os.getloadavg()[0], 1),
    }
