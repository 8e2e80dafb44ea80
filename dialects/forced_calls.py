"""A call that the caller forces, for models that cannot be forced.

Models that always think refuse a forced `tool_choice`. They can be held to a schema, though: the
function's own, or a choice between the functions, and what they write is the call.
Source: https://docs.claude.com/en/docs/build-with-claude/structured-outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.conversation import JsonObject
from core.turn import FunctionTool, ToolChoice, Turn
from dialects import json_schema


def as_output(turn: Turn) -> Turn:
    """The turn with its forced call asked for as the form of the answer; it stays as it is where
    nothing is forced."""
    if turn.tool_choice.type not in ("any", "tool"):
        return turn
    forced = [t for t in turn.tools if turn.tool_choice.name in (None, t.name)]
    schema = forced[0].input_schema if len(forced) == 1 else _choice_between(forced)
    native = json_schema.native(schema)
    return replace(
        turn,
        tool_choice=ToolChoice("none"),
        output_schema=schema if native is None else native,
        native_output=native is not None,
        calls_as_output=tuple(tool.name for tool in forced),
    )


def _choice_between(tools: Sequence[FunctionTool]) -> JsonObject:
    """`{"call": {"name": …, "arguments": {…}}}`; an answer's schema has no choice at its root."""
    return {
        "type": "object",
        "properties": {"call": {"anyOf": [_call(tool) for tool in tools]}},
        "required": ["call"],
        "additionalProperties": False,
    }


def _call(tool: FunctionTool) -> JsonObject:
    described = {"description": tool.description} if tool.description else {}
    return {
        "type": "object",
        **described,
        "properties": {"name": {"const": tool.name}, "arguments": tool.input_schema},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
