"""One Claude Code process, driven by the official SDK: bound once, then turn after turn."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
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
)
from claude_agent_sdk import Message as SdkMessage
from claude_agent_sdk.types import McpSdkServerConfig

from cli_events import AnswerReader, StopWatch, api_error, sdk_error
from cli_protocol import (
    LateSettings,
    assistant_line,
    boundary_line,
    control_line,
    settings_request,
    thinking_request,
    user_line,
)
from errors import UpstreamError
from events import Event, Finished, FunctionTool, JsonObject, Message
from tools import SERVER_NAME, CallerTools
from transport import CliTransport

CONTRACT_TESTED_VERSIONS = frozenset({"2.1.329"})
"""CLI versions on which tests/test_contract_*.py passed: only these serve more than one
conversation a process."""

CONTROL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class LaunchProfile:
    """What a process is bound to for life. Never shared between two principals."""

    principal: str
    system: str
    tools: tuple[FunctionTool, ...] = ()


class ClaudeWorker:
    """A process, its SDK client and what it remembers. Serves one turn at a time."""

    def __init__(self, transport: CliTransport) -> None:
        self._transport = transport
        self._client: ClaudeSDKClient | None = None
        self._messages: AsyncIterator[SdkMessage] | None = None
        self._tools: CallerTools | None = None
        self._settings: LateSettings | None = None
        self._stop_watch = StopWatch()
        self._control_ids = itertools.count(1)
        self._answers: dict[str, asyncio.Future[JsonObject]] = {}
        self._control_error: str | None = None
        self._spoken = False
        self._total_cost_usd = 0.0
        self._retry_after: float | None = None
        self.info: JsonObject = {}
        transport.inspect = self._inspect

    @property
    def alive(self) -> bool:
        return self._transport.is_ready()

    @property
    def reusable(self) -> bool:
        return self.info.get("claude_code_version") in CONTRACT_TESTED_VERSIONS

    @property
    def bound(self) -> bool:
        return self._client is not None

    @property
    def model(self) -> str | None:
        """The model that the process was last told to use."""
        return self._settings.model if self._settings else None

    def memory_bytes(self) -> int:
        with suppress(psutil.Error):
            return int(psutil.Process(self._transport.pid).memory_info().rss)
        return 0

    def describe(self) -> dict[str, Any]:
        return {"pid": self._transport.pid, "model": self.model}

    def kill(self) -> None:
        """Ends the process at once; whoever reads from it gets an error."""
        self._transport.kill()

    async def start(self) -> None:
        try:
            await self._transport.connect()
        except ClaudeSDKError as error:
            raise sdk_error(error) from error

    async def bind(self, profile: LaunchProfile) -> None:
        """Gives the blank process its system prompt and tools. Once in its life."""
        servers: dict[str, McpSdkServerConfig] = {}
        if profile.tools:
            self._tools = CallerTools(profile.tools)
            servers[SERVER_NAME] = {
                "type": "sdk",
                "name": SERVER_NAME,
                "instance": self._tools.server(),
            }
        self._transport.initialize_with(systemPrompt=profile.system, sdkMcpServers=list(servers))
        options = ClaudeAgentOptions(mcp_servers=dict(servers), verbatim_prompts=True)
        self._client = ClaudeSDKClient(options, transport=self._transport)
        try:
            await self._client.connect()
        except ClaudeSDKError as error:
            raise sdk_error(error) from error
        self.info = await self._client.get_server_info() or {}
        self._messages = self._client.receive_messages()

    async def close(self) -> None:
        self._transport.kill()
        with suppress(Exception):  # the process is dead already; this frees what the SDK holds
            if self._client is not None:
                await self._client.disconnect()
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
            await self._apply(settings)
            if fresh and self._spoken:
                await self._write([boundary_line()])
                if self._tools is not None:
                    self._tools.forget()
            self._spoken = True
            await self._tell(messages, settings.model)
            async for event in self._answer(AnswerReader(dropped)):
                yield event
        except ClaudeSDKError as error:
            raise sdk_error(error) from error

    async def resume(
        self, results: Message, settings: LateSettings, dropped: tuple[str, ...] = ()
    ) -> AsyncGenerator[Event, None]:
        """Gives a held process the results it waits for, and yields what the model goes on to say.

        `results` holds exactly one `tool_result` block for each call of the last answer.
        """
        assert self._tools is not None
        try:
            await self._apply(settings)
            for block in results.content:
                assert block["type"] == "tool_result"
                self._tools.resolve(block)
            async for event in self._answer(AnswerReader(dropped)):
                yield event
        except ClaudeSDKError as error:
            raise sdk_error(error) from error

    async def _apply(self, settings: LateSettings) -> None:
        if settings == self._settings:
            return
        before, self._settings = self._settings, settings
        await self._control(settings_request(settings))
        if before is None or before.thinking_tokens != settings.thinking_tokens:
            await self._control(thinking_request(settings))

    async def _tell(self, messages: tuple[Message, ...], model: str) -> None:
        """Replays all but the last message, then asks with the last."""
        for message in messages[:-1]:
            if message.role == "assistant":
                await self._write([assistant_line(message, model)])
            else:
                await self._write([user_line(message, ask=False)])
                await self._joined()
        await self._write([user_line(messages[-1], ask=True)])

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
                case AssistantMessage(error=str(kind)):
                    failure = kind
                case RateLimitEvent():
                    self._note_limit(message)
                case ResultMessage():
                    yield self._result(reader, message, failure)
                    return

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
        if reason == "tool_use":
            return Finished(reason, reader.usage, await self._cost_so_far())
        return None

    def _result(self, reader: AnswerReader, result: ResultMessage, failure: str | None) -> Finished:
        if result.is_error or failure is not None:
            text = result.result or "; ".join(result.errors or []) or "Claude Code failed."
            raise api_error(result.api_error_status, failure, text, self._retry_after)
        if reader.stop_reason is None:
            raise UpstreamError("Claude Code ended the turn without an answer.")
        cost = self._cost(result.total_cost_usd)
        return Finished(reader.stop_reason, reader.usage, cost, reader.stop_sequence)

    def _cost(self, total_usd: float | None) -> float | None:
        """What was added since the last time: the CLI counts over its whole life."""
        if total_usd is None:
            return None
        before, self._total_cost_usd = self._total_cost_usd, total_usd
        return round(max(0.0, total_usd - before), 10)

    async def _cost_so_far(self) -> float | None:
        """The cost of a turn that waits for its tools, which has no result yet."""
        request_id = await self._control({"subtype": "get_usage"}, keep_answer=True)
        try:
            async with asyncio.timeout(CONTROL_SECONDS):
                answer = await self._answers[request_id]
            return self._cost(answer["session"]["total_cost_usd"])
        except (TimeoutError, KeyError, TypeError):
            return None
        finally:
            self._answers.pop(request_id, None)

    def _note_limit(self, message: RateLimitEvent) -> None:
        resets_at = message.rate_limit_info.resets_at
        if resets_at is not None and message.rate_limit_info.status == "rejected":
            self._retry_after = max(1.0, resets_at - time.time())

    async def _write(self, lines: Iterable[JsonObject]) -> None:
        assert self._client is not None

        async def stream() -> AsyncIterator[JsonObject]:
            for line in lines:
                yield line

        await self._client.query(stream())

    async def _control(self, request: JsonObject, *, keep_answer: bool = False) -> str:
        request_id = f"gw_{next(self._control_ids)}"
        if keep_answer:
            self._answers[request_id] = asyncio.get_running_loop().create_future()
        await self._transport.write(control_line(request_id, request))
        return request_id

    def _inspect(self, line: dict[str, Any]) -> None:
        """Sees each line the moment it is read."""
        if self._stop_watch.must_stop(line):
            self._transport.kill()
        elif line.get("type") == "control_response":
            self._control_answered(line["response"])

    def _control_answered(self, response: dict[str, Any]) -> None:
        request_id = str(response.get("request_id"))
        if not request_id.startswith("gw_"):
            return
        if response.get("subtype") == "error":
            self._control_error = str(response.get("error"))
        future = self._answers.get(request_id)
        if future is not None and not future.done():
            future.set_result(response.get("response") or {})
