"""How much a run measures. Every phase is bounded in count and in time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts and durations (seconds) of one run.

    `naive_every`: the naive way joins only each n-th latency round, being slow and steady.
    `stream_shape`: parallel streams -> tokens of each. `paced_clients` ask at a real model's pace:
    `paced_warm_up_seconds`, then `paced_seconds` that count; `dialect_clients` ask so in each
    dialect. `budget_seconds` ends the repetitions of every phase before that one early; the first
    of each is always measured.
    """

    name: str
    latency_rounds: int
    naive_every: int
    clients: tuple[int, ...]
    throughput_rounds: int
    window_seconds: float
    naive_window_seconds: float
    stream_shape: tuple[tuple[int, int], ...]
    stream_rounds: int
    startup_rounds: int
    paced_clients: tuple[int, ...]
    paced_rounds: int
    paced_warm_up_seconds: float
    paced_seconds: float
    dialect_clients: int
    dialect_rounds: int
    dialect_seconds: float
    budget_seconds: float


FULL = Plan(
    name="full",
    latency_rounds=40,
    naive_every=2,
    clients=(1, 2, 4, 8, 16),
    throughput_rounds=3,
    window_seconds=2.5,
    naive_window_seconds=3.0,
    stream_shape=((1, 20_000), (16, 2_000)),
    stream_rounds=3,
    startup_rounds=3,
    paced_clients=(4, 16, 32),
    paced_rounds=2,
    paced_warm_up_seconds=10.0,
    paced_seconds=15.0,
    dialect_clients=16,
    dialect_rounds=3,
    dialect_seconds=6.0,
    budget_seconds=300.0,
)
QUICK = Plan(
    name="quick",
    latency_rounds=5,
    naive_every=3,
    clients=(1, 4),
    throughput_rounds=1,
    window_seconds=1.5,
    naive_window_seconds=1.0,
    stream_shape=((1, 20_000), (4, 2_000)),
    stream_rounds=1,
    startup_rounds=1,
    paced_clients=(4,),
    paced_rounds=1,
    paced_warm_up_seconds=2.6,
    paced_seconds=3.0,
    dialect_clients=4,
    dialect_rounds=1,
    dialect_seconds=2.0,
    budget_seconds=25.0,
)
SMOKE = Plan(
    name="smoke",
    latency_rounds=1,
    naive_every=1,
    clients=(1,),
    throughput_rounds=1,
    window_seconds=0.1,
    naive_window_seconds=0.1,
    stream_shape=((1, 50),),
    stream_rounds=1,
    startup_rounds=0,
    paced_clients=(1,),
    paced_rounds=1,
    paced_warm_up_seconds=0.0,
    paced_seconds=0.1,
    dialect_clients=1,
    dialect_rounds=1,
    dialect_seconds=0.1,
    budget_seconds=20.0,
)
