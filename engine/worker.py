"""One Claude Code process, driven by the official SDK: any conversation, turn after turn.

A plain turn is one write: the settings line that carries the whole body of the request, the
boundary, and a user line that says just `.`. Then the API's events come until the result. Source:
`docs/claude-cli.md`, "The whole body".
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable, Container
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

import anyio
import psutil
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ClaudeSDKError
from claude_agent_sdk.types import McpSdkServerConfig

from config.large_work import in_turn
from core.conversation import JsonObject
from core.errors import GatewayError, InvalidRequest, UpstreamError
from core.events import Event
from engine.ask import Ask
from engine.control import (
    NO_CALL,
    PROMPT,
    asking_line,
    body_text,
    boundary_line,
    interrupt_line,
    settings_line,
    user_line,
)
from engine.failures import Failure, api_error, is_api_error_line, logged_message, sdk_error
from engine.launch_profile import LaunchProfile
from engine.rate_limit_windows import RateLimitWindows
from engine.running_turn import RunningTurn, TurnFailed
from engine.tested_versions import CONTRACT_TESTED_VERSIONS
from engine.translate import AnswerReader
from engine.transport import CliTransport

PROMPT_LIMIT: Final = "25"
"""Lets `PROMPT` pass and blocks every further call of the CLI's own, which would count the answer
too: after `max_tokens`, a refusal, an empty answer."""

LOGIN_PROMPT_LIMIT: Final = "800"
"""Under a login the CLI counts its reminders (some 310 tokens) before the first call."""

INTERRUPT_SECONDS = 0.3
WORDS_SECONDS = 0.1
AHEAD_EVENTS = 20_000
"""What waits for a slow client. Beyond it the process is slowed down, which no answer of today's
models comes to: what waits is put together."""

CLEAN_STOPS = frozenset({"end_turn", "stop_sequence", "tool_use", "pause_turn"})
"""Stops after which the CLI does not call the API again by itself, if anything was visible."""


class CliProcess:
    """What every worker is: a process, its SDK client, and what the CLI says beside an answer. Of a
    version that is not `trusted` it serves one conversation."""

    def __init__(
        self,
        transport: CliTransport,
        windows: RateLimitWindows | None = None,
        trusted: Container[str] = CONTRACT_TESTED_VERSIONS,
    ) -> None:
        self._transport = transport
        self._windows = windows or RateLimitWindows()
        self._trusted = trusted
        self._client: ClaudeSDKClient | None = None
        self._control_ids = itertools.count(1)
        self._process: psutil.Process | None = None
        self._profile_digest: str | None = None
        self._model: str | None = None
        self._total_cost_usd = 0.0
        self._retry_after: float | None = None
        self._words: str | None = None
        self._words_came = asyncio.Event()
        self.info: JsonObject = {}
        self.asked_at: float | None = None
        """When the CLI last turned to the API, in `time.monotonic` seconds."""

        transport.consume = self._consume
        transport.on_log_line = self._note_words

    @property
    def alive(self) -> bool:
        return self._transport.is_ready()

    @property
    def tested(self) -> bool:
        return self.version in self._trusted

    @property
    def version(self) -> str:
        return str(self.info.get("claude_code_version") or "")

    @property
    def bound(self) -> bool:
        return self._client is not None

    def memory_bytes(self) -> int:
        pid = self._transport.pid
        if pid is None or not self.alive:
            return 0
        with suppress(psutil.Error):
            self._process = self._process or psutil.Process(pid)
            return int(self._process.memory_info().rss)
        return 0

    def describe(self) -> dict[str, Any]:
        return {"pid": self._transport.pid, "model": self._model, "profile": self._profile_digest}

    def was_lost(self, since: float) -> bool:
        """Whether the process ended by itself, and without asking the API since that time."""
        return self._transport.ended_by_itself and (self.asked_at or 0.0) < since

    def kill(self) -> None:
        """Ends the process at once; readers get an error."""
        self._transport.kill()

    async def close(self) -> None:
        self._transport.kill()
        try:
            with suppress(Exception):  # the process is dead already; this frees what the SDK holds
                if self._client is not None:
                    await self._client.disconnect()
        finally:
            await self._transport.close()

    async def _start_process(self) -> None:
        try:
            await self._transport.connect()
        except ClaudeSDKError as error:
            raise sdk_error(error) from error

    async def _initialize(
        self, profile: LaunchProfile, servers: dict[str, McpSdkServerConfig] | None = None
    ) -> None:
        """Gives the blank process its system prompt and MCP servers. Once in its life."""
        self._profile_digest = profile.digest
        names = list(servers or ())
        self._transport.initialize_with(**profile.instructions(), sdkMcpServers=names)
        options = ClaudeAgentOptions(mcp_servers=dict(servers or {}), verbatim_prompts=True)
        self._client = ClaudeSDKClient(options, transport=self._transport)
        try:
            await self._client.connect()
        except ClaudeSDKError as error:
            raise sdk_error(error) from error
        self.info = await self._client.get_server_info() or {}

    def _consume(self, message: dict[str, Any]) -> bool:
        raise NotImplementedError

    def _note(self, message: dict[str, Any]) -> None:
        """What the CLI says beside an answer: limits, and its own retries, of which each has the
        API's `retry-after`."""
        if message["type"] == "rate_limit_event":
            self._windows.note(message.get("rate_limit_info") or {})
        elif message.get("subtype") == "api_retry":
            delay_ms = message.get("retry_delay_ms")
            if message.get("error_status") in (429, 503, 529) and isinstance(delay_ms, int | float):
                self._retry_after = max(1.0, delay_ms / 1000)

    def _note_words(self, line: str) -> bool:
        if (message := logged_message(line)) is not None:
            self._words = message
            self._words_came.set()
        return is_api_error_line(line)

    def _forget_failures(self) -> None:
        self._retry_after, self._words = None, None
        self._words_came.clear()

    async def _api_error(self, failure: Failure) -> GatewayError:
        """The error in the API's own words, which come by another pipe than the result."""
        if failure.status not in (None, 404):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._words_came.wait(), WORDS_SECONDS)
        seconds = self._retry_after
        if failure.status == 429:
            seconds = self._windows.retry_after() or seconds
        return api_error(replace(failure, message=self._words, retry_after=seconds))

    def _cost(self, total_usd: float | None) -> float | None:
        """What was added since the last time: the CLI counts over its whole life."""
        if total_usd is None:
            return None
        before, self._total_cost_usd = self._total_cost_usd, total_usd
        return round(max(0.0, total_usd - before), 10)

    def _next_id(self) -> str:
        return f"gw_{next(self._control_ids)}"


