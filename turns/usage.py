"""What a turn used: measured around its events, recorded when it ends, written in batches.

A record waits FLUSH_SECONDS at most before it is written, so a server that is killed loses what
ended in its last second; one that is stopped loses nothing. Where the database fails, records wait
for it, MOST_WAITING of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace

import anyio

from core.errors import GatewayError, StoreUnavailable
from core.events import BuiltinToolUse, ChoiceEvent, Event, Started, TextDelta, Usage
from core.notes import TurnNotes
from core.turn import Turn
from session_manager import SessionCall
from stores.usage import TurnRecord, UsageLedger
from turns.bodies import Body
from turns.choices import Run
from turns.tracing import Tracing, TurnSpan

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
RETRY_SECONDS = 2.0
CLOSE_SECONDS = 10.0
SWEEP_SECONDS = 3_600.0
TELL_SECONDS = 5.0
"""How often other servers get what runs here; less than stores.usage.RUNNING_SECONDS."""

MOST_WAITING = 50_000
MOST_NAME = 128
"""Characters of a model's name that are kept: a client chose it."""

CLIENT_LEFT = 499

NotedRun = Callable[[Turn, TurnNotes], AsyncGenerator[Event, None]]
Listener = Callable[[TurnRecord], None]


class UsageRecorder:
    """Takes records and writes them to `ledger`. An async context manager; the ledger's database
    is open while it is. `listeners` get every record at once; `tracing` a span for each turn."""

    def __init__(self, ledger: UsageLedger, *, keep_seconds: float) -> None:
        self.ledger = ledger
        self.listeners: list[Listener] = []
        self.tracing: Tracing | None = None
        self.running: Counter[str] = Counter()
        """Requests that run now, by key."""

        self.lost = 0
        self.generation = 0
        """How often records went from here to the ledger."""

        self._limited: set[str] = set()
        self._keep_seconds = keep_seconds
        self._waiting: list[TurnRecord] = []
        self._writing: list[TurnRecord] = []
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._swept_at = float("-inf")
        self._is_down = False

    async def __aenter__(self) -> UsageRecorder:
        self._task = asyncio.create_task(self._write_forever())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stopping.set()
        self._wake.set()
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS):
            if self._task is not None:
                await self._task
            await self._flush()
        if self._waiting:
            log.error("%s turns could not be written to the usage ledger", len(self._waiting))

    def record(self, record: TurnRecord) -> None:
        """Never waits."""
        if len(self._waiting) >= MOST_WAITING:
            self.lost += 1
            return
        self._waiting.append(record)
        self._wake.set()
        for listener in self.listeners:
            listener(record)

    def unwritten(self, key: str) -> list[TurnRecord]:
        """What the ledger does not have yet of a key."""
        return [record for record in (*self._writing, *self._waiting) if record.key == key]

    def tell_others(self, key: str) -> None:
        """Other servers must know how many requests of this key run here."""
        self._limited.add(key)
        self._wake.set()

    async def flush(self) -> None:
        """Writes what waits now. Raises StoreUnavailable."""
        if not await self._flush():
            raise StoreUnavailable("The usage ledger's database failed.", retry_after=RETRY_SECONDS)

    @asynccontextmanager
    async def settled(self) -> AsyncIterator[None]:
        """While it lasts nothing is on its way: a record is in the ledger, or in `unwritten`."""
        async with self._lock:
            yield

    async def _write_forever(self) -> None:
        while not self._stopping.is_set():
            await _happened(self._wake, TELL_SECONDS if self._limited else SWEEP_SECONDS)
            self._wake.clear()
            is_written = await self._flush()
            await self._sweep()
            await _happened(self._stopping, FLUSH_SECONDS if is_written else RETRY_SECONDS)

    async def _flush(self) -> bool:
        """Whether all could be written."""
        async with self._lock:
            self._writing, self._waiting = self._waiting, []
            running = {key: self.running[key] for key in self._limited if self.running[key]}
            try:
                await self.ledger.write(self._writing, running)
            except StoreUnavailable as error:
                self._waiting = [*self._writing, *self._waiting]
                self._note_failure(error)
                return False
            finally:
                self._writing = []
            self._limited &= {*running, *self.running}
            self.generation += 1
            if self._is_down:
                log.warning("the usage ledger is written again")
            self._is_down = False
            return True

    def _note_failure(self, error: StoreUnavailable) -> None:
        if not self._is_down:
            log.warning("usage waits for its database: %s", error.message)
        self._is_down = True

    async def _sweep(self) -> None:
        if time.monotonic() - self._swept_at < SWEEP_SECONDS:
            return
        self._swept_at = time.monotonic()
        try:
            await self.ledger.sweep(time.time(), self._keep_seconds)
        except StoreUnavailable as error:
            log.warning("old usage could not be forgotten: %s", error.message)


