"""OpenTelemetry traces of turns, for TRACING: the optional extra `tracing`.

One span for each turn, after the GenAI semantic conventions
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/), filled in when the turn has
ended: nothing is added to a token. A caller's `traceparent` is its parent, and the upstream gets
one that names it (https://www.w3.org/TR/trace-context/). Nothing of a prompt or an answer is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from config.settings import Settings, SettingsError
from core.version import NAME, VERSION
from stores.usage import TurnRecord

MISSING = (
    "TRACING needs the packages opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http "
    "(the extra `tracing`)."
)
NANOSECONDS = 1_000_000_000
PARTS = ("queue", "process", "upstream")


@dataclass(frozen=True, slots=True)
class TurnSpan:
    """The span of one turn. `lines` are the headers that name it to another server."""

    lines: str
    _span: Any

    def end(self, record: TurnRecord) -> None:
        """Sends it with what the turn became."""
        from opentelemetry.trace import Status, StatusCode

        start = int(record.at * NANOSECONDS)
        self._span.update_name(f"chat {record.model or record.model_asked or 'unknown'}")
        self._span.set_attributes(_attributes(record))
        if record.status >= 400:
            self._span.set_status(Status(StatusCode.ERROR, record.error))
        if record.first_token_ms is not None:
            at = start + int(record.first_token_ms * 1_000_000)
            self._span.add_event("gen_ai.first_token", _split(record), timestamp=at)
        self._span.end(start + int(record.duration_ms * 1_000_000))


class Tracing:
    """Makes one span for each turn. `exporter` is for tests; without, OTLP over HTTP as the
    variables OTEL_EXPORTER_OTLP_* say."""

    def __init__(self, exporter: Any = None) -> None:
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        except ImportError:
            raise SettingsError(MISSING) from None
        resource = Resource.create({"service.name": NAME, "service.version": VERSION})
        self._provider = TracerProvider(resource=resource)
        if exporter is None:
            self._provider.add_span_processor(BatchSpanProcessor(_otlp()))
        else:
            self._provider.add_span_processor(SimpleSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(NAME, VERSION)

    def begin(self, headers: Mapping[str, str], at: float) -> TurnSpan:
        """A turn begins at this Unix time; `headers` are its request's, names in lower case."""
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator()
        span = self._tracer.start_span(
            "chat",
            context=context.extract(dict(headers)),
            kind=SpanKind.SERVER,
            start_time=int(at * NANOSECONDS),
        )
        carrier: dict[str, str] = {}
        context.inject(carrier, set_span_in_context(span))
        return TurnSpan("\n".join(f"{name}: {value}" for name, value in carrier.items()), span)

    async def aclose(self) -> None:
        """Sends what waits, in a thread: the exporter blocks."""
        await asyncio.to_thread(self._provider.shutdown)


def tracing_of(settings: Settings) -> Tracing | None:
    """None unless TRACING. Raises SettingsError where the extra is missing."""
    return Tracing() if settings.tracing else None


def _otlp() -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise SettingsError(MISSING) from None
    return OTLPSpanExporter()


def _attributes(record: TurnRecord) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": record.model_asked,
        "gen_ai.response.model": record.model,
        "gen_ai.usage.input_tokens": record.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": record.usage.output_tokens,
        "gen_ai.conversation.id": record.session_id,
        "http.response.status_code": record.status,
        "error.type": record.error,
        "claude_gateway.request.id": record.id,
        "claude_gateway.key": record.key,
        "claude_gateway.dialect": record.dialect,
        "claude_gateway.cost_usd": record.cost_usd,
        "claude_gateway.cache_read_tokens": record.usage.cache_read_tokens,
        "claude_gateway.cache_write_tokens": record.usage.cache_write_tokens,
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def _split(record: TurnRecord) -> dict[str, float]:
    parts = {part: getattr(record, f"{part}_ms") for part in PARTS}
    return {f"claude_gateway.{part}_ms": ms for part, ms in parts.items() if ms is not None}
