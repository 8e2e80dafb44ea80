"""OpenAI chat completions: `Event`s -> chunks or a body.

Source: https://platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, assert_never

from core import sse
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
    Usage,
)
from dialects import output_format
from dialects.chat.activity import Activity
from dialects.chat.request import ChatCall
from models import (
    AnswerFunction,
    AnswerMessage,
    AnswerStop,
    AnswerToolCall,
    ChatCompletion,
    Choice,
    ClaudeActivity,
    CompletionTokensDetails,
    CompletionUsage,
    FinishReason,
    PromptTokensDetails,
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
REFUSED = "The model refused to answer."

OPENAI_NAMES = {
    "effort": "reasoning_effort",
    "tools": "tools.function.strict",
    "output_config": output_format.STRICT,
}
"""The fields of this API for parameters that a model refused, where they differ."""


def wire_usage(usage: Usage, cost_usd: float | None) -> CompletionUsage:
    return CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.prompt_tokens + usage.output_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cache_read_tokens),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=usage.reasoning_tokens),
        cost_usd=cost_usd,
    )


@dataclass(slots=True)
class ChatRenderer:
    """The answer to one call: chunks from `feed`, `fail` and `finish`, or one `body`."""

    call: ChatCall
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    _replies: dict[int, Reply] = field(default_factory=dict)
    _activity: Activity | None = None

    def __post_init__(self) -> None:
        if self.call.turn.builtin_tools is not None:
            self._activity = Activity(self.call.tool_activity, self.call.turn.builtin_tools)

    def feed(self, item: ChoiceEvent) -> bytes:
        if self._activity is None:
            return self._show(item.choice, item.event)
        shown = self._activity.shown(item.event)
        return b"".join(self._show(item.choice, event, entry) for event, entry in shown)

    def _show(self, choice: int, event: Event | None, entry: ClaudeActivity | None = None) -> bytes:
        reply = self._replies.setdefault(choice, Reply())
        delta = None
        if event is not None:
            reply.feed(event)
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
        return self._frame([chosen], None)

    def _frame(self, choices: list[dict[str, Any]], usage: CompletionUsage | None) -> bytes:
        chunk: dict[str, Any] = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self._model,
            "choices": choices,
            "system_fingerprint": self._fingerprint,
        }
        if self.call.include_usage:
            chunk["usage"] = usage.model_dump(exclude_none=True) if usage else None
        return sse.data_frame(json.dumps(chunk, separators=(",", ":")).encode())

    @property
    def _model(self) -> str:
        return next((r.model for r in self._replies.values() if r.model), self.call.turn.model)

    @property
    def _fingerprint(self) -> str | None:
        """Of what answers: the model and the CLI's version."""
        reply = next((reply for reply in self._replies.values() if reply.model), None)
        if reply is None:
            return None
        digest = hashlib.blake2b(f"{reply.model} {reply.version}".encode(), digest_size=5)
        return f"fp_{digest.hexdigest()}"

    def fail(self, error: GatewayError) -> bytes:
        """An error after the first chunk: a frame of its own, and the stream ends."""
        return sse.data_frame(json.dumps(error.openai_body()).encode()) + sse.DONE

    def finish(self) -> bytes:
        if not self.call.include_usage:
            return sse.DONE
        return self._frame([], self._usage()) + sse.DONE

    def _usage(self) -> CompletionUsage:
        """Summed over the choices; a cost is only given where it is known for each."""
        finished = [reply.finished for reply in self._replies.values() if reply.finished]
        usage = sum((done.usage for done in finished), Usage())
        costs = [done.cost_usd for done in finished if done.cost_usd is not None]
        known = costs and len(costs) == len(finished)
        return wire_usage(usage, round(sum(costs), 10) if known else None)

    def body(self) -> bytes:
        choices = [self._choice(index, reply) for index, reply in sorted(self._replies.items())]
        answer = ChatCompletion(
            id=self.id,
            created=self.created,
            model=self._model,
            choices=choices,
            usage=self._usage(),
            system_fingerprint=self._fingerprint,
        )
        return json.dumps(_wire(answer), separators=(",", ":")).encode()

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
        headers = {}
        if ignored := sorted({*self.call.ignored, *dropped}):
            headers["x-ignored-parameters"] = ", ".join(ignored)
        if all(reply.finished for reply in self._replies.values()):
            cost = self._usage().cost_usd
            if cost is not None:
                headers["x-claude-cost-usd"] = f"{cost:.10f}".rstrip("0").rstrip(".")
        return headers


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
