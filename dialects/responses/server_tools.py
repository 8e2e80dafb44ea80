"""What the API's built-in tools, and MCP servers, did for an answer: items that wait for a result.

Sources: https://docs.claude.com/en/docs/agents-and-tools/tool-use/web-search-tool and
.../code-execution-tool for the blocks, the Responses API's reference for the items.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from core.approval import server_and_tool
from core.conversation import JsonObject
from core.events import BuiltinToolResult, BuiltinToolUse
from dialects.responses.output import ItemStatus, Place

SEARCH = "web_search"
CODE = frozenset({"code_execution", "bash_code_execution", "text_editor_code_execution"})
RESULT = "_tool_result"
"""The end of the type of every result of a server tool."""


@dataclass(slots=True)
class SearchItem:
    place: Place
    query: str
    with_sources: bool
    item: JsonObject = field(init=False)

    def __post_init__(self) -> None:
        action = {"type": "search", "query": self.query, "queries": [self.query]}
        self.item = {
            "id": self.place.id,
            "type": "web_search_call",
            "status": "in_progress",
            "action": action,
        }

    def begin(self) -> bytes:
        frames = self.place.added({**self.item}) + self.place.event("web_search_call.in_progress")
        return frames + self.place.event("web_search_call.searching")

    def result(self, block: JsonObject) -> bytes:
        found = block.get("content")
        if not isinstance(found, list):
            return self._end("failed")
        if self.with_sources:
            urls = [entry["url"] for entry in found if isinstance(entry.get("url"), str)]
            sources = [{"type": "url", "url": url} for url in urls]
            self.item["action"] = {**self.item["action"], "sources": sources}
        return self._end("completed")

    def end(self, status: ItemStatus) -> bytes:
        """Without a result."""
        return self._end("failed")

    def _end(self, status: str) -> bytes:
        self.item["status"] = status
        return self.place.event("web_search_call.completed") + self.place.done(self.item)


@dataclass(slots=True)
class CodeItem:
    place: Place
    code: str
    with_outputs: bool
    item: JsonObject = field(init=False)

    def __post_init__(self) -> None:
        self.item = {
            "id": self.place.id,
            "type": "code_interpreter_call",
            "status": "in_progress",
            "container_id": "auto",
            "code": self.code,
            "outputs": None,
        }

    def begin(self) -> bytes:
        return b"".join(
            [
                self.place.added({**self.item, "code": ""}),
                self.place.event("code_interpreter_call.in_progress"),
                self.place.event("code_interpreter_call_code.delta", delta=self.code),
                self.place.event("code_interpreter_call_code.done", code=self.code),
                self.place.event("code_interpreter_call.interpreting"),
            ]
        )

    def result(self, block: JsonObject) -> bytes:
        content = block.get("content")
        if not isinstance(content, dict) or "error_code" in content:
            return self._end("failed")
        if self.with_outputs:
            written = [str(content.get(key) or "") for key in ("stdout", "stderr")]
            self.item["outputs"] = [{"type": "logs", "logs": "".join(written)}]
        return self._end("completed")

    def end(self, status: ItemStatus) -> bytes:
        """Without a result."""
        return self._end("incomplete")

    def _end(self, status: str) -> bytes:
        self.item["status"] = status
        return self.place.event("code_interpreter_call.completed") + self.place.done(self.item)


@dataclass(slots=True)
class ApprovalItem:
    """A use of a tool that waits for the client's decision; the question is its arguments."""

    place: Place
    item: JsonObject = field(init=False)
    _question: StringIO = field(default_factory=StringIO)

    def __post_init__(self) -> None:
        about = {"server_label": "", "name": "", "arguments": ""}
        self.item = {"id": self.place.id, "type": "mcp_approval_request", **about}

    def add(self, json_text: str) -> bytes:
        self._question.write(json_text)
        return b""

    def end(self, status: ItemStatus) -> bytes:
        question = json.loads(self._question.getvalue())
        label, name = server_and_tool(question["tool"])
        arguments = json_of(question["input"])
        self.item |= {"server_label": label, "name": name, "arguments": arguments}
        return self.place.added(self.item) + self.place.done(self.item)


@dataclass(slots=True)
class McpItem:
    """A call of a tool of a configured MCP server, which Claude Code makes."""

    place: Place
    label: str
    name: str
    arguments: str
    item: JsonObject = field(init=False)

    def __post_init__(self) -> None:
        self.item = {
            "id": self.place.id,
            "type": "mcp_call",
            "status": "in_progress",
            "approval_request_id": None,
            "server_label": self.label,
            "name": self.name,
            "arguments": self.arguments,
            "output": None,
            "error": None,
        }

    def begin(self) -> bytes:
        return b"".join(
            [
                self.place.added({**self.item, "arguments": ""}),
                self.place.event("mcp_call.in_progress"),
                self.place.event("mcp_call_arguments.delta", delta=self.arguments),
                self.place.event("mcp_call_arguments.done", arguments=self.arguments),
            ]
        )

    def result(self, text: str, *, is_error: bool) -> bytes:
        if is_error:
            self.item["error"] = {"type": "mcp_tool_execution_error", "content": []}
            self.item["error"]["content"] = [{"type": "text", "text": text}]
        else:
            self.item["output"] = text
        return self._end("failed" if is_error else "completed")

    def end(self, status: ItemStatus) -> bytes:
        """Without a result."""
        return self._end("incomplete")

    def _end(self, status: str) -> bytes:
        self.item["status"] = status
        kind = "mcp_call.completed" if status == "completed" else "mcp_call.failed"
        return self.place.event(kind) + self.place.done(self.item)


def code_of(given: Any) -> str:
    """What a code tool was asked to run, as a text."""
    if isinstance(given, dict):
        for key in ("code", "command"):
            if isinstance(given.get(key), str) and len(given) == 1:
                return str(given[key])
    return json_of(given)


def json_of(given: Any) -> str:
    return json.dumps(given, ensure_ascii=False)


def query_of(given: Any) -> str:
    return str(given.get("query") or "") if isinstance(given, dict) else ""


def mcp_name(use: BuiltinToolUse, labels: frozenset[str]) -> tuple[str, str] | None:
    """The server and the tool of a use, where the server stands among the request's tools."""
    for label in labels:
        prefix = f"mcp__{label}__"
        if use.name.startswith(prefix):
            return label, use.name.removeprefix(prefix)
    return None


def text_of(result: BuiltinToolResult) -> str:
    return "\n".join(part["text"] for part in result.content if part["type"] == "text")
