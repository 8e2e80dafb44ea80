"""What the CLI writes, translated: stream events of the Messages API -> `Event`s, failures ->
the error tree. Sources: https://docs.anthropic.com/en/api/messages-streaming and
`docs/claude-cli.md`, "Where a turn ends" and "Errors".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from claude_agent_sdk import (
    ClaudeSDKError,
    CLIConnectionError,
    CLIJSONDecodeError,
    CLINotFoundError,
    ProcessError,
    ToolResultBlock,
)
from claude_agent_sdk._errors import MessageParseError

from core.conversation import text_block
from core.errors import (
    ClaudeAuthFailed,
    ContextTooLong,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    RateLimited,
    RequestTooLarge,
    UpstreamError,
)
from core.events import (
    BuiltinToolResult,
    BuiltinToolUse,
    Event,
    Started,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)

STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "end_turn",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "refusal": "refusal",
}
CLEAN_STOPS = frozenset({"end_turn", "stop_sequence", "tool_use"})
"""Stops after which the CLI does not call the API again by itself, if anything was visible."""


class AnswerReader:
    """One answer of the model, from `message_start` to the `message_delta` with a stop reason.

    With `answer_tool`, that tool's input is the answer's text, and what else the model says is
    not; the CLI may then ask the API more than once until the model calls it. With `functions`
    only these are the caller's, and the CLI uses all others itself, between one answer and the
    next.
    """

    def __init__(
        self,
        dropped: tuple[str, ...] = (),
        *,
        version: str = "",
        answer_tool: str | None = None,
        functions: frozenset[str] | None = None,
    ) -> None:
        self._dropped = dropped
        self._version = version
        self._answer_tool = answer_tool
        self._functions = functions
        self._own: dict[int, tuple[str, str, list[str]]] = {}
        self._used: set[str] = set()
        self._early: list[BuiltinToolResult] = []
        self._answered = False
        self.started = False
        self._answer_chars = 0
        self._spent = Usage()
        self._counted = Usage()
        self._blocks: dict[int, str] = {}
        self._calls: dict[int, int] = {}
        self._signature = ""
        self.visible = False
        self.stop_reason: StopReason | None = None
        self.stop_sequence: str | None = None

    @property
    def goes_on(self) -> bool:
        """Whether the CLI itself does what this answer asks for: no call is the caller's."""
        return self.stop_reason == "tool_use" and self._functions is not None and not self._calls

    @property
    def usage(self) -> Usage:
        """Of all requests that this answer took; as a rule it is one."""
        return self._spent + self._counted

    def feed(self, event: dict[str, Any]) -> Iterator[Event]:
        match event["type"]:
            case "message_start":
                yield from self._message_started(event["message"])
            case "content_block_start":
                yield from self._block_started(event["index"], event["content_block"])
            case "content_block_delta":
                yield from self._block_grew(event["index"], event["delta"])
            case "content_block_stop":
                yield from self._block_ended(event["index"])
            case "message_delta":
                self._count(event.get("usage") or {})
                self._stopped(event["delta"])
                if self.stop_reason is not None:
                    yield from self._results_so_far()

    def _message_started(self, message: dict[str, Any]) -> Iterator[Event]:
        self._spent, self._counted = self.usage, Usage()
        self.stop_reason = None
        self._count(message.get("usage") or {})
        if not self.started:
            self.started = True
            yield Started(message["model"], self._dropped, self.usage, self._version)

    def _block_started(self, index: int, block: dict[str, Any]) -> Iterator[Event]:
        self._blocks[index] = block["type"]
        if self._answer_tool and block["type"] in ("text", "tool_use"):
            self._blocks[index] = self._structured_kind(block)
        elif block["type"] == "tool_use" and self._is_own(block["name"]):
            self.visible = True
            self._blocks[index] = "own"
            self._own[index] = (block["id"], block["name"], [])
        if self._blocks[index] == "tool_use":
            self.visible = True
            self._calls[index] = len(self._calls)
            yield ToolCallStart(self._calls[index], block["id"], block["name"])
        elif self._blocks[index] == "text" and block.get("text"):
            self.visible = True
            yield TextDelta(block["text"])

    def own_results(self, blocks: Iterable[object]) -> Iterator[BuiltinToolResult]:
        """What own tools gave back, of the content of a user message. The CLI uses a tool while the
        model still writes the next call: results wait for the end of its answer, which they follow
        in the conversation."""
        known = self._used | {use[0] for use in self._own.values()}
        results = [_own_result(block) for block in blocks if isinstance(block, ToolResultBlock)]
        self._early += [result for result in results if result.id in known]
        if self.stop_reason is not None:
            yield from self._results_so_far()

    def _results_so_far(self) -> Iterator[BuiltinToolResult]:
        early, self._early = self._early, []
        yield from early

    def _is_own(self, name: str) -> bool:
        return self._functions is not None and name not in self._functions

    def _structured_kind(self, block: dict[str, Any]) -> str:
        """`answer` for the first call of the answer's tool; `unseen` for another, and for text."""
        if block.get("name") != self._answer_tool:
            return "unseen" if block["type"] == "text" else "tool_use"
        first, self._answered = not self._answered, True
        return "answer" if first else "unseen"

    def _block_grew(self, index: int, delta: dict[str, Any]) -> Iterator[Event]:
        match self._blocks.get(index):
            case "unseen":
                return
            case "own":
                self._own[index][2].append(delta.get("partial_json") or "")
                return
            case "answer":
                if written := delta.get("partial_json"):
                    self._answer_chars += len(written)
                    yield TextDelta(written)
                return
        match delta["type"]:
            case "text_delta" if delta["text"]:
                self.visible = True
                yield TextDelta(delta["text"])
            case "thinking_delta" if delta["thinking"]:
                yield ThinkingDelta(delta["thinking"])
            case "signature_delta":
                self._signature += delta["signature"]
            case "input_json_delta" if delta["partial_json"]:
                yield ToolCallDelta(self._calls[index], delta["partial_json"])

    def _block_ended(self, index: int) -> Iterator[Event]:
        match self._blocks.get(index):
            case "tool_use":
                yield ToolCallEnd(self._calls[index])
            case "own":
                use = _own_use(*self._own.pop(index))
                self._used.add(use.id)
                yield use
            case "answer" if not self._answer_chars:
                yield TextDelta("{}")
            case "thinking":
                yield ThinkingEnd(self._signature)
                self._signature = ""

    def _stopped(self, delta: dict[str, Any]) -> None:
        reason = delta.get("stop_reason")
        if reason is not None:
            self.stop_reason = STOP_REASONS.get(reason, "end_turn")
            if self._answered and not self._calls and self.stop_reason == "tool_use":
                self.stop_reason = "end_turn"
            self.stop_sequence = delta.get("stop_sequence")

    def _count(self, usage: dict[str, Any]) -> None:
        """Later counts replace earlier ones, as the API's are cumulative."""
        details = usage.get("output_tokens_details") or {}
        before = self._counted
        self._counted = Usage(
            _count(usage.get("input_tokens"), before.input_tokens),
            _count(usage.get("cache_read_input_tokens"), before.cache_read_tokens),
            _count(usage.get("cache_creation_input_tokens"), before.cache_write_tokens),
            _count(usage.get("output_tokens"), before.output_tokens),
            _count(details.get("thinking_tokens"), before.reasoning_tokens),
        )


