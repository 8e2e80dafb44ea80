"""One Claude Code process, driven by the official SDK: bound once, then turn after turn."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import psutil
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ClaudeSDKError,
    RateLimitEvent,
    ResultMessage,
    StreamEvent,
    SystemMessage,
    ToolResultBlock,
    UserMessage,
)
from claude_agent_sdk import Message as SdkMessage
from claude_agent_sdk.types import McpSdkServerConfig

from core.conversation import JsonObject, Message
from core.errors import McpServerFailed, UpstreamError
from core.events import Event, Finished, StopReason, Usage
from core.turn import ToolGrant
from engine.caller_tools import SERVER_NAME, CallerTools
from engine.cli_events import AnswerReader, StopWatch, api_error, sdk_error, usage_of_models
from engine.cli_protocol import (
    NO_FURTHER_CALL,
    LateSettings,
    assistant_line,
    boundary_line,
    control_line,
    settings_request,
    thinking_request,
    user_line,
)
from engine.extra_body import ANSWER_TOOL
from engine.launch_profile import LaunchProfile
from engine.transport import CliTransport

CONTRACT_TESTED_VERSIONS = frozenset({"2.1.329"})
"""CLI versions on which tests/engine/contract/ passed: only these serve more than one
conversation a process."""

CONTROL_SECONDS = 2.0
MCP_SECONDS = 20.0
MCP_POLL_SECONDS = 0.05

LIMITS: dict[str, StopReason] = {
    "error_max_turns": "max_turns",
    "error_max_budget_usd": "max_budget",
}
"""What the CLI says where a limit of the request ended the turn."""

BAR_AFTER_SECONDS = 0.05
"""Longer than the CLI needs with an upstream that answers at once, shorter than any model."""


class ClaudeWorker:
    """A process, its SDK client and what it remembers. Serves one turn at a time."""

    def __init__(self, transport: CliTransport, own: ToolGrant | None = None) -> None:
        self._transport = transport
        self._own = own
        self._functions: frozenset[str] = frozenset()
        self._client: ClaudeSDKClient | None = None
        self._messages: AsyncIterator[SdkMessage] | None = None
        self._tools: CallerTools | None = None
        self._settings: LateSettings | None = None
        self._stop_watch = StopWatch(own_tools=own is not None)
        self._control_ids = itertools.count(1)
        self._answers: dict[str, asyncio.Future[JsonObject]] = {}
        self._control_error: str | None = None
        self._spoken = False
        self._unsent: list[str] = []
        self._barred = False
        self._bar_holds = False
        self._bar_id = ""
        self._bar_timer: asyncio.TimerHandle | None = None
        self._answers_by_tool = False
        self._profile_digest: str | None = None
        self._process: psutil.Process | None = None
        self._total_cost_usd = 0.0
        self._total_usage = Usage()
        self._retry_after: float | None = None
        self.info: JsonObject = {}
        self.cut_short = False
        """Whether the last answer ended where the CLI would have gone on: what the process
        remembers then is more than the client was told."""

        self.refused = False
        """Whether the last turn came to its result, and that was an error of the API before any
        answer: nothing is left of it but what a boundary sweeps away."""

        self.asked_at: float | None = None
        """When the CLI last turned to the API, in `time.monotonic` seconds."""

        transport.inspect = self._inspect

    @property
    def alive(self) -> bool:
        return self._transport.is_ready()

    @property
    def reusable(self) -> bool:
        """Own tools leave traces that a boundary does not sweep away: files read, shells."""
        return self.tested and self._own is None

    @property
    def tested(self) -> bool:
        return self.info.get("claude_code_version") in CONTRACT_TESTED_VERSIONS

    @property
    def bound(self) -> bool:
        return self._client is not None

    @property
    def model(self) -> str | None:
        """The model that the process was last told to use."""
        return self._settings.model if self._settings else None

    def memory_bytes(self) -> int:
        pid = self._transport.pid
        if pid is None or not self.alive:
            return 0
        with suppress(psutil.Error):
            self._process = self._process or psutil.Process(pid)
            return int(self._process.memory_info().rss)
        return 0

    def describe(self) -> dict[str, Any]:
        return {"pid": self._transport.pid, "model": self.model, "profile": self._profile_digest}

    def was_lost(self, since: float) -> bool:
        """Whether the process ended by itself, and without asking the API since that time."""
        return self._transport.ended_by_itself and (self.asked_at or 0.0) < since

    def kill(self) -> None:
        """Ends the process at once; whoever reads from it gets an error."""
        self._transport.kill()

    async def start(self) -> None:
        """Starts the process, blank; returns when it has loaded and takes requests."""
        try:
            await self._transport.connect()
        except ClaudeSDKError as error:
            raise sdk_error(error) from error

    async def bind(self, profile: LaunchProfile) -> None:
        """Gives the blank process its system prompt and tools. Once in its life."""
        self._profile_digest = profile.digest
        self._functions = frozenset(tool.name for tool in profile.tools)
        servers: dict[str, McpSdkServerConfig] = {}
        if profile.tools:
            self._tools = CallerTools(profile.tools)
            servers[SERVER_NAME] = {
                "type": "sdk",
                "name": SERVER_NAME,
                "instance": self._tools.server(),
            }
        fields: JsonObject = {"systemPrompt": profile.system, "sdkMcpServers": list(servers)}
        if profile.answers_by_tool:
            # Any object: the schema itself travels with each turn, and a wrong answer to it is
            # the caller's to judge; the CLI would ask again, after the answer was shown.
            fields["jsonSchema"] = {"type": "object"}
        self._answers_by_tool = profile.answers_by_tool
        self._transport.initialize_with(**fields)
        options = ClaudeAgentOptions(mcp_servers=dict(servers), verbatim_prompts=True)
        self._client = ClaudeSDKClient(options, transport=self._transport)
        try:
            await self._client.connect()
        except ClaudeSDKError as error:
            raise sdk_error(error) from error
        self.info = await self._client.get_server_info() or {}
        self._messages = self._client.receive_messages()
        if self._own is not None and self._own.mcp_config:
            await self._servers_connected()

    async def _servers_connected(self) -> None:
        """Waits for the MCP servers that were asked for. Raises McpServerFailed: the model would
        answer without that server, as if it had never been there."""
        deadline = time.monotonic() + MCP_SECONDS
        while True:
            answer = await self._control({"subtype": "mcp_status"}) or {}
            states = {
                server["name"]: server["status"]
                for server in answer.get("mcpServers", ())
                if server["name"] != SERVER_NAME
            }
            if "pending" not in states.values() or time.monotonic() > deadline:
                break
            await asyncio.sleep(MCP_POLL_SECONDS)
        if failed := [name for name, status in states.items() if status != "connected"]:
            raise McpServerFailed(failed[0], states[failed[0]])

    async def close(self) -> None:
        self._transport.kill()
        with suppress(Exception):  # the process is dead already; this frees what the SDK holds
            if self._client is not None:
                await self._client.disconnect()
            if isinstance(self._messages, AsyncGenerator):  # else only the collector ends it
                await self._messages.aclose()
        await self._transport.close()

    async def run(
        self,
        messages: tuple[Message, ...],
        settings: LateSettings,
        *,
        fresh: bool,
        dropped: tuple[str, ...] = (),
    ) -> AsyncGenerator[Event, None]:
        """Sends the messages, yields what the model answers; the last event is `Finished`.

        `fresh` forgets what the process remembers. Settings go before the boundary: a change of
        model leaves a notice in the conversation, which the boundary sweeps away.
        """
        try:
            self._apply(settings)
            if fresh and self._spoken:
                self._say(boundary_line())
                if self._tools is not None:
                    self._tools.forget()
            self._spoken = True
            await self._tell(messages, settings.model)
            async for event in self._answer(self._reader(dropped)):
                yield event
        except ClaudeSDKError as error:
            raise sdk_error(error) from error
        finally:
            self._unschedule_bar()

    async def resume(
        self, results: Message, settings: LateSettings, dropped: tuple[str, ...] = ()
    ) -> AsyncGenerator[Event, None]:
        """Gives a held process the results it waits for, and yields what the model goes on to say.

        `results` holds exactly one `tool_result` block for each call of the last answer.
        """
        assert self._tools is not None
        try:
            self._apply(settings)
            await self._flush()
            for block in results.content:
                assert block["type"] == "tool_result"
                self._tools.resolve(block)
                if block is not results.content[-1]:  # or they could overtake each other
                    await self._taken(block["tool_use_id"])
            async for event in self._answer(self._reader(dropped)):
                yield event
        except ClaudeSDKError as error:
            raise sdk_error(error) from error
        finally:
            self._unschedule_bar()

    def _reader(self, dropped: tuple[str, ...]) -> AnswerReader:
        self.cut_short, self.refused, self._retry_after = False, False, None
        version = str(self.info.get("claude_code_version") or "")
        answer_tool = ANSWER_TOOL if self._answers_by_tool else None
        functions = None if self._own is None else self._functions
        return AnswerReader(dropped, version=version, answer_tool=answer_tool, functions=functions)

    async def _taken(self, call_id: str) -> None:
        """Waits until the result of this call is in the conversation."""
        while True:
            match await self._next():
                case UserMessage(content=[ToolResultBlock(tool_use_id=taken)]) if taken == call_id:
                    return

    def _apply(self, settings: LateSettings) -> None:
        if settings == self._settings and not self._barred:
            return
        self._barred = self._bar_holds = False
        self._bar_id = ""  # its answer may still come, and means nothing any more
        before, self._settings = self._settings, settings
        self._stop_watch.limited = bool(settings.max_output_tokens)
        self._ask(settings_request(settings))
        if before is None or before.thinking_tokens != settings.thinking_tokens:
            self._ask(thinking_request(settings))

    async def _tell(self, messages: tuple[Message, ...], model: str) -> None:
        """Replays all but the last message, then asks with the last."""
        for message in messages[:-1]:
            if message.role == "assistant":
                self._say(assistant_line(message, model))
            else:
                self._say(self._user_line(message, ask=False))
                await self._flush()
                await self._joined()
        self._say(self._user_line(messages[-1], ask=True))
        await self._flush()

    def _user_line(self, message: Message, *, ask: bool) -> JsonObject:
        return user_line(message, ask=ask, media=self._own is not None)

    async def _joined(self) -> None:
        """Waits until the replayed user message is in the conversation."""
        while not isinstance(await self._next(), ResultMessage):
            pass

    async def _answer(self, reader: AnswerReader) -> AsyncGenerator[Event, None]:
        failure: str | None = None
        while True:
            match message := await self._next():
                case StreamEvent(event=event, parent_tool_use_id=None):
                    for neutral in reader.feed(event):
                        yield neutral
                    if reader.stop_reason is not None and (done := await self._ended(reader)):
                        yield done
                        return
                case UserMessage(content=list(blocks), parent_tool_use_id=None):
                    for result in reader.own_results(blocks):
                        yield result
                case AssistantMessage(error=str(kind)):
                    failure = kind
                case RateLimitEvent():
                    self._note_limit(message)
                case SystemMessage(subtype="api_retry", data=data):
                    self._note_retry(data)
                case ResultMessage():
                    yield self._result(reader, message, failure)
                    return

    def _bar_soon(self) -> None:
        """Bars at once where a limit was set, else when the answer takes its time: the bar costs
        the CLI some ms, which an answer that comes at once would have to wait for."""
        if self._answers_by_tool or self._own is not None or self._settings is None:
            return  # there the CLI has more than one call to make
        self._unschedule_bar()
        if self._settings.max_output_tokens:
            self._bar()
        else:
            loop = asyncio.get_running_loop()
            self._bar_timer = loop.call_later(BAR_AFTER_SECONDS, self._bar)

    def _unschedule_bar(self) -> None:
        if self._bar_timer is not None:
            self._bar_timer.cancel()
            self._bar_timer = None

    def _bar(self) -> None:
        """Keeps the CLI from calling the API again where an answer may be cut at a limit. The call
        that it is about to make is past that check already, its repetitions after an error too.
        Where this is done in time, the turn comes to its result by itself, with its cost; else
        `StopWatch` tells when to end the process."""
        if self._settings is not None:
            self._barred = True
            self._bar_id = f"gw_{next(self._control_ids)}"
            request = settings_request(self._settings, NO_FURTHER_CALL)
            self._transport.write_soon(control_line(self._bar_id, request))

    async def _next(self) -> SdkMessage:
        """The CLI's next message; its silent end is an error."""
        assert self._messages is not None
        try:
            message = await anext(self._messages)
        except StopAsyncIteration:
            raise UpstreamError("Claude Code ended unexpectedly.") from None
        if self._control_error is not None:
            raise UpstreamError(f"Claude Code refused a setting: {self._control_error}")
        return message

    async def _ended(self, reader: AnswerReader) -> Finished | None:
        """`Finished` where nothing more may be waited for; None where the result follows."""
        reason = reader.stop_reason
        assert reason is not None
        if self._transport.killed:
            return Finished(reason, reader.usage, None, reader.stop_sequence)
        if reason == "tool_use" and not reader.goes_on:
            return await self._finished_so_far(reason, reader.usage)
        return None

    def _result(self, reader: AnswerReader, result: ResultMessage, failure: str | None) -> Finished:
        if self.cut_short and reader.stop_reason is not None:
            return self._finished(reader.stop_reason, reader, result)
        if result.subtype in LIMITS:
            return self._finished(LIMITS[result.subtype], reader, result)
        if result.is_error or failure is not None:
            self.refused = result.api_error_status is not None and not reader.started
            text = result.result or "; ".join(result.errors or []) or "Claude Code failed."
            raise api_error(result.api_error_status, failure, text, self._retry_after)
        if reader.stop_reason is None:
            raise UpstreamError("Claude Code ended the turn without an answer.")
        return self._finished(reader.stop_reason, reader, result)

    def _finished(
        self, reason: StopReason, reader: AnswerReader, result: ResultMessage
    ) -> Finished:
        usage = self._usage(result.model_usage, reader.usage)
        return Finished(reason, usage, self._cost(result.total_cost_usd), reader.stop_sequence)

    def _usage(self, models: Mapping[str, Any] | None, counted: Usage) -> Usage:
        """With own tools, what was added since the last time: no answer that is seen here counts
        what sub-agents ask."""
        if self._own is None:
            return counted
        before = self._total_usage
        self._total_usage = usage_of_models(models) if models else before + counted
        return self._total_usage - before

    def _cost(self, total_usd: float | None) -> float | None:
        """What was added since the last time: the CLI counts over its whole life."""
        if total_usd is None:
            return None
        before, self._total_cost_usd = self._total_cost_usd, total_usd
        return round(max(0.0, total_usd - before), 10)

    async def _finished_so_far(self, reason: StopReason, counted: Usage) -> Finished:
        """For a turn that waits for its tools, which has no result yet."""
        answer = await self._control({"subtype": "get_usage"}) or {}
        session = answer.get("session") or {}
        usage = self._usage(session.get("model_usage"), counted)
        return Finished(reason, usage, self._cost(session.get("total_cost_usd")))

    async def _control(self, request: JsonObject) -> JsonObject | None:
        """The CLI's answer to a control request; None where it does not come in time."""
        request_id = self._ask(request)
        self._answers[request_id] = asyncio.get_running_loop().create_future()
        try:
            await self._flush()
            async with asyncio.timeout(CONTROL_SECONDS):
                return await self._answers[request_id]
        except TimeoutError:
            return None
        finally:
            self._answers.pop(request_id, None)

    def _note_limit(self, message: RateLimitEvent) -> None:
        resets_at = message.rate_limit_info.resets_at
        if resets_at is not None and message.rate_limit_info.status == "rejected":
            self._retry_after = max(1.0, resets_at - time.time())

    def _note_retry(self, data: dict[str, Any]) -> None:
        """The API's `retry-after`, which the CLI tells of only where it tries again itself."""
        delay_ms = data.get("retry_delay_ms")
        if data.get("error_status") in (429, 503, 529) and isinstance(delay_ms, int | float):
            self._retry_after = max(1.0, delay_ms / 1000)

    def _say(self, line: JsonObject) -> None:
        """Adds a line of the conversation to what `_flush` writes, marked as the SDK's
        `verbatim_prompts` marks it: `@` and `/` in it mean nothing."""
        stamped = {**line, "session_id": "default", "client_composed": True}
        self._unsent.append(json.dumps(stamped) + "\n")

    def _ask(self, request: JsonObject) -> str:
        """Adds a control request; its id."""
        request_id = f"gw_{next(self._control_ids)}"
        self._unsent.append(control_line(request_id, request))
        return request_id

    async def _flush(self) -> None:
        """Writes in one piece: each write wakes the process, which then takes the CPU."""
        text, self._unsent = "".join(self._unsent), []
        await self._transport.write(text)

    def _inspect(self, line: dict[str, Any]) -> None:
        """Sees each line the moment it is read."""
        if self._stop_watch.must_stop(line):
            self.cut_short = True
            if not self._bar_holds or self._stop_watch.called:
                self._transport.kill()
        elif line.get("subtype") == "status":
            self.asked_at = time.monotonic()
            if line.get("status") == "requesting":
                self._bar_soon()
        elif line.get("type") == "control_response":
            self._control_answered(line["response"])

    def _control_answered(self, response: dict[str, Any]) -> None:
        request_id = str(response.get("request_id"))
        if not request_id.startswith("gw_"):
            return
        if request_id == self._bar_id:
            self._bar_holds = True
        if response.get("subtype") == "error":
            self._control_error = str(response.get("error"))
        future = self._answers.get(request_id)
        if future is not None and not future.done():
            future.set_result(response.get("response") or {})
