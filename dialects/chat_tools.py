"""OpenAI function calling -> native tools: names, schemas, choices, ids and arguments."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from errors import InvalidRequest, UnsupportedParameter
from events import FunctionTool, ToolChoice
from models import ChatRequest, JsonObject

NATIVE_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
NATIVE_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
EMPTY_SCHEMA: JsonObject = {"type": "object", "properties": {}}


@dataclass(slots=True)
class Names:
    """The caller's function names and the ones that the API allows, both ways."""

    reserved: frozenset[str] = frozenset()
    _native: dict[str, str] = field(default_factory=dict)
    _wire: dict[str, str] = field(default_factory=dict)

    def native(self, name: str) -> str:
        if name not in self._native:
            native = _marked(name) if name in self.reserved else _allowed(name, NATIVE_NAME)
            self._native[name], self._wire[native] = native, name
        return self._native[name]

    def wire(self, native: str) -> str:
        return self._wire.get(native, native)


def native_id(call_id: str) -> str:
    """An id that the API allows; those that it does are kept."""
    return _allowed(call_id, NATIVE_ID)


def _allowed(name: str, pattern: re.Pattern[str]) -> str:
    return name if pattern.fullmatch(name) else _marked(name)


def _marked(name: str) -> str:
    mark = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
    return f"{re.sub(r'[^a-zA-Z0-9_-]', '_', name)[:50]}_{mark}"


@dataclass(frozen=True, slots=True)
class Toolset:
    """A request's functions, natively. `legacy`: it came as `functions`, and answers go so."""

    tools: tuple[FunctionTool, ...]
    choice: ToolChoice
    legacy: bool


def toolset(request: ChatRequest, names: Names) -> Toolset:
    """Raises InvalidRequest for what is no function, a doubled name or an unknown choice."""
    legacy = bool(request.functions) and not request.tools
    entries = (request.functions if legacy else request.tools) or []
    field_name = "functions" if legacy else "tools"
    tools = tuple(_tool(e, names, f"{field_name}[{i}]") for i, e in enumerate(entries))
    _no_doubles(tools, field_name)
    asked = request.function_call if legacy else request.tool_choice
    choice, tools = _choice(asked, tools, names, "function_call" if legacy else "tool_choice")
    parallel = request.parallel_tool_calls is not False and not legacy
    return Toolset(tools, ToolChoice(choice.type, choice.name, parallel), legacy)


def _tool(entry: JsonObject, names: Names, where: str) -> FunctionTool:
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
    return FunctionTool(
        names.native(function["name"]),
        str(function.get("description") or ""),
        _object_schema(schema, f"{where}.function.parameters"),
        strict=function.get("strict") is True,
    )


def _object_schema(schema: Any, where: str) -> JsonObject:
    if schema is None or schema == {}:
        return EMPTY_SCHEMA
    if not isinstance(schema, dict):
        raise InvalidRequest("A function's parameters must be a JSON Schema.", param=where)
    kind = schema.get("type", "object")
    if kind != "object":
        raise InvalidRequest(
            "A function's parameters must be a JSON Schema of type 'object'.", param=where
        )
    return {"type": "object", **schema}


def _no_doubles(tools: tuple[FunctionTool, ...], where: str) -> None:
    seen: set[str] = set()
    for tool in tools:
        if tool.name in seen:
            raise InvalidRequest(f"The function {tool.name!r} stands twice.", param=where)
        seen.add(tool.name)


WORDS = {"auto": "auto", "none": "none", "required": "any", "any": "any"}


def _choice(
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
    if asked.get("type") in ("auto", "any", "none"):
        return ToolChoice(asked["type"]), tools
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
        raise InvalidRequest("`allowed_tools` names a function that is not there.", param=where)
    return ToolChoice("any" if allowed.get("mode") == "required" else "auto"), kept


def arguments(text: str | JsonObject | None, where: str) -> JsonObject:
    """The arguments of an earlier call, as the object the model once wrote."""
    if isinstance(text, dict):
        return text
    try:
        parsed = json.loads(text or "{}")
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise InvalidRequest("The arguments of a call must be a JSON object.", param=where)
    return parsed
