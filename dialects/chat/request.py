"""OpenAI chat completions: a `ChatRequest` -> `Turn`.

Source: https://platform.openai.com/docs/api-reference/chat.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from core.builtin_tools import ToolRequest
from core.errors import InvalidRequest, UnsupportedParameter
from core.turn import Sampling, ToolGrant, Turn
from dialects import forced_calls, output_format, tool_request
from dialects import reasoning as chat_reasoning
from dialects.chat import messages
from dialects.chat.fields import ACTED_ON, NEUTRAL, WITHOUT_EFFECT
from dialects.chat.tools import toolset
from dialects.reasoning import Traits
from dialects.tool_names import Names
from models import (
    ChatRequest,
    OwnToolHeaders,
    ToolActivity,
)

RESERVED_NAMES = frozenset({"StructuredOutput"})
"""The name of the CLI's own tool for structured answers."""
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
    output = output_format.read(request.response_format)
    own = tool_request.read(request, headers)
    names = Names(reserved=frozenset() if output.schema is None else RESERVED_NAMES)
    tools = toolset(request, names)
    conversation = messages.read(request.messages, names, whole=session_id is None)
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
    if card is not None and not card.thinking_off and output.schema is None:
        turn = forced_calls.as_output(turn)
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


def _native_output(output: output_format.Output) -> None:
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
