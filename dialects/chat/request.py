"""OpenAI chat completions: a `ChatRequest` -> `Turn`.

Source: https://platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.builtin_tools import STRUCTURED_OUTPUT
from core.errors import InvalidRequest
from core.turn import Sampling, Turn
from dialects import output_format, tool_request
from dialects import reasoning as reasoning_fields
from dialects.base import Call, Context, header_names
from dialects.chat import messages
from dialects.chat.fields import TABLE
from dialects.chat.tools import Toolset, toolset
from dialects.output_format import Output
from dialects.reasoning import Reasoning
from dialects.tool_names import Names
from models import ChatRequest, ToolActivity


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall(Call):
    """A chat request, understood, with how its answer is to be written. `legacy_functions`: calls
    are shown as `function_call`; `strict_output`: the API itself was to hold the answer to its
    schema."""

    names: Names
    include_usage: bool = False
    legacy_functions: bool = False
    strict_output: bool = False
    tool_activity: ToolActivity = "reasoning"


@dataclass(frozen=True, slots=True)
class _Parts:
    """What groups of fields ask for, each read by its own module."""

    output: Output
    asked: tool_request.Asked
    names: Names
    tools: Toolset
    conversation: messages.Conversation
    sampling: Sampling
    reasoning: Reasoning


def parse(request: ChatRequest, context: Context) -> ChatCall:
    """Raises InvalidRequest, naming the field, and ToolsNotAllowed."""
    parts = _parts(request, context)
    turn = _turn(request, parts, context)
    _check(request, parts, context)
    takes_seed = context.session_id is None and parts.asked.tool_request is None
    options = request.stream_options
    return ChatCall(
        turn=turn,
        stream=bool(request.stream),
        n=request.n or 1,
        seed=request.seed if takes_seed else None,
        tool_request=parts.asked.tool_request,
        ignored=header_names(_ignored(request, parts, takes_seed=takes_seed)),
        complete=messages.complete,
        trims_context=request.context == "trim",
        names=parts.names,
        include_usage=bool(options and options.include_usage),
        legacy_functions=parts.tools.legacy,
        strict_output=parts.output.strict,
        tool_activity=parts.asked.activity,
    )


def _parts(request: ChatRequest, context: Context) -> _Parts:
    output = output_format.read(request.response_format)
    asked = tool_request.read(request, context.headers)
    names = Names(reserved=frozenset() if output.schema is None else frozenset({STRUCTURED_OUTPUT}))
    tools = toolset(request, names)
    conversation = messages.read(request.messages, names, whole=context.session_id is None)
    sampling = _sampling(request)
    reasoning = reasoning_fields.read(
        request,
        context.capabilities,
        forced_call=tools.choice.type in ("any", "tool"),
        max_tokens=sampling.max_tokens,
    )
    return _Parts(output, asked, names, tools, conversation, sampling, reasoning)


def _turn(request: ChatRequest, parts: _Parts, context: Context) -> Turn:
    reasoning, output = parts.reasoning, parts.output
    return Turn(
        model=context.model,
        messages=parts.conversation.messages,
        system=parts.conversation.system,
        tools=parts.tools.tools,
        tool_choice=parts.tools.choice,
        sampling=parts.sampling,
        effort=reasoning.effort,
        thinking=reasoning.thinking,
        thinking_tokens=reasoning.tokens if reasoning.thinking else None,
        show_thinking=reasoning.show,
        output_schema=output.schema,
        native_output=output.native,
        json_object=output.json_object,
        principal=context.principal,
        session_id=context.session_id,
        user=_end_user(request),
        cache_hour=request.prompt_cache_retention == "24h",
    )


def _end_user(request: ChatRequest) -> str | None:
    """The client's own name of who asks; the newer field wins."""
    named = (request.safety_identifier, request.user)
    return next((name for name in named if isinstance(name, str) and name), None)


def _check(request: ChatRequest, parts: _Parts, context: Context) -> None:
    if context.session_id is not None:
        _one_answer(request, "in a session")
    if parts.asked.tool_request is not None:
        _one_answer(request, "with Claude Code's built-in tools")
        _native_output(parts.output)


def _ignored(request: ChatRequest, parts: _Parts, *, takes_seed: bool) -> set[str]:
    """What was asked for and has no effect: fields, and values that are clamped."""
    ignored = TABLE.ignored(request) | {*parts.conversation.ignored, *parts.output.ignored}
    ignored |= {*parts.reasoning.ignored, *parts.asked.ignored}
    if request.temperature is not None and request.temperature > 1:
        ignored.add("temperature")
    if request.seed is not None and not takes_seed:
        ignored.add("seed")
    return ignored


def _one_answer(request: ChatRequest, where: str) -> None:
    if request.n is not None and request.n > 1:
        raise InvalidRequest(f"`n` must be 1 {where}.", param="n")


def _native_output(output: output_format.Output) -> None:
    """Else the answer would be a call of a tool that must come last, and none must here."""
    if not output.native:
        raise InvalidRequest(
            "With Claude Code's built-in tools `response_format` must be a `json_schema` whose "
            "objects list their properties and are not recursive.",
            param="response_format",
        )


def _top_p(request: ChatRequest) -> float | None:
    """Without 1, the default, beside a temperature: newer models take one of both only, and many
    clients send all that they show."""
    is_default = request.top_p == 1 and request.temperature is not None
    return None if is_default else request.top_p


def _sampling(request: ChatRequest) -> Sampling:
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    if len(stop) > 4:
        raise InvalidRequest("At most 4 stop sequences are supported.", param="stop")
    return Sampling(
        max_tokens=request.max_completion_tokens or request.max_tokens,
        temperature=None if request.temperature is None else min(request.temperature, 1.0),
        top_p=_top_p(request),
        top_k=request.top_k if isinstance(request.top_k, int) and request.top_k > 0 else None,
        stop=tuple(text for text in stop if text),
    )
