"""The caller's functions as MCP tools of a process with built-in tools: the model sees them beside
those, and a call of one ends the turn.

Source: `docs/claude-cli.md`, "Client-side tools".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from mcp.server import Server
from mcp.types import CallToolRequestParams, CallToolResult, ListToolsResult, Tool, ToolAnnotations

from core.turn import FunctionTool

SERVER_NAME = "caller"
ALLOW_ALL = f"mcp__{SERVER_NAME}"
"""The permission rule that lets the model call every function of the caller's."""


def caller_server(functions: Iterable[FunctionTool]) -> Server[Any]:
    """An in-process MCP server whose calls are never answered: the caller runs its functions
    itself, and its next request brings the results."""
    tools = [_mcp_tool(function) for function in functions]

    async def list_tools(context: Any, params: Any) -> ListToolsResult:
        return ListToolsResult(tools=tools)

    async def call_tool(context: Any, params: CallToolRequestParams) -> CallToolResult:
        await asyncio.Event().wait()
        raise AssertionError("the process ends with the turn")

    return Server(SERVER_NAME, on_list_tools=list_tools, on_call_tool=call_tool)


def _mcp_tool(function: FunctionTool) -> Tool:
    """Read-only, or the CLI would run parallel calls one after another."""
    return Tool(
        name=function.name,
        description=function.description,
        input_schema=function.input_schema,
        annotations=ToolAnnotations(read_only_hint=True),
    )
