"""OpenAI chat completions: a `ChatRequest` -> `Turn`, its `Event`s -> chunks or a body.

Source: https://platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import sse
from dialects import chat_messages, chat_output, chat_own_tools, chat_reasoning
from dialects.chat_activity import Activity
from dialects.chat_fields import ACTED_ON, NEUTRAL, WITHOUT_EFFECT
from dialects.chat_reasoning import Traits
from dialects.chat_tools import Names, toolset
from errors import GatewayError, InvalidRequest, UnsupportedParameter, UpstreamError
from events import (
    ApiEvent,
    BuiltinToolResult,
    BuiltinToolUse,
    ChoiceEvent,
    Citation,
    Event,
    Finished,
    OtherBlock,
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
    ToolGrant,
    Turn,
    Usage,
)
from models import (
    AnswerFunction,
    AnswerMessage,
    AnswerStop,
    AnswerToolCall,
    ChatCompletion,
    ChatRequest,
    Choice,
    ClaudeActivity,
    CompletionTokensDetails,
    CompletionUsage,
    FinishReason,
    OwnToolHeaders,
    PromptTokensDetails,
    ToolActivity,
)
from own_tools import ToolRequest

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
RESERVED_NAMES = frozenset({"StructuredOutput"})
"""The name of the CLI's own tool for structured answers."""

OPENAI_NAMES = {
    "effort": "reasoning_effort",
    "tools": "tools.function.strict",
    "output_config": chat_output.STRICT,
}
"""The fields of this API for parameters that a model refused, where they differ."""
HEADER_SAFE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


@dataclass(frozen=True, slots=True)
class ChatCall:
    """One request, understood: the turn to run and how its answer is to be written."""

    turn: Turn
    names: Names
    include_usage: bool
    legacy_functions: bool
    strict_output: bool
    ignored: tuple[str, ...]
    n: int = 1
    seed: int | None = None
    tool_wish: ToolRequest | None = None
    tool_activity: ToolActivity = "reasoning"


def parse(
    request: ChatRequest,
    model: str,
    principal: str,
    card: Traits | None = None,
    session_id: str | None = None,
    headers: OwnToolHeaders | None = None,
) -> ChatCall:
    """`model` is the resolved one, `card` what is known of it. In a session the messages may be
    only what is new. Raises InvalidRequest, naming the field, and ToolsNotAllowed."""
    output = chat_output.read(request.response_format)
    own = chat_own_tools.read(request, headers)
    names = Names(reserved=frozenset() if output.schema is None else RESERVED_NAMES)
    tools = toolset(request, names)
    conversation = chat_messages.read(request.messages, names, whole=session_id is None)
    sampling = _sampling(request)
    reasoning = chat_reasoning.read(
        request,
        card,
        forced_call=tools.choice.type in ("any", "tool"),
        max_tokens=sampling.max_tokens,
    )
    turn = Turn(
        model=model,
        messages=conversation.messages,
        system=conversation.system,
        tools=tools.tools,
        tool_choice=tools.choice,
        sampling=sampling,
        effort=reasoning.effort,
        thinking=reasoning.thinking,
        thinking_tokens=reasoning.tokens if reasoning.thinking else None,
        show_thinking=reasoning.show,
        output_schema=output.schema,
        native_output=output.native,
        principal=principal,
        session_id=session_id,
    )
    ignored = {*_ignored_fields(request), *conversation.ignored}
    ignored |= {*output.ignored, *reasoning.ignored, *own.ignored}
    if session_id is not None:
        _one_answer(request, "in a session")
    if own.wish is not None:
        _one_answer(request, "with Claude Code's own tools")
        _native_output(output)
    takes_seed = session_id is None and own.wish is None
    if not takes_seed and request.seed is not None:
        ignored.add("seed")
    options = request.stream_options
    return ChatCall(
        turn=turn,
        names=names,
        include_usage=bool(options and options.include_usage),
        legacy_functions=tools.legacy,
        strict_output=output.strict,
        ignored=tuple(sorted(name for name in ignored if HEADER_SAFE.fullmatch(name))),
        n=request.n or 1,
        seed=request.seed if takes_seed else None,
        tool_wish=own.wish,
        tool_activity=own.activity,
    )


def _one_answer(request: ChatRequest, where: str) -> None:
    if request.n is not None and request.n > 1:
        raise InvalidRequest(f"`n` must be 1 {where}.", param="n")


def _native_output(output: chat_output.Output) -> None:
    """Else the answer would be a call of a tool that must come last, and none must here."""
    if not output.native:
        raise InvalidRequest(
            "With Claude Code's own tools `response_format` must be a `json_schema` whose objects "
            "list their properties and do not hold themselves.",
            param="response_format",
        )


def grant(call: ChatCall, own: ToolGrant) -> ChatCall:
    """The call with what it was granted of Claude Code's own tools. Raises InvalidRequest where a
    function of the caller's has the name of one: the model would not get that."""
    servers = call.tool_wish.mcp_servers if call.tool_wish else ()
    of_servers = tuple(f"mcp__{name}__" for name in servers)
    for tool in call.turn.tools:
        if tool.name in own.tools or tool.name.startswith(of_servers):
            raise InvalidRequest(
                f"The function {tool.name!r} has the name of a tool of Claude Code's, or of an MCP "
                "server's, that is asked for too.",
                param="tools",
            )
    return replace(call, turn=replace(call.turn, own_tools=own))


def refuse_ignored(call: ChatCall) -> None:
    """Raises UnsupportedParameter for the first field that would have no effect."""
    if call.ignored:
        name = call.ignored[0]
        message = f"`{name}` has no effect here, and STRICT_PARAMETERS is on."
        raise UnsupportedParameter(message, param=name)


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
    _activity: Activity | None = None

    def __post_init__(self) -> None:
        if self.call.turn.own_tools is not None:
            self._activity = Activity(self.call.tool_activity, self.call.turn.own_tools)

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
            system_fingerprint=self._fingerprint,
        )
        return json.dumps(_wire(answer), separators=(",", ":")).encode()

    def _choice(self, index: int, reply: Reply) -> Choice:
        if reply.finished is None:
            raise UpstreamError("The answer has no end.")
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
    """The body with OpenAI's null keys, and without ours and the calls where there are none."""
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
