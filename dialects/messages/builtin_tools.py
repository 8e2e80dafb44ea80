"""A request that asks for Claude Code's built-in tools: its fields in the neutral vocabulary.

Such a turn is many requests of Claude Code's own, so what the client wrote cannot be their body.
What has no place in them is reported as ignored.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from core.conversation import JsonObject
from core.errors import InvalidRequest
from core.turn import FunctionTool, Sampling, ToolChoice, Turn
from dialects import tool_request
from dialects.base import Complete
from dialects.chat import messages as chat_messages
from dialects.messages.wire import MessagesRequest
from dialects.reasoning import LEVELS, ModelCapabilities
from dialects.tool_request import Asked
from models import ChatRequest, TurnHeaders

complete: Complete = chat_messages.complete
"""Calls and their results must match: the API's own error would come after work was done."""

READ = frozenset(
    [
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "metadata",
    ]
)
CHOICES = {"auto", "any", "tool", "none"}


def ask(request: MessagesRequest, headers: TurnHeaders) -> Asked:
    """What is asked for in the body or in headers. Raises InvalidRequest and ToolsNotAllowed."""
    return tool_request.read(cast(ChatRequest, _Fields(request)), headers)


class _Fields:
    """The fields of a chat request that ask for tools, as far as this API has them."""

    mcp_servers = None
    web_search_options = None

    def __init__(self, request: MessagesRequest) -> None:
        self._request = request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


def fill(
    turn: Turn, given: JsonObject, capabilities: ModelCapabilities | None
) -> tuple[Turn, tuple[str, ...]]:
    """The turn with its parameters, and the names of fields that have no effect beside built-in
    tools. Raises InvalidRequest."""
    _check_messages(turn)
    tools = given.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise _invalid("tools", "Input should be a valid array")
    custom = [tool for tool in tools if tool.get("type") in (None, "custom")]
    config = _object(given, "output_config")
    thinking = _object(given, "thinking")
    is_on = thinking.get("type") in ("enabled", "adaptive")
    filled = replace(
        turn,
        tools=tuple(_function(tool, f"tools.{tools.index(tool)}") for tool in custom),
        server_tools=tuple(tool for tool in tools if tool.get("type") not in (None, "custom")),
        tool_choice=_choice(_object(given, "tool_choice")),
        sampling=_sampling(given),
        effort=config["effort"] if config.get("effort") in LEVELS else None,
        thinking=is_on,
        thinking_tokens=_integer(thinking, "budget_tokens") if is_on else None,
        show_thinking=is_on and thinking.get("display") != "omitted" and _adapts(capabilities),
        output_schema=_schema(config),
        user=_text(_object(given, "metadata"), "user_id"),
    )
    ignored = [name for name, value in given.items() if name not in READ and value is not None]
    return filled, tuple(sorted(ignored))


def _adapts(capabilities: ModelCapabilities | None) -> bool:
    return capabilities is not None and capabilities.adaptive_thinking


def _check_messages(turn: Turn) -> None:
    """What the CLI's conversation cannot hold."""
    for index, message in enumerate(turn.messages):
        if message.role not in ("user", "assistant"):
            raise _invalid(
                f"messages.{index}.role", "with built-in tools it must be 'user' or 'assistant'"
            )
    if turn.messages[-1].role != "user":
        raise _invalid("messages", "with built-in tools the last message must be the user's")


def _function(tool: JsonObject, where: str) -> FunctionTool:
    for name in ("name", "input_schema"):
        if name not in tool:
            raise _invalid(f"{where}.custom.{name}", "Field required")
    if not isinstance(tool["input_schema"], dict):
        raise _invalid(f"{where}.custom.input_schema", "Input should be a valid dictionary")
    return FunctionTool(
        name=str(tool["name"]),
        description=str(tool.get("description") or ""),
        input_schema=tool["input_schema"],
        strict=tool.get("strict") is True,
        cache_control=tool.get("cache_control"),
    )


def _choice(choice: JsonObject) -> ToolChoice:
    if not choice:
        return ToolChoice()
    if choice.get("type") not in CHOICES:
        known = "'auto', 'any', 'tool', 'none'"
        raise _invalid("tool_choice", f"Input tag does not match {known}")
    parallel = choice.get("disable_parallel_tool_use") is not True
    return ToolChoice(choice["type"], choice.get("name"), parallel)


def _sampling(given: JsonObject) -> Sampling:
    stop = given.get("stop_sequences") or []
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise _invalid("stop_sequences", "Input should be a valid array of strings")
    return Sampling(
        max_tokens=_integer(given, "max_tokens"),
        temperature=_number(given, "temperature"),
        top_p=_number(given, "top_p"),
        top_k=_integer(given, "top_k"),
        stop=tuple(stop),
    )


def _schema(config: JsonObject) -> JsonObject | None:
    form = _object(config, "format")
    schema = form.get("schema")
    if form and not isinstance(schema, dict):
        raise _invalid("output_config.format.schema", "Input should be a valid dictionary")
    return schema


def _object(given: JsonObject, name: str) -> JsonObject:
    value = given.get(name)
    if value is not None and not isinstance(value, dict):
        raise _invalid(name, "Input should be a valid dictionary")
    return value or {}


def _integer(given: JsonObject, name: str) -> int | None:
    value = given.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise _invalid(name, "Input should be a valid integer")
    return value


def _number(given: JsonObject, name: str) -> float | None:
    value = given.get(name)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise _invalid(name, "Input should be a valid number")
    return value


def _text(given: JsonObject, name: str) -> str | None:
    value = given.get(name)
    return value if isinstance(value, str) else None


def _invalid(where: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{where}: {message}", param=where)
