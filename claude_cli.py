"""The engine: a `Turn` becomes one request to a Claude Code process, its messages become `Event`s.

A plain turn takes whatever process is free: the request carries the whole conversation, and the
process remembers nothing of it. A turn with built-in tools has a process that was started for what
it was granted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from pathlib import Path
from typing import Protocol, TypeAlias

from config.credentials import Credentials
from config.large_work import in_turn
from config.scratch import scratch_directory
from config.settings import Settings
from config.sizing import cores
from core.conversation import JsonObject, weighs_more
from core.errors import ClaudeAuthFailed, GatewayError, InvalidRequest, TurnTimeout, UpstreamError
from core.events import Event
from core.notes import TurnNotes
from core.turn import ToolGrant, Turn
from engine.agent_worker import AgentWorker
from engine.ask import Ask
from engine.catalogue import ModelCatalogue
from engine.first_token import FirstToken, FirstTokenWatch
from engine.guardian import Guardian, clear_abandoned
from engine.json_object import JsonObjectText
from engine.key_names import KeyNames, KeyRestorer
from engine.known_models import ModelCard, Price
from engine.launch import Launcher, cli_path
from engine.launch_profile import PLAIN, LaunchProfile
from engine.leases import Lease, LeaseKind, PoolLimits, State
from engine.parameter_support import ParameterSupport, applied, reported
from engine.pool import Pool
from engine.rate_limit_windows import RateLimitWindows
from engine.request import (
    ANSWER_TOOL,
    UNKNOWN_MODEL,
    answers_by_tool,
    bound_system,
    conversation,
    emulated_stops,
    request_body,
)
from engine.stop_sequences import StopFilter
from engine.tested_versions import CONTRACT_TESTED_VERSIONS
from engine.worker import ClaudeWorker

__all__ = [
    "ClaudeEngine",
    "FirstToken",
    "LeaseKind",
    "ModelCard",
    "ModelCatalogue",
    "Price",
    "State",
]

log = logging.getLogger(__name__)

AnyWorker: TypeAlias = ClaudeWorker | AgentWorker

REFUSAL_SECONDS = 300.0
LARGE_CHARACTERS = 256 * 1024
MAX_LOST_PROCESSES = 3
"""Processes in a row that may end by themselves before they ask the API."""


class EventFilter(Protocol):
    """Sees each event of an answer once, in order, and gives what is to be seen of it."""

    def feed(self, event: Event) -> Iterator[Event]: ...


class ProcessLost(UpstreamError):
    """A parked process turned out to be dead before it asked the API: another can take the turn."""


class ClaudeEngine:
    """Runs turns on pooled Claude Code processes. An async context manager; while it is open, a
    scratch directory is the working directory of every process. `principals` says how many may
    come: one of several leaves room to the others."""

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        principals: Callable[[], int] = lambda: 1,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._login = not credentials.bare
        self._launcher: Launcher | None = None
        self._stack = AsyncExitStack()
        self._support = ParameterSupport()
        self._info: JsonObject | None = None
        self._refused: tuple[float, str] | None = None
        self._at_work: dict[tuple[str, str], AgentWorker] = {}
        self.trusted = {*CONTRACT_TESTED_VERSIONS}
        """Versions of Claude Code whose plain processes serve more than one conversation. What an
        agent's process does in its session only the contract tests cover."""

        self.windows = RateLimitWindows()
        self.first_tokens: deque[FirstToken] = deque(maxlen=100)
        self.catalogue = ModelCatalogue(settings, self.server_info, lambda: self._info)
        self.pool: Pool[LaunchProfile, AnyWorker] = Pool(
            self._make,
            _limits(settings, principals),
            common=PLAIN,
            kind_of=lambda profile: profile.grant,
        )

    async def __aenter__(self) -> ClaudeEngine:
        await asyncio.to_thread(clear_abandoned)
        scratch = self._stack.enter_context(scratch_directory())
        await self._stack.enter_async_context(Guardian(scratch))
        self._launcher = Launcher(self._settings, self._credentials, scratch)
        await self._stack.enter_async_context(self.pool)
        self._stack.push_async_callback(self.catalogue.aclose)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _make(self, grant: ToolGrant | None) -> AnyWorker:
        assert self._launcher is not None
        if grant is None:
            plain = self._launcher.plain()
            return ClaudeWorker(plain, self.windows, self.trusted, login=self._login)
        return AgentWorker(self._launcher.granted(grant), grant, self.windows)

    @property
    def cli_path(self) -> Path:
        """The CLI in use."""
        return cli_path(self._settings)

    async def run(self, turn: Turn, notes: TurnNotes | None = None) -> AsyncGenerator[Event, None]:
        """The events of one turn: `Started` first, `Finished` last; what it took goes into `notes`.

        Raises a GatewayError; before `Started` nothing has been shown yet. Closing the generator
        ends the turn and its question to the API at once.
        """
        without, losses, begun = self._support.unsupported(turn), 0, False
        notes = notes or TurnNotes()
        while True:
            try:
                async with aclosing(self._attempt(turn, without, notes)) as events:
                    async for event in events:
                        begun = True
                        self._refused = None
                        yield event
                return
            except ClaudeAuthFailed as error:
                self._refused = time.monotonic(), error.message
                hint = self._credentials.refusal_hint
                raise ClaudeAuthFailed(f"{error.message} {hint}") from error
            except InvalidRequest as error:
                more = frozenset() if begun else self._support.record(turn, without, error)
                if not more:
                    raise
                without |= more
            except ProcessLost:
                losses += 1
                if begun or losses == MAX_LOST_PROCESSES:
                    raise

    @property
    def refusal(self) -> str | None:
        """What the provider said when it refused the credentials; None once it took them again, and
        after a while, so that a server that is not ready for it is tried again."""
        if self._refused is None or time.monotonic() - self._refused[0] > REFUSAL_SECONDS:
            return None
        return self._refused[1]

    async def _attempt(
        self, asked: Turn, without: frozenset[str], notes: TurnNotes
    ) -> AsyncGenerator[Event, None]:
        names = KeyNames(asked)
        turn = names.apply(applied(asked, without))
        profile = self._profile(turn)
        async with self.pool.lease(profile, turn.principal) as lease:
            with (
                self._deadline(lease.worker, turn.builtin_tools) as expired,
                self._interruptible(lease.worker, turn),
            ):
                try:
                    await self._bind(lease.worker, profile)
                    events = self._events(lease, turn, names, without, notes)
                    async with aclosing(events):
                        async for event in events:
                            yield event
                except GatewayError as error:
                    if expired:
                        raise expired[0] from error
                    if lease.worker.was_lost(lease.leased_at):
                        raise ProcessLost(error.message) from error
                    raise

    def _profile(self, turn: Turn) -> LaunchProfile:
        if turn.builtin_tools is None and not self._login:
            return PLAIN
        system = bound_system(turn, self.catalogue.card(turn.model))
        if turn.builtin_tools is None:
            return LaunchProfile(system)
        home = turn.session_id if turn.builtin_tools.directory else None
        owner = f"{turn.principal} {home}" if home else ""
        return LaunchProfile.of_grant(turn.builtin_tools, system, turn.tools, owner)

    @contextmanager
    def _deadline(self, worker: AnyWorker, grant: ToolGrant | None) -> Iterator[list[TurnTimeout]]:
        """Ends the turn when its time is over, and with it every wait."""
        expired: list[TurnTimeout] = []
        seconds = self._settings.timeout_seconds
        if grant is not None and grant.timeout_seconds is not None:
            seconds = min(seconds, grant.timeout_seconds)

        def expire() -> None:
            expired.append(TurnTimeout(f"No answer within {seconds:g} seconds."))
            worker.expire(expired[0])

        timer = asyncio.get_running_loop().call_later(seconds, expire)
        try:
            yield expired
        finally:
            timer.cancel()

    @contextmanager
    def _interruptible(self, worker: AnyWorker, turn: Turn) -> Iterator[None]:
        """Meanwhile `interrupt` finds the agent of a session's turn."""
        if turn.session_id is None or not isinstance(worker, AgentWorker):
            yield
            return
        key = (turn.principal, turn.session_id)
        self._at_work[key] = worker
        try:
            yield
        finally:
            if self._at_work.get(key) is worker:
                del self._at_work[key]

    def interrupt(self, principal: str, session_id: str) -> bool:
        """Ends the turn of an agent in this session, with what it did so far as its answer; False
        where none is at work here."""
        worker = self._at_work.get((principal, session_id))
        if worker is not None:
            worker.interrupt()
        return worker is not None

    async def tell(self, principal: str, session_id: str, text: str) -> bool | None:
        """Tells the agent that is at work in this session something, and waits until the model has
        it; False where its turn ends before, None where none is at work here. Raises
        SessionBusy."""
        worker = self._at_work.get((principal, session_id))
        return None if worker is None else await worker.tell(text)

    async def _bind(self, worker: AnyWorker, profile: LaunchProfile) -> None:
        if not worker.bound:
            await worker.bind(profile)
        self._info = worker.info or self._info

    async def _events(
        self,
        lease: Lease[AnyWorker],
        turn: Turn,
        names: KeyNames,
        without: frozenset[str],
        notes: TurnNotes,
    ) -> AsyncGenerator[Event, None]:
        stops = StopFilter(emulated_stops(turn.sampling.stop, without))
        filters = _filters(turn, names, stops)
        watch = FirstTokenWatch(lease, self.first_tokens, notes)
        async with aclosing(await self._asked(lease, turn, without, notes)) as events:
            async for event in events:
                watch.feed(event)
                if not filters:
                    yield event
                    continue
                for shown in _through(event, filters):
                    yield shown
                if stops.hit:  # the model would write on, unseen and paid for
                    return

    async def _asked(
        self, lease: Lease[AnyWorker], turn: Turn, without: frozenset[str], notes: TurnNotes
    ) -> AsyncGenerator[Event, None]:
        is_large = weighs_more(turn.messages, LARGE_CHARACTERS)
        if is_large:  # so that the event loop does not wait for it
            body = await in_turn(self._body, turn, without)
        else:
            body = self._body(turn, without)
        ask = Ask(
            turn.model,
            body,
            is_large=is_large,
            headers=self._headers(turn),
            answer_tool=ANSWER_TOOL if answers_by_tool(turn) else None,
            dropped=reported(turn, without),
            api_events=turn.api_events,
            notes=notes,
            approve=turn.approve,
        )
        worker = lease.worker
        if isinstance(worker, AgentWorker):
            messages = conversation(turn, self.catalogue.card(turn.model) or UNKNOWN_MODEL)
            return worker.run(messages, ask, on_asked=lease.asked, on_done=lease.park)
        return worker.run(ask, on_asked=lease.asked, on_done=lease.park)

    def _headers(self, turn: Turn) -> str | None:
        """Where turns are traced each has its own: the process was used by another."""
        own = self._settings.anthropic_custom_headers or ""
        return "\n".join(filter(None, (own, turn.trace))) if self._settings.tracing else None

    def preview(self, turn: Turn) -> JsonObject:
        """The body that `run` would ask with, but for what the model is known to refuse."""
        return self._body(KeyNames(turn).apply(turn), frozenset())

    def _body(self, turn: Turn, without: frozenset[str]) -> JsonObject:
        return request_body(
            turn,
            self.catalogue.card(turn.model),
            without,
            login=self._login,
            default_effort=self._settings.default_effort,
        )

    @property
    def info(self) -> JsonObject | None:
        """What the process that was used last said of itself, None before the first."""
        return self._info

    async def server_info(self) -> JsonObject | None:
        """What the CLI says of itself when it starts: models, account, version. No API call."""
        if self._info is None:
            async with self.pool.lease(PLAIN) as lease:
                await self._bind(lease.worker, PLAIN)
                lease.park()
        return self._info

    async def ready(self) -> str | None:
        """None where a process can start, else the reason why not."""
        if not self.cli_path.is_file():
            return f"The Claude Code CLI was not found at {self.cli_path.name}."
        try:
            async with asyncio.timeout(30):
                await self.server_info()
        except TimeoutError:
            return "Claude Code did not start within 30 seconds."
        except GatewayError as error:
            return error.message
        return None


def _filters(turn: Turn, names: KeyNames, stops: StopFilter) -> list[EventFilter]:
    """What this turn's events pass through, in order: as a rule nothing."""
    filters: list[EventFilter] = []
    if turn.json_object:
        filters.append(JsonObjectText())
    if names:
        filters.append(KeyRestorer(names, json_text=turn.output_schema is not None))
    return [*filters, stops] if stops else filters


def _through(event: Event, filters: Iterable[EventFilter]) -> list[Event]:
    """What the filters make of an event, one after the other."""
    events: list[Event] = [event]
    for each in filters:
        events = [passed for before in events for passed in each.feed(before)]
    return events


def _limits(settings: Settings, principals: Callable[[], int]) -> PoolLimits:
    return PoolLimits(
        max_processes=settings.max_processes,
        max_per_principal=settings.max_processes_per_key,
        principals=principals,
        warm=settings.pool_warm,
        idle_seconds=settings.pool_idle_seconds,
        max_uses=settings.pool_max_uses,
        max_starting=cores(),
        max_preparing=cores() + 1,
        queue_size=settings.queue_size,
        queue_timeout=settings.queue_timeout,
    )
