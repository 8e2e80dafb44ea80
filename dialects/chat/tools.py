"""The functions of a chat request -> native tools."""

from __future__ import annotations

from dataclasses import dataclass

from core.turn import FunctionTool, ToolChoice
from dialects.function_tools import function_tool, refuse_duplicates, tool_choice
from dialects.tool_names import Names
from models import ChatRequest


@dataclass(frozen=True, slots=True)
class Toolset:
    """A request's functions, natively. `legacy`: it came as `functions`, and answers go so."""

    tools: tuple[FunctionTool, ...]
    choice: ToolChoice
    legacy: bool


def toolset(request: ChatRequest, names: Names) -> Toolset:
    """Raises InvalidRequest for what is not a function, a doubled name or an unknown choice."""
    legacy = bool(request.functions) and not request.tools
    entries = (request.functions if legacy else request.tools) or []
    field_name = "functions" if legacy else "tools"
    tools = tuple(function_tool(e, names, f"{field_name}[{i}]") for i, e in enumerate(entries))
    refuse_duplicates(tools, field_name)
    asked = request.function_call if legacy else request.tool_choice
    choice, tools = tool_choice(asked, tools, names, "function_call" if legacy else "tool_choice")
    parallel = request.parallel_tool_calls is not False and not legacy
    return Toolset(tools, ToolChoice(choice.type, choice.name, parallel), legacy)
