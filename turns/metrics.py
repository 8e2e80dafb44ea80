"""Prometheus metrics of the turns and of what serves them.

No label is unbounded: models are MOST_MODELS and `other`, statuses those of HTTP. Nothing names a
key, a session or a word of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client import generate_latest as rendered
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from claude_cli import ClaudeEngine
from stores.usage import TurnRecord

CONTENT_TYPE = CONTENT_TYPE_LATEST
FIRST_TOKEN_BUCKETS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 30.0, 60.0)
DURATION_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
MOST_MODELS = 50
OTHER = "other"

Metric = CounterMetricFamily | GaugeMetricFamily
Running = Callable[[], int]


class Metrics:
    """Counts records, as a listener of the recorder, and reads the engine when it is asked."""

    def __init__(self, engine: ClaudeEngine, running: Running) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self._models: set[str] = set()
        self._requests = self._counter(
            "claude_requests", "Requests that asked for a turn", "dialect", "model", "status"
        )
        self._tokens = self._counter("claude_tokens", "Tokens by kind", "model", "kind")
        self._cost = self._counter("claude_cost_usd", "Cost as Claude Code reports it", "model")
        self._tools = self._counter("claude_builtin_tool_uses", "Uses of built-in tools")
        self._first_token = self._histogram(
            "claude_first_token_seconds", "From the request to the first token", FIRST_TOKEN_BUCKETS
        )
        self._split = self._histogram(
            "claude_first_token_part_seconds",
            "Parts of the way to the first token: queue, process, upstream",
            FIRST_TOKEN_BUCKETS,
            "part",
        )
        self._duration = self._histogram(
            "claude_request_duration_seconds", "From the request to its end", DURATION_BUCKETS
        )
        self._registry.register(_Engine(engine, running))

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, registry=self._registry)

    def _histogram(
        self, name: str, what: str, buckets: tuple[float, ...], label: str = "dialect"
    ) -> Histogram:
        return Histogram(name, what, (label,), buckets=buckets, registry=self._registry)

    def note(self, record: TurnRecord) -> None:
        model = self._label(record.model)
        self._requests.labels(record.dialect, model, str(record.status)).inc()
        usage = record.usage
        for kind, count in (
            ("input", usage.input_tokens),
            ("cache_read", usage.cache_read_tokens),
            ("cache_write", usage.cache_write_tokens),
            ("output", usage.output_tokens),
        ):
            if count:
                self._tokens.labels(model, kind).inc(count)
        if record.cost_usd:
            self._cost.labels(model).inc(record.cost_usd)
        if record.tools:
            self._tools.inc(sum(record.tools.values()))
        self._time(record)

    def _time(self, record: TurnRecord) -> None:
        self._duration.labels(record.dialect).observe(record.duration_ms / 1000)
        if record.first_token_ms is not None:
            self._first_token.labels(record.dialect).observe(record.first_token_ms / 1000)
        parts = {"queue": record.queue_ms, "process": record.process_ms}
        for part, ms in (*parts.items(), ("upstream", record.upstream_ms)):
            if ms is not None:
                self._split.labels(part).observe(ms / 1000)

    def _label(self, model: str) -> str:
        """Upstream names them, and a client may have named one that it takes: only so many."""
        if model in self._models or (model and len(self._models) < MOST_MODELS):
            self._models.add(model)
            return model
        return OTHER

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return rendered(self._registry)


class _Engine(Collector):
    """The pool and the subscription's windows as they are at the time of the request."""

    def __init__(self, engine: ClaudeEngine, running: Running) -> None:
        self._engine = engine
        self._running = running

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield _gauge("claude_requests_running", "Requests that run now", self._running())
        snapshot = self._engine.pool.snapshot()
        processes = GaugeMetricFamily("claude_processes", "Processes by state", labels=["state"])
        for state, count in snapshot["states"].items():
            processes.add_metric([state], count)
        yield processes
        yield _gauge("claude_processes_max", "MAX_PROCESSES", snapshot["max_processes"])
        yield _gauge("claude_queue_length", "Requests that wait", snapshot["queue"]["length"])
        events = CounterMetricFamily("claude_pool_events", "What the pool did", labels=["event"])
        for name, count in snapshot["counts"].items():
            events.add_metric([name], count)
        yield events
        yield from self._windows()

    def _windows(self) -> Iterator[Metric]:
        used = GaugeMetricFamily(
            "claude_ratelimit_utilization", "Share of a window that is used", labels=["window"]
        )
        resets = GaugeMetricFamily(
            "claude_ratelimit_reset_timestamp_seconds", "When a window resets", labels=["window"]
        )
        for window in self._engine.windows.all():
            if window.utilization is not None:
                used.add_metric([window.name], window.utilization)
            if window.resets_at is not None:
                resets.add_metric([window.name], window.resets_at)
        yield used
        yield resets


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=value)
