"""OpenAI's Responses API: a `ResponsesRequest` -> `Turn`.

Source: https://platform.openai.com/docs/api-reference/responses/create.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from core.builtin_tools import STRUCTURED_OUTPUT, ToolRequest
from core.conversation import JsonObject
from core.errors import InvalidRequest, UnsupportedParameter
from core.turn import Sampling, ToolChoice, Turn
from dialects import output_format, reasoning, tool_request
from dialects.base import Call, Context, header_names
from dialects.output_format import Output
from dialects.reasoning import Reasoning
from dialects.responses import items
from dialects.responses.fields import REFUSED, TABLE
from dialects.responses.items import Conversation
from dialects.responses.tools import CODE_EXECUTION, WEB_SEARCH, ToolNames, Toolset, numbered
from dialects.responses.wire import ResponsesRequest
from models import ToolActivity

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
    parts = _parts(request, context)
    _check_provider(parts.tools, context.provider)
    if parts.tool_request is not None and not parts.output.native:
        raise _not_beside_tools()
    return ResponsesCall(
        turn=_turn(request, parts, context),
        stream=bool(request.stream),
        tool_request=parts.tool_request,
        ignored=header_names(_ignored(request, parts)),
        complete=items.complete,
        trims_context=request.truncation == "auto",
        request=request,
        names=parts.tools.names,
        include=frozenset(request.include or ()),
        summary=_summary(request),
        strict_output=parts.output.strict,
        tool_activity=parts.asked.activity,
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the fields of a request say, each read by its own module."""

    output: Output
    asked: tool_request.Asked
    tools: Toolset
    conversation: Conversation
    reasoning: Reasoning

    @property
    def tool_request(self) -> ToolRequest | None:
        """What is asked for of Claude Code's tools, with the MCP servers among `tools`."""
        servers = self.tools.mcp_servers
        if not servers:
            return self.asked.tool_request
        asked = self.asked.tool_request or ToolRequest()
        names = tuple(dict.fromkeys((*asked.mcp_servers, *servers)))
        return replace(asked, mcp_servers=names, ask=tuple(self.tools.ask))


def _parts(request: ResponsesRequest, context: Context) -> _Parts:
    output = output_format.read(request.text.format if request.text else None, "text.format")
    names = ToolNames(frozenset() if output.schema is None else frozenset({STRUCTURED_OUTPUT}))
    tools = _tools(request, names)
    conversation = items.read(
        _input(request),
        names,
        instructions=request.instructions,
        whole=context.session_id is None,
    )
    asked = tool_request.read(request, context.headers)
    return _Parts(output, asked, tools, conversation, _reasoning(request, context, tools.choice))


def _turn(request: ResponsesRequest, parts: _Parts, context: Context) -> Turn:
    reasoning, tools = parts.reasoning, parts.tools
    return Turn(
        model=context.model,
        messages=parts.conversation.messages,
        system=parts.conversation.system,
        tools=tuple(tools.functions),
        server_tools=tuple(tools.server_tools),
        tool_choice=tools.choice,
        sampling=_sampling(request),
        effort=reasoning.effort,
        thinking=reasoning.thinking,
        thinking_tokens=reasoning.tokens if reasoning.thinking else None,
        show_thinking=reasoning.show and _summary(request),
        output_schema=parts.output.schema,
        native_output=parts.output.native,
        json_object=parts.output.json_object,
        principal=context.principal,
        session_id=context.session_id,
        user=request.safety_identifier or request.user,
        cache_hour=_is_cached_long(request),
        betas=tools.betas,
        api_events=bool(tools.server_tools),
        asks_by_item=tools.asks_by_item,
        decisions=parts.conversation.decisions,
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
"""The API's built-in tools that a provider has not
(https://docs.claude.com/en/docs/agents-and-tools/tool-use/overview)."""


def _check_provider(tools: Toolset, provider: str) -> None:
    """Raises UnsupportedParameter for one of the tools that the provider has not."""
    for tool in tools.server_tools:
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


def _not_beside_tools() -> InvalidRequest:
    return InvalidRequest(
        "With Claude Code's built-in tools `text.format` must be a `json_schema` whose objects "
        "list their properties and do not hold themselves.",
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
        context.capabilities,
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


def _ignored(request: ResponsesRequest, parts: _Parts) -> set[str]:
    """What was asked for and has no effect: fields without one, and parts of those that have."""
    ignored = TABLE.ignored(request) | parts.conversation.ignored | parts.tools.ignored
    ignored |= {*parts.reasoning.ignored, *parts.asked.ignored}
    if parts.output.ignored:
        ignored.add("text.format.strict")
    if request.temperature is not None and request.temperature > 1:
        ignored.add("temperature")
    if request.text and request.text.verbosity not in (None, "medium"):
        ignored.add("text.verbosity")
    if {*(request.include or ())} - INCLUDES - INPUT_INCLUDES:
        ignored.add("include")
    return ignored
