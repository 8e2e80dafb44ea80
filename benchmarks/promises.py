"""What was promised of the figures, beside what was found. All are ratios within one run, or times
over the floor of the same run; nothing here is asserted by a test of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.peers import PEER
from benchmarks.results import SCENARIOS, Name, Results, Scenario
from benchmarks.soak import growth

BEFORE = "before"
"""The name of a further server whose processor time a token is the measure of this one's."""

MOST_TIMES_FRESH = 1.5
MOST_MS_OVER_FLOOR: dict[Scenario, float] = dict.fromkeys(SCENARIOS, 40.0) | {"long": 60.0}
LEAST_OF_OWN_BEST = 0.9
LEAST_OF_PEER_AT_ONCE = {"4": 1.0, "16": 1.2}
LEAST_OF_PEER_PACED = {"16": 1.0, "32": 0.9}
MOST_TIMES_PEER_FIRST_TOKEN = 1.3
MOST_OF_CPU_BEFORE = 0.5
MOST_TIMES_CHAT = 1.3


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise: what was found beside what was promised. `kept` None is not measured."""

    promise: str
    found: str
    kept: bool | None

    @property
    def word(self) -> str:
        return {True: "PASS", False: "miss", None: "not measured"}[self.kept]


def verdicts(results: Results) -> list[Verdict]:
    return [
        _fraction(results, "fresh", "Fresh conversation: p50 at most 1/10 of naive", 10),
        _fraction(results, "unseen", "Unseen system prompt: p50 at most 1/2 of naive", 2),
        *_scenario_verdicts(results),
        *_load_verdicts(results),
        *_paced_verdicts(results),
        _dialect_verdict(results),
        _stream_verdict(results),
        _memory_verdict(results),
        _soak_verdict(results),
    ]


def p50(results: Results, scenario: Scenario, name: Name) -> float | None:
    found = results.latency.get(scenario, {}).get(name)
    return found.p50_ms if found else None


def _at_most(promise: str, found: float | None, most: float, unit: str = "times") -> Verdict:
    if found is None:
        return Verdict(promise, "", None)
    return Verdict(promise, f"{found:.2f} {unit}", found <= most)


def _at_least(promise: str, found: float | None, least: float) -> Verdict:
    if found is None:
        return Verdict(promise, "", None)
    return Verdict(promise, f"{found:.2f} times", found >= least)


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or not theirs else ours / theirs


def _fraction(results: Results, scenario: Scenario, promise: str, parts: float) -> Verdict:
    ours, naive = p50(results, scenario, "ours"), p50(results, scenario, "naive")
    if ours is None or naive is None:
        return Verdict(promise, "", None)
    return Verdict(promise, f"1/{naive / ours:.1f} ({ours:.1f} ms)", naive >= parts * ours)


def _scenario_verdicts(results: Results) -> Iterator[Verdict]:
    fresh = p50(results, "fresh", "ours")
    for scenario, title in SCENARIOS.items():
        found = p50(results, scenario, "ours")
        if scenario != "fresh":
            promise = f"{title}: p50 at most {MOST_TIMES_FRESH} times the fresh conversation's"
            yield _at_most(promise, _ratio(found, fresh), MOST_TIMES_FRESH)
        most, floor = MOST_MS_OVER_FLOOR[scenario], p50(results, scenario, "floor")
        over = None if found is None or floor is None else found - floor
        yield _at_most(f"{title}: p50 at most {most:.0f} ms over the floor", over, most, "ms over")


def _rate(results: Results, name: Name, clients: str) -> float | None:
    found = results.load.get(name, {}).get(clients)
    return found.requests_per_second if found else None


def _load_verdicts(results: Results) -> Iterator[Verdict]:
    rates = [load.requests_per_second for load in results.load.get("ours", {}).values()]
    best = max(rates, default=None)
    yield _at_least(
        f"Upstream at once, 16 clients: requests/s at least {LEAST_OF_OWN_BEST} times its own best",
        _ratio(_rate(results, "ours", "16"), best),
        LEAST_OF_OWN_BEST,
    )
    for clients, least in LEAST_OF_PEER_AT_ONCE.items():
        ratio = _ratio(_rate(results, "ours", clients), _rate(results, PEER, clients))
        promise = (
            f"Upstream at once, {clients} clients: requests/s at least {least} times LiteLLM's"
        )
        yield _at_least(promise, ratio, least)
    most = MOST_TIMES_PEER_FIRST_TOKEN
    firsts = [results.load.get(name, {}).get("1") for name in ("ours", PEER)]
    ours, theirs = (load.first_token_p50_ms if load else None for load in firsts)
    promise = f"Upstream at once, 1 client: first token p50 at most {most} times LiteLLM's"
    yield _at_most(promise, _ratio(ours, theirs), most)
    ratio = _ratio(_rate(results, "ours", "4"), _rate(results, "naive", "4"))
    yield _at_least("Upstream at once, 4 clients: at least 10 times naive", ratio, 10)


def _paced(results: Results, name: Name, clients: str, figure: str) -> float | None:
    found = results.paced.get(name, {}).get(clients)
    return float(getattr(found, figure)) if found else None


def _paced_verdicts(results: Results) -> Iterator[Verdict]:
    most = MOST_TIMES_PEER_FIRST_TOKEN
    for clients, least in LEAST_OF_PEER_PACED.items():
        place = f"Real pace, {clients} clients"

        def times(other: Name, figure: str, clients: str = clients) -> float | None:
            ours = _paced(results, "ours", clients, figure)
            return _ratio(ours, _paced(results, other, clients, figure))

        rate = times(PEER, "requests_per_second")
        yield _at_least(f"{place}: requests/s at least {least} times LiteLLM's", rate, least)
        for name in ("p50", "p95"):
            promise = f"{place}: first token over the upstream's, {name} at most {most} times its"
            yield _at_most(promise, times(PEER, f"over_{name}_ms"), most)
        promise = f"{place}: server's processor time a token at most half of what it was before"
        yield _at_most(promise, times(BEFORE, "server_cpu_us"), MOST_OF_CPU_BEFORE)


def _dialect_verdict(results: Results) -> Verdict:
    most = MOST_TIMES_CHAT
    ratio = _ratio(results.dialects.get("responses"), results.dialects.get("chat"))
    return _at_most(f"A streamed token of Responses costs at most {most} times chat's", ratio, most)


def _stream_verdict(results: Results) -> Verdict:
    promise = "One stream carries at least 5,000 deltas/s"
    found = results.streams.get("ours", {}).get("1")
    if found is None:
        return Verdict(promise, "", None)
    return Verdict(promise, f"{found.tokens_per_second:,.0f}/s", found.tokens_per_second >= 5_000)


def _memory_verdict(results: Results) -> Verdict:
    promise = "The server itself stays under 160 MB"
    if results.memory is None:
        return Verdict(promise, "", None)
    peaks = [results.memory.server_peak_mb]
    peaks += [sample.server_mb for sample in results.soak.samples] if results.soak else []
    return Verdict(promise, f"{max(peaks):.0f} MB at most", max(peaks) < 160)


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
