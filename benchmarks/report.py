"""Results -> the verdicts, what is told on the terminal, and the tables of docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import CONTENDERS, SCENARIOS, Name, Results, Scenario
from benchmarks.soak import growth

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

Table = list[list[str]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise: what was found beside what was promised. `kept` None is not measured."""

    promise: str
    found: str
    kept: bool | None

    @property
    def word(self) -> str:
        return {True: "PASS", False: "FAIL", None: "not measured"}[self.kept]


def verdicts(results: Results) -> list[Verdict]:
    return [
        _fraction(results, "fresh", "Fresh conversation: p50 at most 1/10 of naive", 10),
        _over_floor(results, "fresh", "Fresh conversation", 30),
        _over_floor(results, "follow_up", "Follow-up", 25),
        _over_floor(results, "tool", "Tool continuation", 30),
        _fraction(results, "unseen", "Unseen system prompt: p50 at most 1/2 of naive", 2),
        *_load_verdicts(results),
        _stream_verdict(results),
        _memory_verdict(results),
        _soak_verdict(results),
    ]


def p50(results: Results, scenario: Scenario, name: Name) -> float | None:
    found = results.latency.get(scenario, {}).get(name)
    return found.p50_ms if found else None


def _fraction(results: Results, scenario: Scenario, promise: str, parts: float) -> Verdict:
    ours, naive = p50(results, scenario, "ours"), p50(results, scenario, "naive")
    if ours is None or naive is None:
        return Verdict(promise, "", None)
    return Verdict(promise, f"1/{naive / ours:.1f} ({ours:.1f} ms)", naive >= parts * ours)


def _over_floor(results: Results, scenario: Scenario, what: str, limit_ms: float) -> Verdict:
    promise = f"{what}: p50 at most {limit_ms:.0f} ms over the floor"
    ours, floor = p50(results, scenario, "ours"), p50(results, scenario, "floor")
    if ours is None or floor is None:
        return Verdict(promise, "", None)
    return Verdict(promise, f"{ours - floor:.1f} ms over", ours - floor <= limit_ms)


def _load_verdicts(results: Results) -> list[Verdict]:
    promises = ("4 clients: 30 requests/s or more", "4 clients: at least 10 times naive")
    loads = [results.load.get(name, {}).get("4") for name in ("ours", "naive")]
    if loads[0] is None or loads[1] is None:
        return [Verdict(promise, "", None) for promise in promises]
    ours, naive = loads[0].requests_per_second, loads[1].requests_per_second
    return [
        Verdict(promises[0], f"{ours:.1f}/s", ours >= 30),
        Verdict(promises[1], f"{ours / naive:.1f} times", ours >= 10 * naive),
    ]


def _stream_verdict(results: Results) -> Verdict:
    promise = "One stream carries at least 5,000 deltas/s"
    found = results.streams.get("ours", {}).get("1")
    if found is None:
        return Verdict(promise, "", None)
    return Verdict(promise, f"{found.tokens_per_second:,.0f}/s", found.tokens_per_second >= 5_000)


def _memory_verdict(results: Results) -> Verdict:
    promise = "The server itself stays under 150 MB"
    if results.memory is None:
        return Verdict(promise, "", None)
    peaks = [results.memory.server_peak_mb]
    peaks += [sample.server_mb for sample in results.soak.samples] if results.soak else []
    return Verdict(promise, f"{max(peaks):.0f} MB at most", max(peaks) < 150)


def _soak_verdict(results: Results) -> Verdict:
    promise = "5,000 mixed requests after a warm-up: no growth, no failure"
    soak = results.soak
    if soak is None:
        return Verdict(promise, "", None)
    grown, asked = growth(soak), soak.requests - soak.warm_up
    found = (
        f"{asked:,} requests after {soak.warm_up:,}, {soak.failures} failures; "
        f"{grown.processes:+.0f} processes, {grown.descriptors:+.0f} descriptors, "
        f"{grown.server_mb:+.1f} MB"
    )
    if soak.failures or not grown.none:
        return Verdict(promise, found, False)
    return Verdict(promise, found, True if asked >= 5_000 else None)


def tables(results: Results) -> list[tuple[str, Table]]:
    """Title and rows (the first is the head) of everything that was measured."""
    found = [
        ("First token, p50 / p95 in ms", _latency_table(results)),
        ("Fresh conversations under load, requests/s", _load_table(results)),
        ("One client's share of the machine, processor ms a request", _cpu_table(results)),
        ("Long answers, tokens/s of all streams together", _stream_table(results)),
        ("Start-up and memory", _resources_table(results)),
        ("Soak", _soak_table(results)),
        ("Promises", _verdict_table(results)),
    ]
    return [(title, rows) for title, rows in found if len(rows) > 1]


