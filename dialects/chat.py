"""OpenAI chat completions: a `ChatRequest` -> `Turn`, its `Event`s -> chunks or a body.

Source: https://platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, assert_never

import sse
from dialects import chat_messages
from dialects.chat_tools import Names, toolset
from errors import GatewayError, InvalidRequest, UpstreamError
from events import (
    ChoiceEvent,
    Event,
    Finished,
    Reply,
    Sampling,
    Started,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    Turn,
    Usage,
)
from models import (
    AnswerFunction,
    AnswerMessage,
    AnswerToolCall,
    ChatCompletion,
    ChatRequest,
    Choice,
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
}
ACTED_ON = frozenset(
    [
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "stop",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
    ]
)
WITHOUT_EFFECT = frozenset(
    [
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "metadata",
        "store",
        "service_tier",
        "prediction",
    ]
)
"""Fields that change nothing of an answer: they are taken and not reported."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "verbosity": ("medium",),
}
HEADER_SAFE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


@dataclass(frozen=True, slots=True)
class ChatCall:
    """One request, understood: the turn to run and how its answer is to be written."""

    turn: Turn
    names: Names
    include_usage: bool
    legacy_functions: bool
    ignored: tuple[str, ...]


def parse(request: ChatRequest, model: str, principal: str) -> ChatCall:
    """`model` is the resolved one. Raises InvalidRequest, naming the field."""
    names = Names()
    tools = toolset(request, names)
    conversation = chat_messages.read(request.messages, names)
    turn = Turn(
        model=model,
        messages=conversation.messages,
        system=conversation.system,
        tools=tools.tools,
        tool_choice=tools.choice,
        sampling=_sampling(request),
        principal=principal,
    )
    ignored = {*_ignored_fields(request), *conversation.ignored, *tools.ignored}
    options = request.stream_options
    return ChatCall(
        turn=turn,
        names=names,
        include_usage=bool(options and options.include_usage),
        legacy_functions=tools.legacy,
        ignored=tuple(sorted(name for name in ignored if HEADER_SAFE.fullmatch(name))),
    )


def _sampling(request: ChatRequest) -> Sampling:
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    if len(stop) > 4:
        raise InvalidRequest("There may be at most 4 stop sequences.", param="stop")
    return Sampling(
        max_tokens=request.max_completion_tokens or request.max_tokens,
        temperature=None if request.temperature is None else min(request.temperature, 1.0),
        top_p=request.top_p,
        stop=tuple(text for text in stop if text),
    )


def _ignored_fields(request: ChatRequest) -> set[str]:
    """What was asked for and has no effect: fields we don't act on, and their clamped values."""
    given = {name for name in request.model_fields_set if getattr(request, name, None) is not None}
    given |= {name for name, value in (request.model_extra or {}).items() if value is not None}
    ignored = {
        name
        for name in given - ACTED_ON - WITHOUT_EFFECT
        if getattr(request, name) not in NEUTRAL.get(name, ())
    }
    if request.temperature is not None and request.temperature > 1:
        ignored.add("temperature")
    return ignored


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

    def feed(self, item: ChoiceEvent) -> bytes:
        reply = self._replies.setdefault(item.choice, Reply())
        reply.feed(item.event)
        delta = self._delta(item.event)
        if isinstance(item.event, Finished):
            return self._chunk(item.choice, {}, self._finish_reason(item.event))
        return b"" if delta is None else self._chunk(item.choice, delta, None)

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
            case ThinkingEnd() | ToolCallEnd() | Finished():
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

    def _chunk(self, choice: int, delta: dict[str, Any], finish: FinishReason | None) -> bytes:
        chosen = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._frame([chosen], None)

    def _frame(self, choices: list[dict[str, Any]], usage: CompletionUsage | None) -> bytes:
        chunk: dict[str, Any] = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self._model,
            "choices": choices,
            "system_fingerprint": None,
        }
        if self.call.include_usage:
            chunk["usage"] = usage.model_dump(exclude_none=True) if usage else None
        return sse.data_frame(json.dumps(chunk, separators=(",", ":")).encode())

    @property
    def _model(self) -> str:
        return next((r.model for r in self._replies.values() if r.model), self.call.turn.model)

    def fail(self, error: GatewayError) -> bytes:
        """An error after the first chunk: a frame of its own, and the stream ends."""
        return sse.data_frame(json.dumps(error.body()).encode()) + sse.DONE

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
        )
        return json.dumps(_wire(answer), separators=(",", ":")).encode()

    def _choice(self, index: int, reply: Reply) -> Choice:
        if reply.finished is None:
            raise UpstreamError("The answer has no end.")
        message = AnswerMessage(
            content=reply.text or (None if reply.tool_calls else ""),
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
        return Choice(
            index=index, message=message, finish_reason=self._finish_reason(reply.finished)
        )

    def headers(self) -> dict[str, str]:
        dropped = {name for reply in self._replies.values() for name in reply.dropped}
        headers = {}
        if ignored := sorted({*self.call.ignored, *dropped}):
            headers["x-ignored-parameters"] = ", ".join(ignored)
        if all(reply.finished for reply in self._replies.values()):
            cost = self._usage().cost_usd
            if cost is not None:
                headers["x-claude-cost-usd"] = f"{cost:.10f}".rstrip("0").rstrip(".")
        return headers


OPTIONAL_KEYS = ("reasoning_content", "tool_calls", "function_call")


def _wire(answer: ChatCompletion) -> dict[str, Any]:
    """The body with OpenAI's null keys, and without ours and the calls where there are none."""
    body = answer.model_dump()
    for choice in body["choices"]:
        for key in OPTIONAL_KEYS:
            if choice["message"][key] is None:
                del choice["message"][key]
    if body["usage"]["cost_usd"] is None:
        del body["usage"]["cost_usd"]
    return body
