"""The stream events of the Messages API, as the CLI passes them on -> `Event`s.

Source: https://docs.anthropic.com/en/api/messages-streaming.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from claude_agent_sdk import ToolResultBlock

from core.conversation import JsonObject, text_block
from core.events import (
    ApiEvent,
    BuiltinToolResult,
    BuiltinToolUse,
    Citation,
    Event,
    Finished,
    OtherBlock,
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
    "pause_turn": "pause_turn",
}


class AnswerReader:
    """One answer of the model, from `message_start` to the `message_delta` with a stop reason.

    With `answer_tool`, that tool's input is the answer's text, and what else the model says is not,
    unless it calls nothing.
    With `functions` only these are the caller's, and the CLI uses all other tools itself, between
    one answer and the next. `api_events` puts an `ApiEvent` before what each event means.
    """

    def __init__(
        self,
        dropped: tuple[str, ...] = (),
        *,
        version: str = "",
        answer_tool: str | None = None,
        functions: frozenset[str] | None = None,
        api_events: bool = False,
    ) -> None:
        self._dropped = dropped
        self._version = version
        self._answer_tool = answer_tool
        self._functions = functions
        self._api_events = api_events
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._used: set[str] = set()
        self._early: list[BuiltinToolResult] = []
        self._answered = False
        self._instead: list[str] = []
        self._spent = Usage()
        self._counted = Usage()
        self._details: JsonObject | None = None
        self.started = False
        self.visible = False
        """Whether the answer shows anything: text, or a call."""

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

    def finished(self, cost_usd: float | None) -> Finished:
        assert self.stop_reason is not None
        return Finished(
            self.stop_reason, self.usage, cost_usd, self.stop_sequence, details=self._details
        )

    def feed(self, event: dict[str, Any]) -> Iterator[Event]:
        if self._api_events:
            yield ApiEvent(event)
        match event["type"]:
            case "message_start":
                yield from self._message_started(event["message"])
            case "content_block_start":
                yield from self._block_started(event["index"], event["content_block"])
            case "content_block_delta" if block := self._blocks.get(event["index"]):
                yield from self._block_grew(block, event["delta"])
            case "content_block_stop" if block := self._blocks.pop(event["index"], None):
                yield from self._block_ended(block)
            case "message_delta":
                self._count(event.get("usage") or {})
                self._stopped(event["delta"])
                if self.stop_reason is not None:
                    yield from self._said_instead()
                    yield from self._results_so_far()

    def _message_started(self, message: dict[str, Any]) -> Iterator[Event]:
        self._spent, self._counted = self.usage, Usage()
        self.stop_reason = None
        self._count(message.get("usage") or {})
        if not self.started:
            self.started = True
            yield Started(message["model"], self._dropped, self.usage, self._version)

    def _block_started(self, index: int, content: dict[str, Any]) -> Iterator[Event]:
        block = self._blocks[index] = _Block(self._kind(content), content)
        if block.kind in ("call", "builtin", "answer"):
            self.visible = True
        if block.kind == "call":
            block.call, self._calls = self._calls, self._calls + 1
            yield ToolCallStart(block.call, content["id"], content["name"])
        elif block.kind == "text":
            yield from self._text(content.get("text") or "")
            for citation in content.get("citations") or ():
                yield Citation(citation)

    def _kind(self, content: dict[str, Any]) -> str:
        match content["type"]:
            case "tool_use" if content["name"] == self._answer_tool:
                first, self._answered = not self._answered, True
                return "answer" if first else "unseen"
            case "tool_use":
                is_builtin = self._functions is not None and content["name"] not in self._functions
                return "builtin" if is_builtin else "call"
            case "text":
                return "text"
            case "thinking":
                return "thinking"
            case _:
                return "other"

    def _block_grew(self, block: _Block, delta: dict[str, Any]) -> Iterator[Event]:
        match delta["type"]:
            case "text_delta":
                yield from self._text(delta["text"])
            case "thinking_delta" if delta["thinking"]:
                yield ThinkingDelta(delta["thinking"])
            case "signature_delta":
                block.signature += delta["signature"]
            case "citations_delta" if block.kind == "text":
                yield Citation(delta["citation"])
            case "input_json_delta" if delta["partial_json"]:
                block.written.append(delta["partial_json"])
                if block.kind == "call":
                    yield ToolCallDelta(block.call, delta["partial_json"])
                elif block.kind == "answer":
                    yield TextDelta(delta["partial_json"])

    def _text(self, text: str) -> Iterator[TextDelta]:
        self.visible = self.visible or bool(text)
        if self._answer_tool is not None:
            self._instead.append(text)
        elif text:
            yield TextDelta(text)

    def _said_instead(self) -> Iterator[TextDelta]:
        """The text of an answer that should have come by `answer_tool`, and did not."""
        text, self._instead = "".join(self._instead), []
        if text and not (self._answered or self._calls):
            yield TextDelta(text)

    def _block_ended(self, block: _Block) -> Iterator[Event]:
        match block.kind:
            case "call":
                if not block.written:  # a call without arguments is a call with none
                    yield ToolCallDelta(block.call, json.dumps(block.content.get("input") or {}))
                yield ToolCallEnd(block.call)
            case "builtin":
                self._used.add(block.content["id"])
                yield BuiltinToolUse(block.content["id"], block.content["name"], block.input())
            case "answer" if not block.written:
                yield TextDelta("{}")
            case "thinking":
                yield ThinkingEnd(block.signature or block.content.get("signature") or "")
            case "other":
                yield OtherBlock(
                    {**block.content, "input": block.input()} if block.written else block.content
                )

    def builtin_results(self, blocks: Iterable[object]) -> Iterator[BuiltinToolResult]:
        """What built-in tools returned, of the content of a user message. The CLI uses a tool while
        the model still writes the next call: results wait for the end of its answer, which they
        follow in the conversation."""
        results = [_result(block) for block in blocks if isinstance(block, ToolResultBlock)]
        open_uses = {b.content["id"] for b in self._blocks.values() if b.kind == "builtin"}
        known = self._used | open_uses
        self._early += [result for result in results if result.id in known]
        if self.stop_reason is not None:
            yield from self._results_so_far()

    def _results_so_far(self) -> Iterator[BuiltinToolResult]:
        early, self._early = self._early, []
        yield from early

    def _stopped(self, delta: dict[str, Any]) -> None:
        reason = delta.get("stop_reason")
        if reason is not None:
            self.stop_reason = STOP_REASONS.get(reason, "end_turn")
            if self._answered and not self._calls and self.stop_reason == "tool_use":
                self.stop_reason = "end_turn"
            self.stop_sequence = delta.get("stop_sequence")
            self._details = delta.get("stop_details")

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


class _Block:
    """A content block that is being written."""

    __slots__ = ("call", "content", "kind", "signature", "written")

    def __init__(self, kind: str, content: JsonObject) -> None:
        self.kind = kind
        self.content = content
        self.call = 0
        self.signature = ""
        self.written: list[str] = []

    def input(self) -> JsonObject:
        """Arguments that are not a JSON object are an error, which the result of the use says."""
        try:
            arguments = json.loads("".join(self.written) or "{}")
        except (ValueError, RecursionError):
            return {}
        return arguments if isinstance(arguments, dict) else {}


def _result(result: ToolResultBlock) -> BuiltinToolResult:
    content: Any = result.content or ()
    parts = [text_block(content)] if isinstance(content, str) else content
    kept = tuple(part for part in parts if part.get("type") in ("text", "image", "document"))
    return BuiltinToolResult(result.tool_use_id, kept, bool(result.is_error))


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
