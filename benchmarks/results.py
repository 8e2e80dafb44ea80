"""What a run found. Times in ms or seconds as the names say, memory in MB (10^6 bytes)."""

from __future__ import annotations

import dataclasses
import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Served = Literal["ours", "naive"]
Name = Literal["floor", "ours", "naive"]
Scenario = Literal["fresh", "follow_up", "tool", "unseen"]
SCENARIOS: dict[Scenario, str] = {
    "fresh": "Fresh conversation, known profile",
    "follow_up": "Follow-up, history resent",
    "tool": "Tool continuation",
    "unseen": "System prompt never seen",
}
CONTENDERS: dict[Name, str] = {
    "floor": "Fake upstream directly (floor)",
    "ours": "This server",
    "naive": "Naive: `query()` per request",
}


@dataclass(frozen=True, slots=True)
class Latency:
    """First tokens of one scenario at one contender."""

    p50_ms: float
    p95_ms: float
    samples: int

    @classmethod
    def of(cls, seconds: list[float]) -> Latency:
        ranked = sorted(seconds)
        p95 = ranked[min(len(ranked) - 1, round(0.95 * (len(ranked) - 1)))]
        return cls(round(statistics.median(ranked) * 1e3, 2), round(p95 * 1e3, 2), len(ranked))


@dataclass(frozen=True, slots=True)
class Load:
    """A closed loop of clients; medians over the rounds. `cpu_ms` is the contender's processor time
    a request, its CLI processes included; `generator_cpu_ms` is the load generator's own."""

    requests_per_second: float
    first_token_p50_ms: float
    first_token_p95_ms: float
    cpu_ms: float
    generator_cpu_ms: float
    requests: int


@dataclass(frozen=True, slots=True)
class Streams:
    """Parallel long answers: tokens a second of all together, from first token to last."""

    tokens_per_second: float
    tokens_each: int


@dataclass(frozen=True, slots=True)
class Startup:
    """From the start of the process."""

    health_ms: float
    first_answer_ms: float


@dataclass(frozen=True, slots=True)
class Memory:
    """`cli_unique_mb` is what one more CLI process costs; `cli_rss_mb` counts shared pages too."""

    server_start_mb: float
    server_peak_mb: float
    cli_processes: int
    cli_rss_mb: float
    cli_unique_mb: float


@dataclass(frozen=True, slots=True)
class SoakSample:
    requests: int
    seconds: float
    processes: int
    descriptors: int
    server_mb: float


@dataclass(frozen=True, slots=True)
class Soak:
    """`samples` are taken between requests under load; `before` and `after` at rest. The first
    `warm_up` of the requests fill what is bounded."""

    requests: int
    failures: int
    seconds: float
    mix: dict[str, int]
    before: SoakSample
    after: SoakSample
    samples: list[SoakSample]
    warm_up: int = 0

    @property
    def warm_samples(self) -> list[SoakSample]:
        return [sample for sample in self.samples if sample.requests >= self.warm_up]


@dataclass(slots=True)
class Results:
    """Keys of numbers of clients are strings, as JSON has them."""

    plan: str
    machine: dict[str, str | int | float]
    seconds: float = 0.0
    latency: dict[Scenario, dict[Name, Latency]] = field(default_factory=dict)
    load: dict[Name, dict[str, Load]] = field(default_factory=dict)
    streams: dict[Name, dict[str, Streams]] = field(default_factory=dict)
    startup: dict[Name, Startup] = field(default_factory=dict)
    memory: Memory | None = None
    soak: Soak | None = None

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def read_results(path: Path) -> Results | None:
    """The results of an earlier run, or None where there are none."""
    if not path.exists():
        return None
    data = json.loads(path.read_text())
    return Results(
        plan=data["plan"],
        machine=data["machine"],
        seconds=data["seconds"],
        latency={s: {n: Latency(**v) for n, v in by.items()} for s, by in data["latency"].items()},
        load={n: {c: Load(**v) for c, v in by.items()} for n, by in data["load"].items()},
        streams={n: {c: Streams(**v) for c, v in by.items()} for n, by in data["streams"].items()},
        startup={n: Startup(**v) for n, v in data["startup"].items()},
        memory=Memory(**data["memory"]) if data["memory"] else None,
        soak=_soak(data["soak"]) if data["soak"] else None,
    )


def _soak(data: dict[str, Any]) -> Soak:
    points = {name: SoakSample(**data[name]) for name in ("before", "after")}
    samples = [SoakSample(**sample) for sample in data["samples"]]
    return Soak(**{**data, **points, "samples": samples})