def _own_result(result: ToolResultBlock) -> BuiltinToolResult:
    content: Any = result.content or ()
    parts = [text_block(content)] if isinstance(content, str) else content
    kept = tuple(part for part in parts if part.get("type") in ("text", "image", "document"))
    return BuiltinToolResult(result.tool_use_id, kept, bool(result.is_error))


def _own_use(call_id: str, name: str, written: list[str]) -> BuiltinToolUse:
    """Arguments that are no JSON object are an error, which the result of the use says."""
    try:
        arguments = json.loads("".join(written) or "{}")
    except ValueError:
        arguments = {}
    return BuiltinToolUse(call_id, name, arguments if isinstance(arguments, dict) else {})


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


def usage_of_models(models: Mapping[str, Any]) -> Usage:
    """What a process spent in its life, by the CLI's `modelUsage`: sub-agents included."""
    spent = (
        Usage(
            _count(model.get("inputTokens"), 0),
            _count(model.get("cacheReadInputTokens"), 0),
            _count(model.get("cacheCreationInputTokens"), 0),
            _count(model.get("outputTokens"), 0),
            _count(model.get("thinkingTokens"), 0),
        )
        for model in models.values()
    )
    return sum(spent, Usage())


class StopWatch:
    """Tells, line by line, when a process is about to call the API again although its answer is
    complete: after `max_tokens`, a refusal or an answer that showed nothing. Sees raw lines, so
    that the process can be stopped before anything else is done (the CLI goes on within ms).

    With `own_tools` an answer without a word may be the end of the work, and one that is cut off is
    for the CLI to go on with, unless the caller set the limit."""

    def __init__(self, *, own_tools: bool = False) -> None:
        self._own_tools = own_tools
        self.limited = False
        """Whether the caller set a limit of tokens."""

        self._visible = False
        self.called = False
        """Whether the answer holds a call, which the CLI could make although it is cut off."""

    def must_stop(self, line: dict[str, Any]) -> bool:
        if line.get("type") != "stream_event" or line.get("parent_tool_use_id") is not None:
            return False
        event = line["event"]
        match event["type"]:
            case "message_start":
                self._visible = self.called = False
            case "content_block_start" if event["content_block"]["type"] == "tool_use":
                self._visible = self.called = True
            case "content_block_delta" if event["delta"].get("text"):
                self._visible = True
            case "message_delta":
                return self._is_over(event["delta"].get("stop_reason"))
        return False

    def _is_over(self, reason: str | None) -> bool:
        if reason is None:
            return False
        if self._own_tools:
            return reason == "refusal" or (self.limited and reason not in CLEAN_STOPS)
        return reason not in CLEAN_STOPS or not self._visible


