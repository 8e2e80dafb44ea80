"""Results -> what is printed on the terminal, and the tables of docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.promises import verdicts
from benchmarks.results import SCENARIOS, Name, Paced, Results, in_order, title

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

Table = list[list[str]]


def tables(results: Results) -> list[tuple[str, Table]]:
    """Title and rows (the first is the head) of everything that was measured."""
    found = [
        ("First token, p50 / p95 in ms", _latency_table(results)),
        ("Fresh conversations under load, requests/s", _load_table(results)),
        ("One client's share of the machine, processor ms a request", _cpu_table(results)),
        *[
            (f"At a real model's pace, {clients} clients", _paced_table(results, clients))
            for clients in _clients(results.paced)
        ],
        ("Long answers, tokens/s of all streams together", _stream_table(results)),
        ("A streamed token in each dialect", _dialect_table(results)),
        ("Start-up and memory", _resources_table(results)),
        ("Soak", _soak_table(results)),
        ("Promises", _verdict_table(results)),
    ]
    return [(heading, rows) for heading, rows in found if len(rows) > 1]


def _clients(found: Mapping[Name, Mapping[str, object]]) -> list[str]:
    """All numbers of clients that were measured, from the least."""
    return sorted({clients for by in found.values() for clients in by}, key=int)


def _latency_table(results: Results) -> Table:
    names = in_order({name for by in results.latency.values() for name in by})
    rows = [["", *map(title, names), "over the floor", "times the first"]]
    first = results.latency.get("fresh", {}).get("ours")
    for scenario, heading in SCENARIOS.items():
        by = results.latency.get(scenario)
        if by is None or "ours" not in by:
            continue
        cells = [f"{by[n].p50_ms:.1f} / {by[n].p95_ms:.1f}" if n in by else "" for n in names]
        over = f"{by['ours'].p50_ms - by['floor'].p50_ms:+.1f} ms"
        times = f"{by['ours'].p50_ms / first.p50_ms:.2f}" if first else ""
        rows.append([heading, *cells, over, times])
    return rows


def _load_table(results: Results) -> Table:
    names = in_order(results.load)
    rows = [["clients", *map(title, names), "p50 / p95 of ours, ms"]]
    for clients in _clients(results.load):
        rates = [results.load[name].get(clients) for name in names]
        ours = results.load.get("ours", {}).get(clients)
        first = f"{ours.first_token_p50_ms:.0f} / {ours.first_token_p95_ms:.0f}" if ours else ""
        cells = [f"{load.requests_per_second:.1f}" if load else "" for load in rates]
        rows.append([clients, *cells, first])
    return rows


def _cpu_table(results: Results) -> Table:
    names = in_order(results.load)
    rows = [["clients", *map(title, names), "load generator"]]
    for clients in _clients(results.load):
        loads = [results.load[name].get(clients) for name in names]
        ours = results.load.get("ours", {}).get(clients)
        generator = f"{ours.generator_cpu_ms:.2f}" if ours else ""
        rows.append([clients, *[f"{load.cpu_ms:.1f}" if load else "" for load in loads], generator])
    return rows


_PACED = {
    "requests/s": "{0.requests_per_second:.2f}",
    "first token over the upstream's, p50 / p95 ms": "{0.over_p50_ms:.0f} / {0.over_p95_ms:.0f}",
    "whole answer, p50 ms": "{0.whole_p50_ms:.0f}",
    "processor, us a token: server": "{0.server_cpu_us:.0f}",
    "processor, us a token: its processes": "{0.cli_cpu_us:.0f}",
    "processor, ms an answer of 100 tokens": "{0.cpu_ms_an_answer:.0f}",
    "CLI processes": "{0.processes:.0f}",
    "memory, MB": "{0.memory_mb:.0f}",
    "answers": "{0.requests:.0f}",
}


def _paced_table(results: Results, clients: str) -> Table:
    names = [name for name in in_order(results.paced) if clients in results.paced[name]]
    found: list[Paced] = [results.paced[name][clients] for name in names]
    rows = [["", *map(title, names)]]
    return rows + [[row, *map(shown.format, found)] for row, shown in _PACED.items()]


def _stream_table(results: Results) -> Table:
    names = in_order(results.streams)
    rows = [["streams", "tokens each", *map(title, names)]]
    for streams, ours in results.streams.get("ours", {}).items():
        rates = [results.streams[name].get(streams) for name in names]
        cells = [f"{each.tokens_per_second:,.0f}" if each else "" for each in rates]
        rows.append([streams, f"{ours.tokens_each:,}", *cells])
    return rows


def _dialect_table(results: Results) -> Table:
    rows = [["", "processor, us a token: server", "times chat"]]
    chat = results.dialects.get("chat")
    for name, cost in results.dialects.items():
        rows.append([name, f"{cost:.0f}", f"{cost / chat:.2f}" if chat else ""])
    return rows


def _resources_table(results: Results) -> Table:
    rows = [["", "found"]]
    for name, startup in results.startup.items():
        rows.append([f"{title(name)}: start to `/health`", f"{startup.health_ms:,.0f} ms"])
        rows.append([f"{title(name)}: start to first token", f"{startup.first_answer_ms:,.0f} ms"])
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
    for moment, sample in {"before": soak.before, **marks, "after": soak.after}.items():
        counts = [sample.processes, sample.descriptors, f"{sample.server_mb:.0f}"]
        row = [moment, f"{sample.requests:,}", f"{sample.seconds:.0f}", *counts]
        rows.append([str(cell) for cell in row])
    return rows


def _verdict_table(results: Results) -> Table:
    rows = [[each.promise, each.found, each.word] for each in verdicts(results)]
    return [["promise", "found", ""], *rows]


def as_text(results: Results) -> str:
    """For a terminal."""
    parts = []
    for heading, rows in tables(results):
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        parts.append(f"{heading}\n" + "\n".join(f"  {line}" for line in lines))
    return "\n\n".join(parts)


def as_markdown(results: Results) -> str:
    """What stands between the markers of docs/performance.md."""
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    parts = [f"Measured on: {machine}. The run took {results.seconds:.0f} s.", PLOT]
    for heading, rows in tables(results):
        parts.append(f"### {heading}\n\n" + "\n".join(_markdown_rows(rows)))
    return "\n\n".join(parts)


PLOT = "![First token and requests per second](performance.svg)"


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
