"""One Claude Code process with built-in tools or MCP servers, started for what a turn was granted.

Its conversation is replayed line by line, since the CLI itself goes on with it: it uses the tools
and asks the model again. Source: `docs/claude-cli.md`, "Native history on a live process" and
"Built-in tools".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    ClaudeSDKError,
    ResultMessage,
    StreamEvent,
    UserMessage,
)
from claude_agent_sdk import Message as SdkMessage

from core.approval import PLAN_TOOL
from core.conversation import JsonObject, Message
from core.errors import GatewayError, McpServerFailed, UpstreamError
from core.events import PARAGRAPH, Event, Finished, StopReason, TextDelta, Usage
from core.turn import ToolGrant
from engine.ask import Ask
from engine.caller_tools import SERVER_NAME, caller_server
from engine.control import (
    UNLIMITED,
    assistant_line,
    body_text,
    boundary_line,
    control_line,
    interrupt_line,
    settings_line,
    user_line,
    withdraw_line,
)
from engine.failures import Failure, sdk_error
from engine.interjections import Interjections
from engine.launch_profile import LaunchProfile
from engine.permission_prompts import PermissionPrompts
from engine.rate_limit_windows import RateLimitWindows
from engine.translate import AnswerReader, usage_of_models
from engine.transport import CliTransport
from engine.worker import CLEAN_STOPS, CliProcess

CONTROL_SECONDS = 2.0
MCP_SECONDS = 20.0
MCP_POLL_SECONDS = 0.05

LIMITS: dict[str, StopReason] = {
    "error_max_turns": "max_turns",
    "error_max_budget_usd": "max_budget",
}
"""What the CLI says where a limit of the request ended the turn."""

BY_INITIALIZE = frozenset({"system", "messages", "tools"})
"""Keys of a body that the CLI has by other ways here, and would add to."""


class AgentWorker(CliProcess):
    """A process for the turns of one grant. It serves again only in the same session, whose traces
    it has: files read, shells."""

    def __init__(
        self,
        transport: CliTransport,
        grant: ToolGrant,
        windows: RateLimitWindows | None = None,
    ) -> None:
        super().__init__(transport, windows)
        self._grant = grant
        self._functions: frozenset[str] = frozenset()
        self._messages: AsyncIterator[SdkMessage] | None = None
        self._answers: dict[str, asyncio.Future[JsonObject]] = {}
        self._refusal: str | None = None
        self._limited = False
        self._cut_short = False
        self._spoken = False
        self._is_done = False
        self._total_usage = Usage()
        self._owner = ""
        self._interrupted = False
        self._interjections = Interjections()
        self._more_results = 0
        self._on_asked: Callable[[], None] = lambda: None
        self._prompts = PermissionPrompts(grant, transport.write_soon)

    @property
    def reusable(self) -> bool:
        """A budget is that of the whole process; and it leaves plan mode once."""
        is_as_before = self._grant.max_budget_usd is None and PLAN_TOOL not in self._grant.tools
        return bool(self._owner) and self.tested and is_as_before

    @property
    def has_successor(self) -> bool:
        """In a session it serves again itself; and a session's directory may be deleted."""
        return not self._owner

    async def start(self) -> None:
        await self._start_process()

    async def bind(self, profile: LaunchProfile) -> None:
        """Gives the process its system prompt and the caller's functions, and waits for the MCP
        servers. Once in its life."""
        self._owner = profile.owner
        self._functions = frozenset(tool.name for tool in profile.functions)
        server = caller_server(profile.functions)
        config = {"type": "sdk", "name": SERVER_NAME, "instance": server}
        servers: Any = {SERVER_NAME: config} if profile.functions else {}
        await self._initialize(profile, servers)
        assert self._client is not None
        self._messages = self._client.receive_messages()
        if self._grant.mcp_config:
            await self._servers_connected()

    async def _servers_connected(self) -> None:
        """Waits for the MCP servers that were asked for. Raises McpServerFailed: the model would
        answer without that server, as if it had never been there."""
        assert self._client is not None
        deadline = time.monotonic() + MCP_SECONDS
        while True:
            answer = await self._client.get_mcp_status()
            states = {
                server["name"]: server["status"]
                for server in answer["mcpServers"]
                if server["name"] != SERVER_NAME
            }
            if "pending" not in states.values() or time.monotonic() > deadline:
                break
            await asyncio.sleep(MCP_POLL_SECONDS)
        if failed := [name for name, status in states.items() if status != "connected"]:
            raise McpServerFailed(failed[0], states[failed[0]])

    def expire(self, error: GatewayError) -> None:
        """Ends the process, and with it every wait for it."""
        self.kill()

    def interrupt(self) -> None:
        """Ends the turn; what it did so far stays. What waits is taken back first: the CLI would
        begin to answer it."""
        self._interrupted = True
        ids = self._interjections.end()
        lines = [withdraw_line(self._next_id(), line_id) for line_id in ids]
        self._transport.write_soon("".join((*lines, interrupt_line(self._next_id()))))

    async def tell(self, text: str) -> bool:
        """Tells the model something while it works. True when it is in the conversation, False
        where the turn ends before; the process then is not used again where it may have it."""
        told = self._interjections.begin(text)
        if told is None:
            return False
        line = user_line([{"type": "text", "text": text}], line_id=told.id)
        self._transport.write_soon(line)
        return await asyncio.shield(told.delivered)

    async def close(self) -> None:
        self._prompts.close()
        self._transport.kill()
        if isinstance(self._messages, AsyncGenerator):  # else only the garbage collector ends it
            with suppress(Exception):
                await self._messages.aclose()
        await super().close()

    async def run(
        self,
        messages: tuple[Message, ...],
        ask: Ask,
        *,
        on_asked: Callable[[], None] = lambda: None,
        on_done: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[Event, None]:
        """Replays all but the last message, asks with the last, and yields what comes of it; the
        last event is `Finished`. A call of the caller's function ends the turn.

        `on_done` is called when the process may serve its session again."""
        self._model, self._is_done, self._cut_short, self._refusal = ask.model, False, False, None
        self._limited, self._interrupted = "max_tokens" in ask.body, False
        self._prompts.approve = ask.approve
        self._on_asked = on_asked
        self._forget_failures()
        reader = AnswerReader(ask.dropped, version=self.version, functions=self._functions)
        finished: Finished | None = None
        try:
            await self._replay(messages, ask)
            async with aclosing(self._answer(reader)) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        finished = event
                        if self._is_done and self.alive:
                            on_done()
                    yield event
        except ClaudeSDKError as error:
            raise sdk_error(error) from error
        finally:
            self._prompts.close()
            self._interjections.end()
            spent = finished or Finished("empty", reader.usage)
            ask.notes.spend(spent.usage, spent.cost_usd)

    async def _replay(self, messages: tuple[Message, ...], ask: Ask) -> None:
        """Settings go before the boundary: a change of model leaves a notice in the conversation,
        which the boundary clears."""
        body = {key: value for key, value in ask.body.items() if key not in BY_INITIALIZE}
        settings = ask.model, body_text(body), UNLIMITED, ask.headers
        lines = [settings_line(self._next_id(), *settings)]
        if self._spoken:
            lines.append(boundary_line())
        self._spoken = True
        for message in messages[:-1]:
            if message.role == "assistant":
                lines.append(assistant_line(message, ask.model))
            else:
                lines.append(user_line(message.content, ask=False))
                await self._transport.write("".join(lines))
                lines = []
                await self._joined()
        self._interjections.open()
        await self._transport.write("".join(lines) + user_line(messages[-1].content))

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
                    if reader.stop_reason == "tool_use" and not reader.goes_on:
                        yield await self._finished_so_far(reader)
                        return
                    if reader.stop_reason is not None and self._transport.killed:
                        yield reader.finished(None)
                        return
                case UserMessage(content=list(blocks), parent_tool_use_id=None):
                    for result in reader.builtin_results(blocks):
                        yield result
                case AssistantMessage(error=str(kind)):
                    failure = kind
                case ResultMessage() if self._more_results:
                    self._more_results -= 1
                    yield TextDelta(PARAGRAPH)
                case ResultMessage():
                    self._is_done = True
                    yield await self._result(reader, message, failure)
                    return

    async def _next(self) -> SdkMessage:
        """The CLI's next message; its silent end is an error."""
        assert self._messages is not None
        try:
            message = await anext(self._messages)
        except StopAsyncIteration:
            raise UpstreamError("Claude Code ended unexpectedly.") from None
        if self._refusal is not None:
            raise UpstreamError(f"Claude Code refused a setting: {self._refusal}")
        return message

    async def _result(
        self, reader: AnswerReader, result: ResultMessage, failure: str | None
    ) -> Finished:
        reason = "pause_turn" if self._interrupted else LIMITS.get(result.subtype)
        if reason is None and not (self._cut_short and reader.stop_reason is not None):
            if result.is_error or failure is not None:
                text = result.result or "; ".join(result.errors or []) or "Claude Code failed."
                raise await self._api_error(Failure(result.api_error_status, failure, text))
            if reader.stop_reason is None:
                raise UpstreamError("Claude Code ended the turn without an answer.")
        usage = self._usage(result.model_usage, reader.usage)
        cost = self._cost(result.total_cost_usd)
        stopped = reason or reader.stop_reason or "end_turn"
        heard = self._interjections.heard
        return Finished(stopped, usage, cost, reader.stop_sequence, heard=heard)

    def _usage(self, models: Mapping[str, Any] | None, counted: Usage) -> Usage:
        """What was added since the last time: no answer that is seen here counts what sub-agents
        ask."""
        before = self._total_usage
        self._total_usage = usage_of_models(models) if models else before + counted
        return self._total_usage - before

    async def _finished_so_far(self, reader: AnswerReader) -> Finished:
        """For a turn that ends with a call of the caller's function, which has no result."""
        answer = await self._control({"subtype": "get_usage"}) or {}
        session = answer.get("session") or {}
        usage = self._usage(session.get("model_usage"), reader.usage)
        cost = self._cost(session.get("total_cost_usd"))
        return Finished("tool_use", usage, cost, heard=self._interjections.heard)

    async def _control(self, request: JsonObject) -> JsonObject | None:
        """The CLI's answer to a control request; None where it does not come in time."""
        request_id = self._next_id()
        self._answers[request_id] = asyncio.get_running_loop().create_future()
        try:
            await self._transport.write(control_line(request_id, request))
            async with asyncio.timeout(CONTROL_SECONDS):
                return await self._answers[request_id]
        except TimeoutError:
            return None
        finally:
            self._answers.pop(request_id, None)

    def _consume(self, message: dict[str, Any]) -> bool:
        """Sees each line the moment it is read; all but answers to its own requests are the SDK's
        to hand on."""
        match message.get("type"):
            case "stream_event" if message.get("parent_tool_use_id") is None:
                if self._must_stop(message["event"]):
                    self._cut_short = True
                    self._transport.kill()
            case "control_response":
                return self._answered(message["response"])
            case "control_request" | "control_cancel_request":
                return self._prompts.consume(message)
            case "command_lifecycle":
                self._interjections.follow(message["command_uuid"], message["state"])
                return True
            case "result":
                self._note_result(message)
            case "system" | "rate_limit_event":
                if message.get("status") == "requesting":
                    self.asked_at = time.monotonic()
                    self._on_asked()
                self._note(message)
        return False

    def _note_result(self, result: JsonObject) -> None:
        """What was told at the last moment the CLI answers next, with a result of its own. After an
        error nobody would wait for that."""
        if self._interjections.waiting and not result.get("is_error"):
            self._more_results += 1
        elif self._interjections.end():
            self._transport.kill()

    def _must_stop(self, event: JsonObject) -> bool:
        """Whether the CLI would ask the model to go on where the caller set a limit, or after a
        refusal. An answer that is cut otherwise, or shows nothing, is the CLI's to go on with."""
        if event["type"] != "message_delta" or not (reason := event["delta"].get("stop_reason")):
            return False
        return reason == "refusal" or (self._limited and reason not in CLEAN_STOPS)

    def _answered(self, response: dict[str, Any]) -> bool:
        request_id = str(response.get("request_id"))
        if not request_id.startswith("gw_"):
            return False
        if response.get("subtype") == "error":
            self._refusal = str(response.get("error"))
        future = self._answers.get(request_id)
        if future is not None and not future.done():
            future.set_result(response.get("response") or {})
        return True
