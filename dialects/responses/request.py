"""OpenAI's Responses API: a `ResponsesRequest` -> `Turn`.

Source: https://platform.openai.com/docs/api-reference/responses/create.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from core.builtin_tools import ToolRequest
from core.conversation import JsonObject
from core.errors import InvalidRequest, UnsupportedParameter
from core.turn import Sampling, ToolChoice, Turn
from dialects import forced_calls, output_format, reasoning, tool_request
from dialects.base import Call, Context, header_names
from dialects.reasoning import Reasoning
from dialects.responses import items
from dialects.responses.fields import REFUSED, TABLE
from dialects.responses.tools import CODE_EXECUTION, WEB_SEARCH, ToolNames, Toolset, numbered
from dialects.responses.wire import ResponsesRequest
from models import ToolActivity

RESERVED_NAMES = frozenset({"StructuredOutput"})
"""The name of the CLI's own tool for structured answers."""

ENCRYPTED_REASONING = "reasoning.encrypted_content"
SEARCH_SOURCES = "web_search_call.action.sources"
CODE_OUTPUTS = "code_interpreter_call.outputs"
INCLUDES = frozenset({ENCRYPTED_REASONING, SEARCH_SOURCES, CODE_OUTPUTS})
INPUT_INCLUDES = frozenset(
    {"message.input_image.image_url", "computer_call_output.output.image_url"}
)
"""They concern what a client sent itself, which it gets back whole."""


@dataclass(frozen=True, slots=True)
class ResponsesCall(Call):
    """One request, understood. `request` is what the response repeats; `summary`: whether the
    thinking is shown; `strict_output`: whether the answer's schema was asked for as strict."""

    request: ResponsesRequest = field(default_factory=ResponsesRequest)
    names: ToolNames = field(default_factory=ToolNames)
    include: frozenset[str] = frozenset()
    summary: bool = False
    strict_output: bool = False
    tool_activity: ToolActivity = "reasoning"


def parse(request: ResponsesRequest, context: Context) -> ResponsesCall:
    """In a session the items may be only what is new. Raises InvalidRequest, naming the field, and
    ToolsNotAllowed."""
    _refuse(request)
    text = request.text
    output = output_format.read(text.format if text else None, "text.format")
    own = tool_request.read(request, context.headers)
    names = ToolNames(frozenset() if output.schema is None else RESERVED_NAMES)
    tools = _tools(request, names)
    whole = context.session_id is None
    conversation = items.read(
        _input(request), names, instructions=request.instructions, whole=whole
    )
    thought = _reasoning(request, context, tools.choice)
    turn = Turn(
        model=context.model,
        messages=conversation.messages,
        system=conversation.system,
        tools=tuple(tools.functions),
        server_tools=tuple(tools.server_tools),
        tool_choice=tools.choice,
        sampling=_sampling(request),
        effort=thought.effort,
        thinking=thought.thinking,
        thinking_tokens=thought.tokens if thought.thinking else None,
        show_thinking=thought.show and _summary(request),
        output_schema=output.schema,
        native_output=output.native,
        principal=context.principal,
        session_id=context.session_id,
        user=request.safety_identifier or request.user,
        cache_hour=_is_cached_long(request),
        betas=tools.betas,
        api_events=bool(tools.server_tools),
    )
    if context.traits is not None and not context.traits.thinking_off and output.schema is None:
        turn = forced_calls.as_output(turn)
    asked = _with_servers(own.wish, tools.mcp_servers)
    ignored = {*_ignored_fields(request), *conversation.ignored, *tools.ignored}
    ignored |= {*thought.ignored, *own.ignored}
    if output.ignored:
        ignored.add("text.format.strict")
    if asked is not None and not output.native:
        raise _not_beside_tools()
    return ResponsesCall(
        turn=turn,
        stream=bool(request.stream),
        tool_request=asked,
        ignored=header_names(ignored),
        complete=items.complete,
        request=request,
        names=names,
        include=frozenset(request.include or ()),
        summary=_summary(request),
        strict_output=output.strict,
        tool_activity=own.activity,
    )


