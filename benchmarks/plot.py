"""Results -> one SVG of two panels, on logarithmic scales: first tokens, and requests a second."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from benchmarks.results import SCENARIOS, Name, Results, in_order, title

COLOURS: dict[Name, str] = {
    "floor": "#9aa5b1",
    "ours": "#2563eb",
    "litellm": "#0f9960",
    "naive": "#dc6803",
}
OTHER = "#7c3aed"
WIDTH, HEIGHT = 900, 380
TOP, BOTTOM = 70, 320
SCENARIO_LABELS = ("fresh", "unseen prompt", "follow-up", "tool result", "200 messages")


def svg(results: Results) -> str:
    parts = [*_legend(results), *_latency_panel(results), *_load_panel(results)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#1f2933">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>' + "\n".join(parts) + "</svg>\n"
    )


class _Scale:
    """A logarithmic axis from one power of ten to another."""

    def __init__(self, values: Sequence[float]) -> None:
        positive = [value for value in values if value > 0] or [1.0]
        self.low = math.floor(math.log10(min(positive)))
        self.high = max(self.low + 1, math.ceil(math.log10(max(positive))))

    def y(self, value: float) -> float:
        share = (math.log10(max(value, 10.0**self.low)) - self.low) / (self.high - self.low)
        return round(BOTTOM - share * (BOTTOM - TOP), 1)

    def grid(self, left: int, right: int) -> Iterable[str]:
        for power in range(self.low, self.high + 1):
            y = self.y(10.0**power)
            yield f'<path d="M{left} {y}H{right}" stroke="#e4e7eb"/>'
            yield _text(left - 6, y + 4, f"{10.0**power:g}", anchor="end")


def _latency_panel(results: Results) -> Iterable[str]:
    measured = [latency for by in results.latency.values() for latency in by.values()]
    scale = _Scale([value for one in measured for value in (one.p50_ms, one.p95_ms)])
    yield _text(60, 50, "First token in ms: p50, line to p95", bold=True)
    yield from scale.grid(60, 480)
    for group, scenario in enumerate(SCENARIOS):
        left = 72 + group * 84
        yield _text(left + 36, BOTTOM + 20, SCENARIO_LABELS[group], anchor="middle")
        by = results.latency.get(scenario, {})
        width = 76 / max(1, len(by))
        for position, name in enumerate(in_order(by)):
            one, x = by[name], round(left + position * width, 1)
            y, middle, bar = scale.y(one.p50_ms), x + width / 2, width - 3
            yield f'<rect x="{x}" y="{y}" width="{bar:.1f}" height="{BOTTOM - y:.1f}" '
            yield f'fill="{_colour(name)}"/>'
            yield f'<path d="M{middle:.1f} {y}V{scale.y(one.p95_ms)}" stroke="#1f2933"/>'
            yield _text(middle, scale.y(one.p95_ms) - 4, f"{one.p50_ms:.0f}", anchor="middle")


def _load_panel(results: Results) -> Iterable[str]:
    rates = {
        name: [(clients, load.requests_per_second) for clients, load in by.items()]
        for name, by in results.load.items()
    }
    scale = _Scale([rate for points in rates.values() for _, rate in points])
    yield _text(560, 50, "Fresh conversations a second, by clients", bold=True)
    yield from scale.grid(560, 880)
    for name, points in rates.items():
        places = [(585 + index * 66, scale.y(rate)) for index, (_, rate) in enumerate(points)]
        line = " ".join(f"{x},{y}" for x, y in places)
        yield f'<polyline points="{line}" fill="none" stroke="{_colour(name)}" stroke-width="2"/>'
        for (x, y), (clients, rate) in zip(places, points, strict=True):
            yield f'<circle cx="{x}" cy="{y}" r="3.5" fill="{_colour(name)}"/>'
            yield _text(x, y - 9, f"{rate:.3g}", anchor="middle")
            yield _text(x, BOTTOM + 20, clients, anchor="middle")


def _legend(results: Results) -> Iterable[str]:
    names = {name for by in results.latency.values() for name in by} | set(results.load)
    for position, name in enumerate(in_order(names)):
        x = 60 + position * 205
        yield f'<rect x="{x}" y="12" width="12" height="12" fill="{_colour(name)}"/>'
        yield _text(x + 18, 22, title(name).replace("`", ""))


def _colour(name: Name) -> str:
    return COLOURS.get(name, OTHER)


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{weight}>{text}</text>'
