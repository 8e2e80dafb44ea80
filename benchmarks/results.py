"""What a run found. Times in ms or seconds as the names say, memory in MB (10^6 bytes)."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Name = str
"""Of a contender: one of TITLES, or what the command line calls a further server."""

Scenario = Literal["fresh", "follow_up", "tool", "unseen", "long"]
SCENARIOS: dict[Scenario, str] = {
    "fresh": "Fresh conversation, known system prompt",
    "unseen": "Fresh conversation, system prompt never seen",
    "follow_up": "Follow-up, history resent",
    "tool": "Tool continuation",
    "long": "History of 200 messages, never seen",
}
TITLES: dict[Name, str] = {
    "floor": "Fake upstream directly (floor)",
    "ours": "This server",
    "litellm": "LiteLLM's proxy",
    "naive": "Naive: `query()` per request",
}


def title(name: Name) -> str:
    return TITLES.get(name, name)


def in_order(names: Iterable[Name]) -> list[Name]:
    """Contenders as tables show them: those of TITLES in its order, then the others."""
    known = list(TITLES)
    return sorted(names, key=lambda name: known.index(name) if name in known else len(known))


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
class Paced:
    """A closed loop of clients at a real model's pace, after a warm-up of the same load; medians
    over the rounds. `over_p50_ms` and `over_p95_ms`: the first token over the upstream's own, whose
    p50 is that of the floor with as many clients. `server_cpu_us` and `cli_cpu_us`: microseconds of
    processor time a token, of the server's own process and of all that it started. `memory_mb`: the
    server and its processes, shared pages counted once (proportional set size)."""

    requests_per_second: float
    over_p50_ms: float
    over_p95_ms: float
    whole_p50_ms: float
    server_cpu_us: float
    cli_cpu_us: float
    processes: float
    memory_mb: float
    requests: float

    @property
    def cpu_ms_an_answer(self) -> float:
        """Of a hundred tokens."""
        return (self.server_cpu_us + self.cli_cpu_us) / 10


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
    paced: dict[Name, dict[str, Paced]] = field(default_factory=dict)
    streams: dict[Name, dict[str, Streams]] = field(default_factory=dict)
    dialects: dict[str, float] = field(default_factory=dict)
    """Microseconds of the server's processor time a streamed token."""

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
    tables: dict[str, Callable[..., Any]] = {
        "latency": Latency,
        "load": Load,
        "paced": Paced,
        "streams": Streams,
    }
    return Results(
        plan=data["plan"],
        machine=data["machine"],
        seconds=data["seconds"],
        dialects=data.get("dialects", {}),
        startup={n: Startup(**v) for n, v in data["startup"].items()},
        memory=Memory(**data["memory"]) if data["memory"] else None,
        soak=_soak(data["soak"]) if data["soak"] else None,
        **{
            table: {
                row: {column: make(**value) for column, value in by.items()}
                for row, by in data.get(table, {}).items()
            }
            for table, make in tables.items()
        },
    )


def _soak(data: dict[str, Any]) -> Soak:
    points = {name: SoakSample(**data[name]) for name in ("before", "after")}
    samples = [SoakSample(**sample) for sample in data["samples"]]
    return Soak(**{**data, **points, "samples": samples})
