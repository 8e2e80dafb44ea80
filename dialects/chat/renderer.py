"""OpenAI chat completions: `Event`s -> chunks or a body.

Source: https://platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any, assert_never

from core.compact_json import compact, quoted
from core.errors import GatewayError, UpstreamError
from core.events import (
    ApiEvent,
    BuiltinToolResult,
    BuiltinToolUse,
    ChoiceEvent,
    Citation,
    Event,
    Finished,
    OtherBlock,
    Reply,
    Started,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from dialects import chunks, output_format
from dialects.answer_headers import answer_headers
from dialects.chat.activity import Activity
from dialects.chat.request import ChatCall
from dialects.chunks import ChunkWriter
from models import (
    AnswerFunction,
    AnswerMessage,
    AnswerStop,
    AnswerToolCall,
    ChatCompletion,
    Choice,
    ClaudeActivity,
    CompletionUsage,
    FinishReason,
)

FINISH: dict[StopReason, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "empty": "stop",
    "pause_turn": "stop",
    "max_turns": "length",
    "max_budget": "length",
}
STOPS: dict[StopReason, AnswerStop] = {"max_turns": "max_turns", "max_budget": "max_budget"}
TEXT = '[{"index":%d,"delta":{"content":%s},"logprobs":null,"finish_reason":null}]'
REFUSED = "The model refused to answer."

OPENAI_NAMES = {
    "effort": "reasoning_effort",
    "tools": "tools.function.strict",
    "output_config": output_format.STRICT,
}
"""The fields of this API for parameters that a model refused, where they differ."""


@dataclass(slots=True)
class ChatRenderer:
    """The answer to one call: chunks from `feed`, `fail` and `finish`, or one `body`."""

    call: ChatCall
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    _replies: dict[int, Reply] = field(default_factory=dict)
    _activity: Activity | None = None
    _chunks: ChunkWriter = field(init=False)

    def __post_init__(self) -> None:
        self._chunks = ChunkWriter(
            "chat.completion.chunk",
            self.id,
            self.created,
            self.call.turn.model,
            include_usage=self.call.include_usage,
        )
        if self.call.turn.builtin_tools is not None:
            self._activity = Activity(self.call.tool_activity, self.call.turn.builtin_tools)

    def feed(self, item: ChoiceEvent) -> bytes:
        if self._activity is None:
            return self._show(item.choice, item.event)
        shown = self._activity.shown(item.event)
        return b"".join(self._show(item.choice, event, entry) for event, entry in shown)

    def _show(self, choice: int, event: Event | None, entry: ClaudeActivity | None = None) -> bytes:
        reply = self._replies.get(choice) or self._replies.setdefault(choice, Reply())
        delta = None
        if event is not None:
            reply.feed(event)
            if type(event) is TextDelta and entry is None:  # what runs for each token
                return self._chunks.chunk(TEXT % (choice, quoted(event.text)))
            delta = self._delta(event)
        if isinstance(event, Finished):
            refused = {"refusal": REFUSED} if event.reason == "refusal" else {}
            return self._chunk(choice, refused, event)
        if entry is not None:
            delta = {**(delta or {}), "claude_activity": entry.model_dump()}
        return b"" if delta is None else self._chunk(choice, delta)

    def _delta(self, event: Event) -> dict[str, Any] | None:
        match event:
            case Started():
                self._chunks.start(event)
                return {"role": "assistant", "content": "", "refusal": None}
            case TextDelta(text):
                return {"content": text}
            case ThinkingDelta(text):
                return {"reasoning_content": text}
            case ToolCallStart():
                return self._call_start(event)
            case ToolCallDelta(index, text):
                return self._call_delta(index, text)
            case (
                ApiEvent()
                | Citation()
                | OtherBlock()
                | ThinkingEnd()
                | ToolCallEnd()
                | BuiltinToolUse()
                | BuiltinToolResult()
                | Finished()
            ):
                return None
            case _:
                assert_never(event)

    def _call_start(self, event: ToolCallStart) -> dict[str, Any]:
        function = {"name": self.call.names.wire(event.name), "arguments": ""}
        if self.call.legacy_functions:
            return {"function_call": function}
        call = {"index": event.index, "id": event.id, "type": "function", "function": function}
        return {"tool_calls": [call]}

    def _call_delta(self, index: int, text: str) -> dict[str, Any]:
        if self.call.legacy_functions:
            return {"function_call": {"arguments": text}}
        return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}

    def _finish_reason(self, finished: Finished) -> FinishReason:
        reason = FINISH[finished.reason]
        return "function_call" if reason == "tool_calls" and self.call.legacy_functions else reason

    def _chunk(self, choice: int, delta: dict[str, Any], finished: Finished | None = None) -> bytes:
        finish = None if finished is None else self._finish_reason(finished)
        chosen = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}
        if finished is not None and (stop := STOPS.get(finished.reason)):
            chosen["claude_stop_reason"] = stop
        return self._chunks.chunk(compact([chosen]))

    def fail(self, error: GatewayError) -> bytes:
        return chunks.fail(error)

    def finish(self) -> bytes:
        return self._chunks.end(self._usage())

    def _usage(self) -> CompletionUsage:
        return chunks.total_usage(self._replies.values())

    def body(self) -> bytes:
        choices = [self._choice(index, reply) for index, reply in sorted(self._replies.items())]
        answer = ChatCompletion(
            id=self.id,
            created=self.created,
            model=self._chunks.model,
            choices=choices,
            usage=self._usage(),
            system_fingerprint=self._chunks.fingerprint,
        )
        return compact(_wire(answer)).encode()

    def _choice(self, index: int, reply: Reply) -> Choice:
        if reply.finished is None:
            raise UpstreamError("The response ended prematurely.")
        message = AnswerMessage(
            content=reply.text or (None if reply.tool_calls else ""),
            refusal=REFUSED if reply.finished.reason == "refusal" else None,
            reasoning_content=reply.thinking or None,
        )
        calls = [
            AnswerToolCall(
                id=call.id,
                function=AnswerFunction(
                    name=self.call.names.wire(call.name), arguments=call.arguments or "{}"
                ),
            )
            for call in reply.tool_calls
        ]
        if calls and self.call.legacy_functions:
            message.function_call = calls[0].function
        elif calls:
            message.tool_calls = calls
        if self._activity is not None:
            message.claude_activity = list(self._activity.entries.values())
        return Choice(
            index=index,
            message=message,
            finish_reason=self._finish_reason(reply.finished),
            claude_stop_reason=STOPS.get(reply.finished.reason),
        )

    def headers(self) -> dict[str, str]:
        refused = {name for reply in self._replies.values() for name in reply.dropped}
        if not self.call.strict_output:
            refused.discard("output_config")
        dropped = {OPENAI_NAMES.get(name, name) for name in refused}
        is_whole = all(reply.finished for reply in self._replies.values())
        cost_usd = self._usage().cost_usd if is_whole else None
        return answer_headers({*self.call.ignored, *dropped}, cost_usd)


OPTIONAL_KEYS = ("reasoning_content", "tool_calls", "function_call", "claude_activity")


def _wire(answer: ChatCompletion) -> dict[str, Any]:
    """The body with OpenAI's null keys; this server's own keys and calls are left out where
    empty."""
    body = answer.model_dump()
    for choice in body["choices"]:
        for key in OPTIONAL_KEYS:
            if choice["message"][key] is None:
                del choice["message"][key]
        if choice["claude_stop_reason"] is None:
            del choice["claude_stop_reason"]
    if body["usage"]["cost_usd"] is None:
        del body["usage"]["cost_usd"]
    return body
