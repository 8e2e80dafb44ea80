"""The engine: a `Turn` becomes lines for a Claude Code process, its messages become `Event`s.

Each turn leases a process from the pool. Where the process that answered last still remembers
just this conversation, only the new message is sent (*continue*), or the results that it waits
for (*hold*). Otherwise any process of the same launch profile takes a boundary and the replayed
history (*reuse*), or a blank one is bound to the profile.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import replace
from pathlib import Path

from config.credentials import Credentials
from config.settings import Settings
from core.conversation import Block, JsonObject, Message, merged, system_text, text_block
from core.errors import GatewayError, InvalidRequest, TurnTimeout, UpstreamError
from core.events import Event, Finished, Reply
from core.transcript import native, shown
from core.turn import ToolGrant, Turn
from engine.catalogue import ModelCatalogue
from engine.cli_protocol import LateSettings, answers_just, late_settings, only_tool_results
from engine.extra_body import answers_by_tool, emulated_stops
from engine.known_models import ModelCard, Price
from engine.launch import Launcher, cli_path
from engine.launch_profile import DEFAULT_PROFILE, LaunchProfile
from engine.leases import LeaseKind, State
from engine.pool import Lease, Pool, PoolLimits
from engine.refusals import Refusals, blamed
from engine.stop_filter import StopFilter
from engine.timings import FirstToken, FirstTokenWatch
from engine.worker import CONTRACT_TESTED_VERSIONS, ClaudeWorker
from engine.written_calls import WrittenCalls

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


class ProcessLost(UpstreamError):
    """A parked process turned out to be dead before it asked the API: another can take the turn."""


class ClaudeEngine:
    """Runs turns on pooled Claude Code processes. An async context manager; while it is open, a
    scratch directory is the working directory of every process."""

    def __init__(self, settings: Settings, credentials: Credentials) -> None:
        self._settings = settings
        self._credentials = credentials
        self._launcher: Launcher | None = None
        self._stack = AsyncExitStack()
        self._refusals = Refusals()
        self._info: JsonObject | None = None
        self._warned = False
        self.first_tokens: deque[FirstToken] = deque(maxlen=100)
        self.pool: Pool[LaunchProfile, ClaudeWorker] = Pool(
            self._make, _limits(settings), kind_of=lambda profile: profile.own_tools
        )

    async def __aenter__(self) -> ClaudeEngine:
        directory = tempfile.TemporaryDirectory(prefix="claude-", ignore_cleanup_errors=True)
        scratch = Path(self._stack.enter_context(directory))
        self._launcher = Launcher(self._settings, self._credentials, scratch)
        await self._stack.enter_async_context(self.pool)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _make(self, own: ToolGrant | None) -> ClaudeWorker:
        assert self._launcher is not None
        if own is None:
            return ClaudeWorker(self._launcher.blank())
        return ClaudeWorker(self._launcher.granted(own), own)

    @property
    def cli_path(self) -> Path:
        """The CLI in use."""
        return cli_path(self._settings)

    async def run(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """The events of one turn: `Started` first, `Finished` last.

        Raises a GatewayError; before `Started` nothing has been shown yet. Closing the generator
        ends the turn and its process at once.
        """
        turn = replace(turn, messages=_conversation(turn))
        if not turn.messages or turn.messages[-1].role != "user":
            raise InvalidRequest("The last message must be the user's.", param="messages")
        again, losses, begun = True, 0, False
        while again:
            again = False
            try:
                async with aclosing(self._attempt(turn)) as events:
                    async for event in events:
                        begun = True
                        yield event
            except InvalidRequest as error:
                again = not begun and self._refusals.learn(self._refusals.adapted(turn), error)
                if not again:
                    error.param = error.param or blamed(turn, error.message)
                    raise
            except ProcessLost:
                losses += 1
                again = not begun and losses < LOSSES
                if not again:
                    raise

    async def _attempt(self, asked: Turn) -> AsyncGenerator[Event, None]:
        turn, dropped = self._refusals.adapted(asked), self._refusals.dropped(asked)
        profile = LaunchProfile.of(
            turn.principal,
            system_text(turn.system) or "",
            turn.tools,
            answers_by_tool=answers_by_tool(turn),
            own_tools=turn.own_tools,
        )
        async with self.pool.lease(profile, _asked_memory(turn)) as lease:
            with self._deadline(lease.worker) as expired:
                try:
                    if not lease.worker.bound:
                        await self._bind(lease.worker, profile)
                    async with aclosing(self._events(lease, turn, dropped)) as events:
                        async for event in events:
                            yield event
                except GatewayError as error:
                    if expired:
                        raise TurnTimeout(
                            f"No answer within {self._settings.timeout_seconds:g} seconds."
                        ) from error
                    if lease.worker.was_lost(lease.leased_at):
                        raise ProcessLost(error.message) from error
                    if lease.worker.refused and lease.worker.reusable:
                        lease.park(None)
                    raise

    @contextmanager
    def _deadline(self, worker: ClaudeWorker) -> Iterator[list[bool]]:
        """Kills the process when the time is over, which ends every wait for it."""
        expired: list[bool] = []

        def expire() -> None:
            expired.append(True)
            worker.kill()

        timer = asyncio.get_running_loop().call_later(self._settings.timeout_seconds, expire)
        try:
            yield expired
        finally:
            timer.cancel()

    async def _bind(self, worker: ClaudeWorker, profile: LaunchProfile) -> None:
        await worker.bind(profile)
        if not worker.tested and not self._warned:
            self._warned = True
            log.warning(
                "Claude Code %s is not one that the contract tests passed on (%s): each process "
                "serves one conversation, which is slower.",
                worker.info.get("claude_code_version"),
                ", ".join(sorted(CONTRACT_TESTED_VERSIONS)),
            )
        self._info = worker.info or self._info

    async def _events(
        self, lease: Lease[ClaudeWorker], turn: Turn, dropped: tuple[str, ...]
    ) -> AsyncGenerator[Event, None]:
        without = self._refusals.without(turn)
        settings = late_settings(turn, without)
        stops = StopFilter(emulated_stops(turn.sampling.stop, without))
        calls = WrittenCalls(turn.calls_as_output)
        reply = Reply()
        watch = FirstTokenWatch(lease, self.first_tokens)
        async with aclosing(_answer(lease, turn, settings, dropped)) as events:
            async for event in events:
                watch.feed(event)
                for shown in _through(calls, stops, event):
                    reply.feed(shown)
                    if stops.hit:
                        lease.worker.kill()  # the model would write on, unseen and paid for
                    if isinstance(shown, Finished):
                        _park(lease, turn, reply, shown)
                    yield shown
                if stops.hit:
                    return

    @property
    def info(self) -> JsonObject | None:
        """What the process that was bound last said of itself, None before the first."""
        return self._info

    async def server_info(self) -> JsonObject | None:
        """What the CLI says of itself when it starts: models, account, version. No API call."""
        if self._info is None:
            async with self.pool.lease(DEFAULT_PROFILE) as lease:
                if not lease.worker.bound:
                    await self._bind(lease.worker, DEFAULT_PROFILE)
                lease.park(lease.remembered)
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


LOSSES = 3
"""Processes in a row that may end by themselves before they ask the API."""

LIMITS = frozenset({"max_turns", "max_budget"})


def _conversation(turn: Turn) -> tuple[Message, ...]:
    """Without any tools the API takes no uses of them: what was said about them stays."""
    has_tools = turn.tools or turn.own_tools is not None
    return merged(turn.messages) if has_tools else shown(turn.messages)


def _asked_memory(turn: Turn) -> str | None:
    """The fingerprint of a process that could go on from where this turn stands."""
    *earlier, last = turn.messages
    history = shown(earlier)
    if not history:
        return None
    calls = {block["id"] for block in history[-1].content if block["type"] == "tool_use"}
    if calls and not answers_just(calls, last.content):
        return None
    return fingerprint(turn.model, history)


def _through(calls: WrittenCalls, stops: StopFilter, event: Event) -> Iterator[Event]:
    for passed in calls.feed(event):
        yield from stops.feed(passed)


def _answer(
    lease: Lease[ClaudeWorker], turn: Turn, settings: LateSettings, dropped: tuple[str, ...]
) -> AsyncGenerator[Event, None]:
    """The shortest clean way to the answer that this lease allows."""
    worker, last = lease.worker, turn.messages[-1]
    if lease.kind == "continue" and only_tool_results(last.content):
        return worker.resume(last, settings, dropped)
    if lease.kind == "continue":
        return worker.run((last,), settings, fresh=False, dropped=dropped)
    return worker.run(native(turn.messages), settings, fresh=True, dropped=dropped)


def _park(lease: Lease[ClaudeWorker], turn: Turn, reply: Reply, finished: Finished) -> None:
    """Keeps the process under what it remembers now; one that was killed is gone anyway."""
    if not lease.worker.alive or finished.reason in LIMITS:
        return
    if turn.own_tools is not None and turn.own_tools.max_budget_usd is not None:
        return  # the budget is that of the whole process
    try:
        answer = answer_message(reply)
    except ValueError:  # arguments that are no JSON: what the process made of them is its secret
        return
    held = finished.reason == "tool_use"
    if turn.calls_as_output:  # it remembers a text where the client will send a call back
        return lease.park(None)
    if lease.worker.cut_short or (answers_by_tool(turn) and reply.text):
        # It remembers a call, or more than was said, where the client will send text back.
        return None if held else lease.park(None)
    lease.park(fingerprint(turn.model, (*shown(turn.messages), answer)), held=held)


def answer_message(reply: Reply) -> Message:
    """The answer as the client will send it back: its text, then its calls."""
    blocks: list[Block] = [text_block(reply.text)] if reply.text else []
    for call in reply.tool_calls:
        blocks.append(
            {
                "type": "tool_use",
                "id": call.id,
                "name": call.name,
                "input": json.loads(call.arguments or "{}"),
            }
        )
    return Message("assistant", tuple(blocks))


def fingerprint(model: str, messages: tuple[Message, ...]) -> str:
    """Names a conversation by what a client sends back of it: roles, text, calls, media.

    What clients commonly change on the way is left out: thinking, how text is cut into parts,
    white space around an answer, the order of parallel calls and of keys in their arguments.
    """
    digest = hashlib.blake2b(model.encode(), digest_size=16)
    for message in messages:
        digest.update(json.dumps([message.role, _remembered(message)], sort_keys=True).encode())
    return digest.hexdigest()


def _remembered(message: Message) -> list[Block]:
    kept: list[Block] = []
    for block in message.content:
        if block["type"] in ("thinking", "redacted_thinking"):
            continue
        if block["type"] == "text" and kept and kept[-1]["type"] == "text":
            kept[-1] = text_block(kept[-1]["text"] + block["text"])
        else:
            kept.append(block)
    return kept if message.role == "user" else _answered(kept)


def _answered(blocks: list[Block]) -> list[Block]:
    """An answer's text without white space around it, then its calls by id."""
    text = "".join(block["text"] for block in blocks if block["type"] == "text").strip()
    calls = [block for block in blocks if block["type"] == "tool_use"]
    return [text_block(text), *sorted(calls, key=lambda call: call["id"])]


def _limits(settings: Settings) -> PoolLimits:
    return PoolLimits(
        max_processes=settings.max_processes,
        warm=settings.pool_warm,
        idle_seconds=settings.pool_idle_seconds,
        hold_seconds=settings.hold_seconds,
        max_uses=settings.pool_max_uses,
        queue_size=settings.queue_size,
        queue_timeout=settings.queue_timeout,
    )
