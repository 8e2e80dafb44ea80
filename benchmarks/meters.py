"""What the ledger, the metrics and a trace add to a request, and to a token of its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from claude_cli import ClaudeEngine
from config.credentials import Credentials
from config.settings import Settings
from core.events import ChoiceEvent, Event, Finished, Started, TextDelta, Usage
from core.notes import TurnNotes
from core.turn import Sampling, Turn
from stores import StoreLimits, make_store, make_usage_stores
from turns.metrics import Metrics
from turns.tracing import Tracing
from turns.usage import Meter, UsageRecorder

REQUESTS = 400
TOKENS = 250
ROUNDS = 5
MOST_MS = 0.3


def as_text() -> str:
    """One line: the milliseconds that a request costs more, and whether that is allowed."""
    with TemporaryDirectory(prefix="claude-bench-") as folder:
        return asyncio.run(_compared(Path(folder)))


async def _compared(folder: Path) -> str:
    plain, metered, traced = [], [], []
    async with AsyncExitStack() as stack:
        recorder = await _recorder(stack, folder)
        tracing = _tracing(stack)
        for _ in range(ROUNDS):  # in turns
            plain.append([await _cost(None, tokens) for tokens in (0, TOKENS)])
            metered.append([await _cost(recorder, tokens) for tokens in (0, TOKENS)])
            recorder.tracing = tracing
            traced.append([await _cost(recorder, tokens) for tokens in (0, TOKENS)])
            recorder.tracing = None
    added_ms, added_us = _difference(metered, plain)
    trace_ms, trace_us = _difference(traced, metered)
    verdict = "PASS" if added_ms < MOST_MS else "FAIL"
    return (
        f"Ledger and metrics add {added_ms:.3f} ms to a request (at most {MOST_MS:g}): {verdict}; "
        f"{added_us:.2f} us to a token. A trace adds {trace_ms:.3f} ms and {trace_us:.2f} us"
    )


async def _recorder(stack: AsyncExitStack, folder: Path) -> UsageRecorder:
    """Writes into a database on disk, as a server does."""
    settings = Settings.model_construct()
    store = make_store(f"sqlite:///{folder / 'usage.db'}", StoreLimits())
    ledger, _ = make_usage_stores(store)
    await stack.enter_async_context(store)
    recorder = UsageRecorder(ledger, keep_seconds=3_600)
    await stack.enter_async_context(recorder)
    metrics = Metrics(ClaudeEngine(settings, Credentials("none", "")), recorder.running.total)
    recorder.listeners.append(metrics.note)
    return recorder


def _tracing(stack: AsyncExitStack) -> Tracing:
    class Discarded:
        """An exporter to nowhere: the sending is another thread's, in batches."""

        def export(self, spans: Any) -> Any:
            from opentelemetry.sdk.trace.export import SpanExportResult

            return SpanExportResult.SUCCESS

        def shutdown(self) -> None: ...

    tracing = Tracing(Discarded())
    stack.push_async_callback(tracing.aclose)
    return tracing


async def _cost(recorder: UsageRecorder | None, tokens: int) -> float:
    """Seconds of the processor's time a request, its record written."""
    started = time.process_time()
    for number in range(REQUESTS):
        await _request(recorder, number, tokens)
    if recorder is not None:
        await recorder.flush()
    return (time.process_time() - started) / REQUESTS


async def _request(recorder: UsageRecorder | None, number: int, tokens: int) -> None:
    turn = Turn("claude-sonnet-5", (), sampling=Sampling(max_tokens=tokens))
    if recorder is None:
        await _taken(_as_choice(_answer(turn, TurnNotes())))
        return
    request_id = f"req_{number}_{time.perf_counter_ns()}"
    meter = Meter(recorder, request_id, "alice", "chat", key_id="0123abcd")
    await _taken(meter.watch(_as_choice(meter.run(_answer)(turn))))
    meter.end()


async def _answer(turn: Turn, notes: TurnNotes) -> AsyncGenerator[Event, None]:
    """As long as the turn allows."""
    yield Started(turn.model)
    tokens = turn.sampling.max_tokens or 0
    delta = TextDelta("word ")
    for _ in range(tokens):
        yield delta
    notes.spend(Usage(100, 20, 3, tokens), 0.01)
    yield Finished("end_turn", notes.usage)


async def _as_choice(events: AsyncGenerator[Event, None]) -> AsyncGenerator[ChoiceEvent, None]:
    async with aclosing(events):
        async for event in events:
            yield ChoiceEvent(0, event)


async def _taken(events: AsyncGenerator[ChoiceEvent, None]) -> None:
    async with aclosing(events):
        async for _ in events:
            pass


def _difference(more: list[list[float]], less: list[list[float]]) -> tuple[float, float]:
    """Milliseconds a request without tokens, and microseconds a token: medians over the rounds."""
    pairs = list(zip(more, less, strict=True))
    request = median(a[0] - b[0] for a, b in pairs)
    tokens = median((a[1] - a[0]) - (b[1] - b[0]) for a, b in pairs)
    return request * 1e3, tokens / TOKENS * 1e6
