"""The caller's functions as MCP tools: the model calls, the caller runs, the process waits.

Source: `docs/claude-cli.md`, "Client-side tools".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from mcp.server import Server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    Tool,
    ToolAnnotations,
)

from core.conversation import ToolResultBlock
from core.turn import FunctionTool

SERVER_NAME = "caller"
ALLOW_ALL = f"mcp__{SERVER_NAME}"
"""The permission rule that lets the model call every function of the caller's."""

TOOL_USE_ID = "claudecode/toolUseId"
MAX_RESULT = "anthropic/maxResultSizeChars"
MAX_RESULT_CHARS = 500_000
"""The most that the CLI grants. What is longer it writes to a file and shows the model a preview;
without this, what is longer than 50,000."""


class CallerTools:
    """An in-process MCP server of one process's functions.

    Each call waits until `resolve` brings its result: the HTTP answer has long ended with
    `tool_calls` by then. `pending` are the calls that the CLI has made and nobody answered.
    """

    def __init__(self, tools: Iterable[FunctionTool]) -> None:
        self._tools = [_mcp_tool(tool) for tool in tools]
        self._results: dict[str, asyncio.Future[CallToolResult]] = {}

    def server(self) -> Server[Any]:
        return Server(SERVER_NAME, on_list_tools=self._list, on_call_tool=self._call)

    def resolve(self, block: ToolResultBlock) -> None:
        """Answers the call of this id, which the CLI may make later than the stream showed it."""
        future = self._future(block["tool_use_id"])
        if not future.done():
            future.set_result(_mcp_result(block))

    def forget(self) -> None:
        """Drops what earlier turns left behind."""
        self._results.clear()

    def _future(self, tool_use_id: str) -> asyncio.Future[CallToolResult]:
        if tool_use_id not in self._results:
            self._results[tool_use_id] = asyncio.get_running_loop().create_future()
        return self._results[tool_use_id]

    async def _list(self, context: Any, params: Any) -> ListToolsResult:
        return ListToolsResult(tools=self._tools)

    async def _call(self, context: Any, params: CallToolRequestParams) -> CallToolResult:
        return await self._future(context.meta[TOOL_USE_ID])


def _mcp_tool(tool: FunctionTool) -> Tool:
    """Read-only, or the CLI would run parallel calls one after another."""
    return Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema,
        annotations=ToolAnnotations(read_only_hint=True),
        _meta={MAX_RESULT: MAX_RESULT_CHARS},
    )


def _mcp_result(block: ToolResultBlock) -> CallToolResult:
    content: list[dict[str, Any]] = []
    for part in block["content"]:
        if part["type"] == "text":
            content.append({"type": "text", "text": part["text"]})
        else:
            source = part["source"]
            content.append(
                {"type": "image", "data": source["data"], "mimeType": source["media_type"]}
            )
    return CallToolResult.model_validate({"content": content})