def with_history(request: ResponsesRequest, history: list[JsonObject]) -> ResponsesRequest:
    """The request with what came before it: the items of earlier requests and responses. What it
    shows of itself stays as it was asked."""
    given = request.input
    new = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
    return request.model_copy(update={"input": [*history, *new]})


MISSING: dict[str, frozenset[str]] = {
    "bedrock": frozenset({WEB_SEARCH, CODE_EXECUTION}),
    "vertex": frozenset({CODE_EXECUTION}),
}
"""The API's own tools that a provider has not
(https://docs.claude.com/en/docs/agents-and-tools/tool-use/overview)."""


def check_provider(turn: Turn, provider: str) -> None:
    """Raises UnsupportedParameter for one of the tools that the provider has not."""
    for tool in turn.server_tools:
        if tool["name"] in MISSING.get(provider, ()):
            raise UnsupportedParameter(
                f"Claude's own {tool['name']} is not available through {provider.capitalize()}.",
                param="tools",
            )


def _refuse(request: ResponsesRequest) -> None:
    for name, reason in REFUSED.items():
        if getattr(request, name, None) is not None:
            raise UnsupportedParameter(reason, param=name)
    if request.previous_response_id is not None and request.conversation is not None:
        raise InvalidRequest(
            "Only one of `previous_response_id` and `conversation` may be given.",
            param="previous_response_id",
            code="mutually_exclusive_parameters",
        )


def _input(request: ResponsesRequest) -> str | list[JsonObject]:
    if request.input is None or request.input == []:
        raise InvalidRequest(
            "`input` is required.", param="input", code="missing_required_parameter"
        )
    return request.input


def _tools(request: ResponsesRequest, names: ToolNames) -> Toolset:
    tools = Toolset(names)
    for tool, where in numbered(request.tools):
        tools.add(tool, where)
    tools.check()
    tools.limit(request.max_tool_calls)
    tools.choose(request.tool_choice, parallel=request.parallel_tool_calls is not False)
    return tools


def _with_servers(asked: ToolRequest | None, servers: list[str]) -> ToolRequest | None:
    """What is asked for of Claude Code's tools, with the MCP servers that stand among `tools`."""
    if not servers:
        return asked
    asked = asked or ToolRequest()
    return replace(asked, mcp_servers=tuple(dict.fromkeys((*asked.mcp_servers, *servers))))


def _not_beside_tools() -> InvalidRequest:
    return InvalidRequest(
        "With Claude Code's own tools `text.format` must be a `json_schema` whose objects list "
        "their properties and do not hold themselves.",
        param="text.format",
    )


def _sampling(request: ResponsesRequest) -> Sampling:
    return Sampling(
        max_tokens=request.max_output_tokens,
        temperature=None if request.temperature is None else min(request.temperature, 1.0),
        top_p=request.top_p,
    )


def _reasoning(request: ResponsesRequest, context: Context, choice: ToolChoice) -> Reasoning:
    effort = request.reasoning.effort if request.reasoning else None
    return reasoning.settled(
        reasoning.of_effort(effort, "reasoning.effort"),
        "reasoning.effort",
        context.traits,
        forced_call=choice.type in ("any", "tool"),
        max_tokens=request.max_output_tokens,
    )


def _summary(request: ResponsesRequest) -> bool:
    """`concise` and `detailed` are one: Claude sums its thoughts up in one way."""
    options = request.reasoning
    return bool(options and (options.summary or options.generate_summary))


def _is_cached_long(request: ResponsesRequest) -> bool:
    """An hour is the longest that Claude keeps a prompt."""
    options = request.prompt_cache_options or {}
    return request.prompt_cache_retention == "24h" or options.get("ttl") is not None


def _ignored_fields(request: ResponsesRequest) -> set[str]:
    """What was asked for and has no effect: fields without one, and parts of those that have."""
    ignored = TABLE.ignored(request)
    if request.temperature is not None and request.temperature > 1:
        ignored.add("temperature")
    if request.text and request.text.verbosity not in (None, "medium"):
        ignored.add("text.verbosity")
    if {*(request.include or ())} - INCLUDES - INPUT_INCLUDES:
        ignored.add("include")
    return ignored