def _latency_table(results: Results) -> Table:
    rows = [["", *CONTENDERS.values(), "over the floor", "of the naive way"]]
    for scenario, title in SCENARIOS.items():
        by = results.latency.get(scenario)
        if by is None or "ours" not in by:
            continue
        cells = [f"{by[n].p50_ms:.1f} / {by[n].p95_ms:.1f}" if n in by else "" for n in CONTENDERS]
        over = f"{by['ours'].p50_ms - by['floor'].p50_ms:+.1f} ms"
        part = f"1/{by['naive'].p50_ms / by['ours'].p50_ms:.1f}" if "naive" in by else ""
        rows.append([title, *cells, over, part])
    return rows


def _load_table(results: Results) -> Table:
    rows = [["clients", *CONTENDERS.values(), "times the naive way", "p50 / p95 of ours, ms"]]
    for clients, ours in results.load.get("ours", {}).items():
        rates = [results.load[name][clients].requests_per_second for name in CONTENDERS]
        times = f"{ours.requests_per_second / rates[-1]:.1f}"
        first = f"{ours.first_token_p50_ms:.0f} / {ours.first_token_p95_ms:.0f}"
        rows.append([clients, *[f"{rate:.1f}" for rate in rates], times, first])
    return rows


def _cpu_table(results: Results) -> Table:
    rows = [["clients", *CONTENDERS.values(), "load generator"]]
    for clients, ours in results.load.get("ours", {}).items():
        spent = [f"{results.load[name][clients].cpu_ms:.1f}" for name in CONTENDERS]
        rows.append([clients, *spent, f"{ours.generator_cpu_ms:.2f}"])
    return rows


def _stream_table(results: Results) -> Table:
    rows = [["streams", "tokens each", *CONTENDERS.values()]]
    for streams, ours in results.streams.get("ours", {}).items():
        rates = [results.streams[name][streams].tokens_per_second for name in CONTENDERS]
        rows.append([streams, f"{ours.tokens_each:,}", *[f"{rate:,.0f}" for rate in rates]])
    return rows


def _resources_table(results: Results) -> Table:
    rows = [["", "found"]]
    for name, startup in results.startup.items():
        rows.append([f"{CONTENDERS[name]}: start to `/health`", f"{startup.health_ms:,.0f} ms"])
        rows.append(
            [f"{CONTENDERS[name]}: start to first token", f"{startup.first_answer_ms:,.0f} ms"]
        )
    if memory := results.memory:
        rows += [
            ["Server, at its start", f"{memory.server_start_mb:.0f} MB"],
            ["Server, at most", f"{memory.server_peak_mb:.0f} MB"],
            ["CLI processes at the end", str(memory.cli_processes)],
            ["CLI process, resident (median)", f"{memory.cli_rss_mb:.0f} MB"],
            ["CLI process, its own pages (median)", f"{memory.cli_unique_mb:.0f} MB"],
        ]
    return rows


def _soak_table(results: Results) -> Table:
    rows = [["", "requests", "seconds", "CLI processes", "descriptors", "server MB"]]
    if (soak := results.soak) is None:
        return rows
    warm = soak.warm_samples
    marks = {f"warmed up, {i}/5": warm[i * (len(warm) - 1) // 5] for i in range(6) if warm}
    for title, sample in {"before": soak.before, **marks, "after": soak.after}.items():
        counts = [sample.processes, sample.descriptors, f"{sample.server_mb:.0f}"]
        row = [title, f"{sample.requests:,}", f"{sample.seconds:.0f}", *counts]
        rows.append([str(cell) for cell in row])
    return rows


def _verdict_table(results: Results) -> Table:
    rows = [[each.promise, each.found, each.word] for each in verdicts(results)]
    return [["promise", "found", ""], *rows]


def as_text(results: Results) -> str:
    """For a terminal."""
    parts = []
    for title, rows in tables(results):
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        parts.append(f"{title}\n" + "\n".join(f"  {line}" for line in lines))
    return "\n\n".join(parts)


def as_markdown(results: Results) -> str:
    """What stands between the markers of docs/performance.md."""
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    parts = [f"Measured on: {machine}. The run took {results.seconds:.0f} s.", PLOT]
    for title, rows in tables(results):
        parts.append(f"### {title}\n\n" + "\n".join(_markdown_rows(rows)))
    return "\n\n".join(parts)


PLOT = "![First token and requests per second of all three](performance.svg)"


def _markdown_rows(rows: Table) -> Iterable[str]:
    head, *rest = rows
    yield "| " + " | ".join(head) + " |"
    yield "|---" * len(head) + "|"
    for row in rest:
        yield "| " + " | ".join(row) + " |"


def write_document(path: Path, results: Results) -> None:
    """Replaces what stands between the markers. Raises ValueError where they are missing."""
    text = path.read_text()
    before, rest = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    path.write_text(f"{before}\n\n{as_markdown(results)}\n\n{rest}")
