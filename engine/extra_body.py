"""The parameters of a turn as the Messages API knows them, for `CLAUDE_CODE_EXTRA_BODY`.

The CLI merges them into its request body: objects are joined, anything else replaces what the CLI
would have sent (`docs/claude-cli.md`, "Native parameters"). That is why tools are here too: by
itself the CLI sorts them, cuts descriptions at 4,096 characters and knows no `strict`.
Source: https://docs.anthropic.com/en/api/messages.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.conversation import JsonObject
from core.turn import FunctionTool, Sampling, ToolChoice, Turn

ANSWER_TOOL = "StructuredOutput"
"""The CLI's own tool for structured answers: its input is the answer, and the turn ends with it."""

ANSWER_TOOL_DESCRIPTION = (
    "Gives the final answer to the user as JSON: call it exactly once, with the whole answer as "
    "its input, in the keys and values that the conversation asks for. Nothing else is shown."
)


def answers_by_tool(turn: Turn) -> bool:
    """Whether the answer is to come as the input of `ANSWER_TOOL`. Not where a function must be
    called, for then there is no other answer."""
    wanted = turn.output_schema is not None and not turn.native_output
    return wanted and not (turn.tools and turn.tool_choice.type in ("any", "tool"))


def parameters(turn: Turn) -> JsonObject:
    """Each top-level key that this turn sets. No key for what is the model's own default."""
    body = _sampling(turn.sampling)
    if tools := [*map(_definition, turn.tools), *_answer_tool(turn)]:
        body["tools"] = tools
    if choice := _choice(turn):
        body["tool_choice"] = choice
    if turn.output_schema is not None and turn.native_output:
        body["output_config"] = {"format": {"type": "json_schema", "schema": turn.output_schema}}
    if turn.thinking and turn.show_thinking:
        body["thinking"] = {"type": "adaptive", "display": "summarized"}
    return body


def asked_parameters(turn: Turn) -> frozenset[str]:
    """The names of all that this turn sets, effort included."""
    return frozenset(parameters(turn)) | ({"effort"} if turn.effort else set())


def native_stops(stops: Iterable[str]) -> list[str]:
    """Those that the API takes: it refuses white space alone."""
    return [stop for stop in stops if stop.strip()]


def emulated_stops(stops: Iterable[str], without: frozenset[str]) -> list[str]:
    """The others; all of them where the model takes no stop sequences."""
    native = [] if "stop_sequences" in without else native_stops(stops)
    return [stop for stop in stops if stop not in native]


def _sampling(sampling: Sampling) -> JsonObject:
    body: JsonObject = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop_sequences": native_stops(sampling.stop) or None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _definition(tool: FunctionTool) -> JsonObject:
    definition: JsonObject = {"name": tool.name}
    if tool.description:
        definition["description"] = tool.description
    definition["input_schema"] = tool.input_schema
    return {**definition, "strict": True} if tool.strict else definition


def _answer_tool(turn: Turn) -> list[JsonObject]:
    if not answers_by_tool(turn):
        return []
    tool = FunctionTool(ANSWER_TOOL, ANSWER_TOOL_DESCRIPTION, turn.output_schema or {})
    return [_definition(tool)]


def _choice(turn: Turn) -> JsonObject | None:
    if answers_by_tool(turn):
        return _answer_choice(turn)
    choice = turn.tool_choice
    return _choice_body(choice) if turn.tools and choice != ToolChoice() else None


def _answer_choice(turn: Turn) -> JsonObject | None:
    """Some tool must be called: the answer's, or a function where the caller leaves the choice.
    While thinking nothing may be forced; then the CLI insists by itself, with a second request."""
    if turn.thinking:
        return None
    if turn.tools and turn.tool_choice.type == "auto":
        return _choice_body(ToolChoice("any", parallel=turn.tool_choice.parallel))
    return _choice_body(ToolChoice("tool", ANSWER_TOOL, parallel=False))


def _choice_body(choice: ToolChoice) -> JsonObject:
    body: JsonObject = {"type": choice.type}
    if choice.name is not None:
        body["name"] = choice.name
    if not choice.parallel and choice.type != "none":
        body["disable_parallel_tool_use"] = True
    return body