API_PREFIX = re.compile(r"^(.*?API Error: (\d{3} )?)?(Request rejected \(\d{3}\) · )?")
API_MESSAGE = re.compile(r"\{.*\}", re.DOTALL)
CLI_HINTS = re.compile(
    r" · Fix external .*$| If it persists, check .*$| Accumulated images and attachments .*$"
)
"""What the CLI tells the person at its terminal: commands, and the host that it talks to."""

LOG_IN = (
    "Run `python main.py login`, or set ANTHROPIC_API_KEY; /v1/auth/status says what was found."
)


def api_error(
    status: int | None, kind: str | None, text: str, retry_after: float | None
) -> GatewayError:
    """The error for a failed API call: `status` and `kind` are fields of the CLI's messages, and
    only they decide; `text` is what a person reads."""
    message = _api_message(text)
    if status is None and kind == "authentication_failed":
        return ClaudeAuthFailed(f"Claude Code is not logged in. {LOG_IN}")
    match status:
        case None | 400 if "prompt is too long" in message.lower():
            return ContextTooLong(message, param="messages")
        case 400 | 422:
            return InvalidRequest(message)
        case 401 | 403:
            why = message.rstrip(".")
            return ClaudeAuthFailed(f"Claude refused the server's credentials: {why}. {LOG_IN}")
        case 402:
            return ClaudeAuthFailed(f"Claude asks for payment: {message}", code="claude_billing")
        case 404:
            return ModelNotFound(message, param="model")
        case 413:
            return RequestTooLarge(message)
        case 429:
            return RateLimited(message, retry_after=retry_after or 30)
        case 503 | 529:
            return Overloaded(message, retry_after=retry_after or 5)
        case _:
            return UpstreamError(message)


def _api_message(text: str) -> str:
    """The API's own words, without what the CLI puts around them: `API Error: 400 {json}`."""
    text = CLI_HINTS.sub("", API_PREFIX.sub("", text, count=1))
    found = API_MESSAGE.fullmatch(text)
    try:
        return str(json.loads(found.group())["error"]["message"] if found else text)
    except (ValueError, KeyError, TypeError):
        return text


def sdk_error(error: ClaudeSDKError) -> GatewayError:
    """The one place where the SDK's exceptions become ours."""
    match error:
        case CLINotFoundError():
            return UpstreamError(
                "The Claude Code CLI was not found. Reinstall claude-agent-sdk, or set "
                "CLAUDE_CLI_PATH.",
                code="cli_not_found",
            )
        case ProcessError():
            return UpstreamError(f"Claude Code ended unexpectedly (exit code {error.exit_code}).")
        case CLIJSONDecodeError() | MessageParseError():
            return UpstreamError("Claude Code wrote something that is not its protocol.")
        case CLIConnectionError():
            return UpstreamError("The connection to Claude Code was lost.")
        case _:
            return UpstreamError("Claude Code failed.")