class ClaudeWorker(CliProcess):
    """A process without tools, which serves any conversation. One turn at a time.

    Under a `login` it is bound to a system prompt (`bind`); else it is ready when it has started.
    """

    def __init__(
        self,
        transport: CliTransport,
        windows: RateLimitWindows | None = None,
        trusted: Container[str] = CONTRACT_TESTED_VERSIONS,
        *,
        login: bool = False,
    ) -> None:
        super().__init__(transport, windows, trusted)
        self._login = login
        self._limit = LOGIN_PROMPT_LIMIT if login else PROMPT_LIMIT
        self._turn: RunningTurn | None = None
        transport.on_end = self._ended

    has_successor = False

    @property
    def reusable(self) -> bool:
        return self.tested

    async def start(self) -> None:
        """Starts the process; returns when it takes turns as fast as it ever will."""
        await self._start_process()
        if not self._login:
            await self._initialize(LaunchProfile())
            await self._warm_up()

    async def bind(self, profile: LaunchProfile) -> None:
        """Gives the process the system prompt of a login's turns."""
        await self._initialize(profile)

    async def _warm_up(self) -> None:
        """Takes a turn all the way but for the call: the first real one then is twice as fast."""
        turn = self._turn = RunningTurn(AnswerReader(), lambda: None, lambda: None)
        self._transport.write_soon(
            settings_line(turn.settings_id, "sonnet", body_text({"messages": []}), NO_CALL)
            + user_line(PROMPT)
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(turn.over.wait(), 10)
        if not turn.over.is_set() or not self.alive:
            raise UpstreamError("Claude Code does not answer.")

    async def run(
        self,
        ask: Ask,
        *,
        on_asked: Callable[[], None] = lambda: None,
        on_done: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[Event, None]:
        """Asks, and yields what the model answers; the last event is `Finished`.

        `on_asked` is called when the CLI turns to the API, `on_done` when the process is free for
        another turn, which may be before the last event is taken. Closing the generator early
        interrupts the answer; where that takes too long the process is killed.
        """
        reader = AnswerReader(
            ask.dropped,
            version=self.version,
            answer_tool=ask.answer_tool,
            api_events=ask.api_events,
        )
        turn = RunningTurn(reader, on_asked, on_done, settings_id=self._next_id())
        try:
            lines = await self._lines(turn, ask)
        except InvalidRequest:
            on_done()  # nothing was written
            raise
        self._turn, self._model = turn, ask.model
        self._forget_failures()
        try:
            await self._transport.write(lines)
            while (event := await turn.next()) is not None:
                self._read_on(turn)
                yield event
        except TurnFailed as failed:
            raise await self._api_error(failed.failure) from None
        except ClaudeSDKError as error:
            raise sdk_error(error) from error
        finally:
            if not turn.over.is_set():
                await self._interrupt(turn)
            ask.notes.spend(reader.usage, turn.cost_usd)

    def expire(self, error: GatewayError) -> None:
        """Ends the turn with this error; a process without a turn ends itself."""
        if self._turn is not None:
            self._turn.fail(error)
        else:
            self.kill()

    async def _lines(self, turn: RunningTurn, ask: Ask) -> str:
        line = partial(asking_line, turn.settings_id, ask, self._limit)
        settings = await in_turn(line) if ask.is_large else line()
        return settings + boundary_line() + user_line(PROMPT)

    async def _interrupt(self, turn: RunningTurn) -> None:
        """Ends the call of the API at once, and keeps the process where that is seen to work."""
        turn.discard()
        self._transport.resume()
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(INTERRUPT_SECONDS):
                await turn.asked.wait()  # before it, an interrupt would meet nothing
                self._transport.write_soon(interrupt_line(self._next_id()))
                await turn.over.wait()
        if not turn.over.is_set():
            self._turn = None
            self.kill()

    def _read_on(self, turn: RunningTurn) -> None:
        if turn.waiting <= AHEAD_EVENTS // 2:
            self._transport.resume()

    def _ended(self) -> None:
        if self._turn is not None:
            self._turn.fail(UpstreamError("Claude Code ended unexpectedly."), is_over=True)

    def _consume(self, message: dict[str, Any]) -> bool:
        """Takes all but the control protocol, the moment it is read."""
        match message.get("type"):
            case "stream_event":
                self._stream(message)
            case "control_response":
                return self._confirmed(message["response"])
            case "control_request":
                return False
            case "result":
                self._result(message)
            case "assistant":
                if self._turn is not None and "error" in message:
                    self._turn.kind = str(message["error"])
            case "system" | "rate_limit_event":
                if message.get("status") == "requesting":
                    self._asked()
                self._note(message)
        return True

    def _asked(self) -> None:
        self.asked_at = time.monotonic()
        if self._turn is not None and not self._turn.asked.is_set():
            self._turn.asked.set()
            self._turn.on_asked()

    def _confirmed(self, response: dict[str, Any]) -> bool:
        """The answer to a request of this worker's; others are the SDK's."""
        request_id, turn = str(response.get("request_id")), self._turn
        if turn is not None and request_id == turn.settings_id:
            turn.confirmed = response.get("subtype") == "success"
            if not turn.confirmed:
                self._distrust("Claude Code refused the request's settings.")
        if turn is not None and request_id == turn.block_id:
            turn.blocked = response.get("subtype") == "success"
        return request_id.startswith("gw_")

    def _distrust(self, why: str) -> None:
        """What the process would answer may be another request's."""
        if self._turn is not None:
            self._turn.fail(UpstreamError(why))
            self._turn.discard()
        self.kill()

    def _stream(self, message: dict[str, Any]) -> None:
        turn = self._turn
        if turn is None or message.get("parent_tool_use_id") is not None:
            return
        if not turn.confirmed:
            self._distrust("Claude Code answered before it had taken the request's settings.")
            return
        turn.put(message["event"])
        if turn.waiting > AHEAD_EVENTS:
            self._transport.pause()
        if self._login:
            self._guard(turn, message["event"])

    def _guard(self, turn: RunningTurn, event: JsonObject) -> None:
        """Under a login the limit may let a second call pass where the first was tiny: it is
        blocked while the answer is written. Where that was not confirmed in time, and after an
        answer that shows nothing, which no limit counts, the process is killed before it calls."""
        reader = turn.reader
        is_tiny = reader.usage.prompt_tokens < int(self._limit)
        if event["type"] == "message_start":
            turn.block_id = self._next_id()
            self._transport.write_soon(settings_line(turn.block_id, self._model or "", "", NO_CALL))
        is_cut = is_tiny and reader.stop_reason not in CLEAN_STOPS and not turn.blocked
        if reader.stop_reason and (is_cut or not reader.visible):
            turn.finish(None)
            self.kill()

    def _result(self, message: dict[str, Any]) -> None:
        turn, self._turn = self._turn, None
        if turn is None or turn.over.is_set():
            return
        cost, was_asked = self._cost(message.get("total_cost_usd")), turn.asked.is_set()
        turn.cost_usd = cost
        if turn.reader.stop_reason is not None:
            turn.finish(cost)
        else:
            status = message.get("api_error_status")
            text = message.get("result") or "; ".join(message.get("errors") or ())
            turn.fail(TurnFailed(Failure(status, turn.kind, text)), is_over=True)
        if turn.confirmed and (was_asked or turn.is_discarded):
            turn.on_done()
