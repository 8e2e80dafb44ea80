"""OpenAI function calling -> native tools: names, schemas, choices and arguments."""

from __future__ import annotations

import json
import math
from typing import Any

from core.conversation import JsonObject
from core.errors import InvalidRequest, UnsupportedParameter
from core.turn import FunctionTool, ToolChoice
from dialects import json_schema
from dialects.tool_names import Names

EMPTY_SCHEMA: JsonObject = {"type": "object", "properties": {}}
INVALID_ARGUMENTS = "invalid_json"


def function_tool(entry: JsonObject, names: Names, where: str) -> FunctionTool:
    """`{"type": "function", "function": {...}}`, or the bare forms that some clients send."""
    kind = entry.get("type", "function")
    if kind != "function" and "input_schema" not in entry:
        raise UnsupportedParameter(
            f"Tools of type {str(kind)[:40]!r} are not supported: only functions are.",
            param=f"{where}.type",
        )
    function = entry.get("function", entry)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidRequest("A function needs a name.", param=f"{where}.function.name")
    if not function["name"]:
        raise InvalidRequest("A function's name is empty.", param=f"{where}.function.name")
    schema = function.get("parameters", function.get("input_schema"))
    mark = entry.get("cache_control") or function.get("cache_control")
    return FunctionTool(
        names.native(function["name"]),
        str(function.get("description") or ""),
        object_schema(schema, f"{where}.function.parameters"),
        strict=function.get("strict") is True,
        cache_control=mark if isinstance(mark, dict) else None,
    )


def object_schema(schema: Any, where: str) -> JsonObject:
    """A function's parameters as the API takes them. Raises InvalidRequest."""
    if schema is None or schema == {}:
        return EMPTY_SCHEMA
    if not isinstance(schema, dict):
        raise InvalidRequest("A function's parameters must be a JSON Schema.", param=where)
    schema = json_schema.object_root(schema)
    if schema.get("type", "object") != "object":
        raise InvalidRequest(
            "A function's parameters must be a JSON Schema of type 'object'.", param=where
        )
    return {"type": "object", **schema}


def refuse_duplicates(tools: tuple[FunctionTool, ...], where: str) -> None:
    seen: set[str] = set()
    for tool in tools:
        if tool.name in seen:
            raise InvalidRequest(f"Duplicate function name: {tool.name!r}.", param=where)
        seen.add(tool.name)


WORDS = {"auto": "auto", "none": "none", "required": "any", "any": "any"}


def tool_choice(
    asked: Any, tools: tuple[FunctionTool, ...], names: Names, where: str
) -> tuple[ToolChoice, tuple[FunctionTool, ...]]:
    """The native choice, and the tools it leaves to the model."""
    if asked is None or (asked in ("auto", "none") and not tools):
        return ToolChoice(), tools
    if not tools:
        raise InvalidRequest(f"`{where}` needs functions to choose from.", param=where)
    if isinstance(asked, str):
        if asked not in WORDS:
            raise InvalidRequest(
                "The choice must be 'none', 'auto', 'required' or a function.", param=where
            )
        return ToolChoice(WORDS[asked]), tools  # type: ignore[arg-type]  # the table's values are
    if asked.get("type") == "allowed_tools":
        return _allowed_tools(asked, tools, names, where)
    kind = asked.get("type")
    if isinstance(kind, str) and kind in WORDS:
        return ToolChoice(WORDS[kind]), tools  # type: ignore[arg-type]  # the table's values are
    name = _chosen_name(asked)
    if name is None or names.native(name) not in {tool.name for tool in tools}:
        raise InvalidRequest(f"No such function: {str(name)[:64]!r}.", param=where)
    return ToolChoice("tool", names.native(name)), tools


def _chosen_name(asked: JsonObject) -> str | None:
    function = asked.get("function", asked)
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _allowed_tools(
    asked: JsonObject, tools: tuple[FunctionTool, ...], names: Names, where: str
) -> tuple[ToolChoice, tuple[FunctionTool, ...]]:
    """`allowed_tools` leaves the model just these (a part of the list, its mode for the rest)."""
    allowed = asked.get("allowed_tools", asked)
    entries = allowed.get("tools") if isinstance(allowed, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidRequest("`allowed_tools` needs a list of tools.", param=where)
    wanted = {names.native(_chosen_name(entry) or "") for entry in entries}
    kept = tuple(tool for tool in tools if tool.name in wanted)
    if len(kept) != len(wanted):
        raise InvalidRequest("`allowed_tools` names an unknown function.", param=where)
    return ToolChoice("any" if allowed.get("mode") == "required" else "auto"), kept


def arguments(text: str | JsonObject | None) -> JsonObject:
    """The arguments of an earlier call as an object, which is all that the API takes. OpenAI's
    API takes any string back, for models write such: what is not an object stands in one field,
    `INVALID_ARGUMENTS`, so that the model sees what it wrote."""
    if isinstance(text, dict):
        return text
    if text is None or text.strip() in ("", "null"):
        return {}
    try:
        parsed = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        parsed = None
    return parsed if isinstance(parsed, dict) else {INVALID_ARGUMENTS: text}


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError("a double cannot hold this number")
    return number