@dataclass(slots=True)
class Meter:
    """Measures one request. `run` wraps the engine, `watch` the events of all its answers, and
    `end` records it, once: the owner of the request must call it, on every path."""

    recorder: UsageRecorder
    request_id: str
    key: str
    dialect: str
    key_id: str | None = None
    model_asked: str = ""
    model: str = ""
    stream: bool = False
    answers: int = 1
    session: SessionCall | None = None
    left_out: int = 0
    response_id: str | None = None
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    at: float = field(default_factory=time.time)
    _started: float = field(default_factory=time.perf_counter)
    _first_at: float | None = None
    _span: TurnSpan | None = None
    _notes: list[TurnNotes] = field(default_factory=list)
    _tools: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _is_over: bool = False
    _status: int = CLIENT_LEFT
    _code: str = "client_left"

    def __post_init__(self) -> None:
        self.recorder.running[self.key] += 1
        if self.recorder.tracing is not None:
            self._span = self.recorder.tracing.begin(self.headers, self.at)

    def run(self, run: NotedRun) -> Run:
        """Runs a turn and keeps what the engine notes of it."""

        def noted(turn: Turn) -> AsyncGenerator[Event, None]:
            notes = TurnNotes()
            self._notes.append(notes)
            traced = replace(turn, trace=self._span.lines) if self._span else turn
            return run(traced, notes)

        return noted

    async def watch(
        self, events: AsyncGenerator[ChoiceEvent, None]
    ) -> AsyncGenerator[ChoiceEvent, None]:
        """The same events. Closing it closes them."""
        async with aclosing(events):
            async for item in events:
                event = item.event
                if self._first_at is None or self.body or type(event) is BuiltinToolUse:
                    self._note(event)  # after the first token there is as a rule nothing to note
                yield item
        self._status, self._code = 200, ""

    def _note(self, event: Event) -> None:
        match event:
            case Started(model):
                self.model = model
                return
            case BuiltinToolUse(_, name):
                self._tools[name] = self._tools.get(name, 0) + 1
            case TextDelta(text) if self.body is not None:
                self.body.add(text)
        if self._first_at is None:
            self._first_at = time.perf_counter()

    @contextmanager
    def ends_on_failure(self) -> Iterator[None]:
        """Records the turn where the block raises; where it does not, `end` is still to come."""
        try:
            yield
        except BaseException as error:
            self.end(error)
            raise

    def note_left_out(self, messages: int) -> None:
        """How many of the oldest messages the model does not get."""
        self.left_out = messages

    def discard(self) -> None:
        """Records nothing: the model was never to be asked."""
        if not self._is_over:
            self._release()

    def _release(self) -> None:
        self._is_over = True
        self.recorder.running[self.key] -= 1
        if not self.recorder.running[self.key]:
            del self.recorder.running[self.key]

    def end(self, failure: BaseException | None = None) -> None:
        """Records the turn: it failed, or it came to its end, or its client left."""
        if self._is_over:
            return
        self._release()
        if isinstance(failure, GatewayError):
            self._status, self._code = failure.status, failure.code or ""
        elif isinstance(failure, Exception):
            self._status, self._code = 500, "internal_error"
        record = self._record()
        self.recorder.record(record)
        if self._span is not None:
            self._span.end(record)

    def record_left(self, notes: TurnNotes) -> None:
        """Records what an agent took that waited for its client after this request's end, and
        whose client did not come back."""
        left = Meter(
            self.recorder,
            request_id=f"{self.request_id}-left",
            key=self.key,
            key_id=self.key_id,
            dialect=self.dialect,
            model_asked=self.model_asked,
            model=self.model,
            _notes=[notes],
        )
        left.end()

    def _record(self) -> TurnRecord:
        now = time.perf_counter()
        costs = [notes.cost_usd for notes in self._notes if notes.cost_usd is not None]
        split = next((n for n in self._notes if n.upstream_seconds is not None), TurnNotes())
        first = self._first_at
        return TurnRecord(
            id=self.request_id,
            at=self.at,
            key=self.key,
            dialect=self.dialect,
            key_id=self.key_id,
            session_id=self.session.session_id if self.session else None,
            response_id=self.response_id,
            model_asked=self.model_asked[:MOST_NAME],
            model=self.model[:MOST_NAME],
            stream=self.stream,
            answers=self.answers,
            usage=sum((notes.usage for notes in self._notes), Usage()),
            cost_usd=round(sum(costs), 10) if costs else None,
            first_token_ms=None if first is None else _ms(first - self._started),
            queue_ms=_ms(split.queue_seconds),
            process_ms=_ms(split.process_seconds),
            upstream_ms=_ms(split.upstream_seconds),
            duration_ms=_ms(now - self._started) or 0.0,
            status=self._status,
            error=self._code[:64] or None,
            tools=dict(self._tools),
            approvals=[one for notes in self._notes for one in notes.approvals],
            stored_messages=self.session.stored_messages if self.session else 0,
        )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


async def _happened(event: asyncio.Event, seconds: float) -> None:
    """Waits for it that long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
