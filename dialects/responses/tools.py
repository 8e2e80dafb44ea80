"""The tools of a Responses request -> the caller's functions and the API's own server tools.

Sources: https://platform.openai.com/docs/guides/tools,
https://docs.claude.com/en/docs/agents-and-tools/tool-use/web-search-tool and
.../code-execution-tool.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from core.approval import OWN_SERVER
from core.builtin_tools import MCP_RULE
from core.conversation import JsonObject
from core.errors import InvalidRequest, UnsupportedParameter
from core.turn import FunctionTool, ToolChoice
from dialects.function_tools import object_schema
from dialects.responses import freeform
from dialects.tool_names import Names

WEB_SEARCH = "web_search"
CODE_EXECUTION = "code_execution"
WEB_SEARCH_TYPES = frozenset(
    {
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    }
)
BETAS = {CODE_EXECUTION: "code-execution-2025-08-25"}

LEFT_OUT = frozenset(
    {"image_generation", "tool_search", "local_shell", "programmatic_tool_calling"}
)
"""Tools that clients offer in every request, whether or not they are needed."""

REFUSED = {
    "file_search": "No files are stored here to search in.",
    "computer": "Use the Messages API for Claude's own computer use.",
    "computer_use_preview": "Use the Messages API for Claude's own computer use.",
    "shell": "Define a function that runs commands instead.",
    "apply_patch": "Define a custom tool of that name instead.",
}


@dataclass(frozen=True, slots=True)
class CallerTool:
    """How a caller knows one of its tools."""

    kind: Literal["function", "custom"]
    name: str
    namespace: str | None = None


@dataclass(slots=True)
class ToolNames:
    """The caller's names and the ones that the API allows, both ways. The tools of a namespace get
    its name before their own."""

    reserved: frozenset[str] = frozenset()
    known: dict[str, CallerTool] = field(default_factory=dict)
    _names: Names = field(init=False)

    def __post_init__(self) -> None:
        self._names = Names(reserved=self.reserved)

    def native(self, name: str, namespace: str | None = None) -> str:
        if not namespace:
            return self._names.native(name)
        joint = "" if namespace.endswith("_") else "__"
        return self._names.native(f"{namespace}{joint}{name}")

    def add(self, tool: CallerTool) -> str:
        native = self.native(tool.name, tool.namespace)
        self.known[native] = tool
        return native

    def wire(self, native: str) -> CallerTool:
        return self.known.get(native) or CallerTool("function", self._names.wire(native))


@dataclass(slots=True)
class Toolset:
    """`server_tools` are the API's own; `mcp_servers` name configured servers that are asked for,
    `ask` their tools whose uses need an approval; `asks_by_item`: a use may need one; `ignored`
    names what had no counterpart."""

    names: ToolNames
    functions: list[FunctionTool] = field(default_factory=list)
    server_tools: list[JsonObject] = field(default_factory=list)
    mcp_servers: list[str] = field(default_factory=list)
    ask: list[str] = field(default_factory=list)
    asks_by_item: bool = False
    choice: ToolChoice = field(default_factory=ToolChoice)
    ignored: set[str] = field(default_factory=set)
    _left_out: set[str] = field(default_factory=set)

    @property
    def betas(self) -> tuple[str, ...]:
        return tuple(BETAS[tool["name"]] for tool in self.server_tools if tool["name"] in BETAS)

    def add(self, tool: JsonObject, where: str) -> None:
        """Raises UnsupportedParameter for a type that has no counterpart, with the reason."""
        kind = tool.get("type", "function")
        match kind:
            case "function":
                self._function(tool, None, where)
            case "custom":
                self._custom(tool, None, where)
            case "namespace":
                self._namespace(tool, where)
            case str() if kind in WEB_SEARCH_TYPES:
                self._web_search(tool, where)
            case "code_interpreter":
                self._code_interpreter(tool, where)
            case "mcp":
                self._mcp(tool, where)
            case str() if kind in LEFT_OUT:
                self.ignored.add(f"tools.{kind}")
                self._left_out.add(kind)
            case _:
                raise _unsupported(kind, where)

    def _function(self, tool: JsonObject, namespace: str | None, where: str) -> None:
        native = self.names.add(CallerTool("function", _name(tool, where), namespace))
        schema = object_schema(tool.get("parameters"), f"{where}.parameters")
        description = str(tool.get("description") or "")
        strict = tool.get("strict") is True
        self.functions.append(FunctionTool(native, description, schema, strict=strict))

    def _custom(self, tool: JsonObject, namespace: str | None, where: str) -> None:
        native = self.names.add(CallerTool("custom", _name(tool, where), namespace))
        schema = freeform.input_schema(_grammar(tool.get("format"), f"{where}.format"))
        description = str(tool.get("description") or "")
        self.functions.append(FunctionTool(native, description, schema))

    def _namespace(self, tool: JsonObject, where: str) -> None:
        namespace, inner = _name(tool, where), tool.get("tools")
        if not isinstance(inner, list):
            raise InvalidRequest("A namespace needs a list of tools.", param=f"{where}.tools")
        if tool.get("description"):
            self.ignored.add("tools.namespace.description")
        for index, entry in enumerate(inner):
            place = f"{where}.tools[{index}]"
            if not isinstance(entry, dict):
                raise InvalidRequest("A tool must be an object.", param=place)
            match entry.get("type", "function"):
                case "function":
                    self._function(entry, namespace, place)
                case "custom":
                    self._custom(entry, namespace, place)
                case kind:
                    raise _unsupported(kind, place)

    def _web_search(self, tool: JsonObject, where: str) -> None:
        """`external_web_access: false` allows an index alone, which Claude has not."""
        if tool.get("external_web_access") is False:
            self.ignored.add("tools.web_search")
            self._left_out.add(WEB_SEARCH)
            return
        if tool.get("search_context_size") not in (None, "medium"):
            self.ignored.add("tools.web_search.search_context_size")
        native: JsonObject = {"type": "web_search_20250305", "name": WEB_SEARCH}
        filters = tool.get("filters")
        for key in ("allowed_domains", "blocked_domains"):
            if domains := isinstance(filters, dict) and filters.get(key):
                native[key] = domains
        if location := _location(tool.get("user_location"), f"{where}.user_location"):
            native["user_location"] = location
        self._server_tool(native, where)

    def _code_interpreter(self, tool: JsonObject, where: str) -> None:
        container = tool.get("container")
        if isinstance(container, str):
            raise InvalidRequest(
                "Containers are not kept here: ask for one of type 'auto'.",
                param=f"{where}.container",
                code="unsupported_parameter",
            )
        if isinstance(container, dict) and container.get("file_ids"):
            raise UnsupportedParameter(
                "No files are stored here: send them as `input_file`.",
                param=f"{where}.container.file_ids",
            )
        self._server_tool({"type": "code_execution_20250825", "name": CODE_EXECUTION}, where)

    def _server_tool(self, native: JsonObject, where: str) -> None:
        if any(tool["name"] == native["name"] for tool in self.server_tools):
            raise InvalidRequest(f"Duplicate tool: {native['name']!r}.", param=where)
        self.server_tools.append(native)

    def _mcp(self, tool: JsonObject, where: str) -> None:
        label = tool.get("server_label")
        if not isinstance(label, str) or not label:
            raise InvalidRequest("An MCP server needs a label.", param=f"{where}.server_label")
        for key in ("server_url", "connector_id", "tunnel_id"):
            if tool.get(key):
                raise UnsupportedParameter(
                    "MCP servers are configured on this server (/v1/mcp/servers); leave "
                    f"`{key}` out to use the one that is named by `server_label`.",
                    param=f"{where}.{key}",
                )
        if tool.get("allowed_tools") is not None:
            self.ignored.add("tools.mcp.allowed_tools")
        asked = self._approvals(tool, label, f"{where}.require_approval")
        self.asks_by_item |= bool(asked)
        if label != OWN_SERVER:
            self.ask += asked
            self.mcp_servers.append(label)

    def _approvals(self, tool: JsonObject, label: str, where: str) -> list[str]:
        """The rules of what needs an approval: as with OpenAI everything, unless it is said."""
        match tool.get("require_approval"):
            case "never":
                return []
            case None | "always":
                return [f"mcp__{label}"]
            case {"always": {"tool_names": [*names]}, **rest} if not rest.get("never"):
                rules = [f"mcp__{label}__{name}" for name in names]
                if not all(map(MCP_RULE.fullmatch, rules)):
                    raise InvalidRequest("These are no names of tools.", param=f"{where}.always")
                return rules
            case dict():  # a list of tools that need none is no rule: all need one
                self.ignored.add("tools.mcp.require_approval")
                return [f"mcp__{label}"]
        raise InvalidRequest("It must be 'always', 'never' or a filter.", param=where)

    def limit(self, max_tool_calls: int | None) -> None:
        """OpenAI counts the calls of built-in tools only; so does this."""
        if max_tool_calls is None:
            return
        for tool in self.server_tools:
            if tool["name"] == WEB_SEARCH:
                tool["max_uses"] = max_tool_calls
            else:
                self.ignored.add("max_tool_calls")

    def choose(self, asked: str | JsonObject | None, *, parallel: bool) -> None:
        """Raises InvalidRequest for a choice of what is not there."""
        choice = self._choice(asked)
        self.choice = ToolChoice(choice.type, choice.name, parallel)

    def _choice(self, asked: str | JsonObject | None) -> ToolChoice:
        match asked:
            case None | "auto":
                return ToolChoice()
            case "none":
                return ToolChoice("none") if self._has_any() else ToolChoice()
            case "required":
                if not self._has_any():
                    raise _bad_choice("`tool_choice` needs tools to choose from.")
                return ToolChoice("any")
            case dict() if asked.get("type") == "allowed_tools":
                return self._allowed(asked)
            case dict():
                return ToolChoice("tool", self._chosen(asked))
        raise _bad_choice("The choice must be 'none', 'auto', 'required' or a tool.")

    def _has_any(self) -> bool:
        return bool(self.functions or self.server_tools)

    def _allowed(self, asked: JsonObject) -> ToolChoice:
        """Leaves the model just these, which is a part of the list."""
        entries = asked.get("tools")
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise _bad_choice("`allowed_tools` needs a list of tools.")
        wanted = {self._chosen(e) for e in entries if not self._is_left_out(e)}
        self.functions = [tool for tool in self.functions if tool.name in wanted]
        self.server_tools = [tool for tool in self.server_tools if tool["name"] in wanted]
        if not self._has_any():
            return ToolChoice()
        return ToolChoice("any" if asked.get("mode") == "required" else "auto")

    def _is_left_out(self, entry: JsonObject) -> bool:
        kind = WEB_SEARCH if entry.get("type") in WEB_SEARCH_TYPES else entry.get("type")
        return kind in self._left_out

    def _chosen(self, asked: JsonObject) -> str:
        """The native name of a tool that is there."""
        match asked:
            case {"type": "function" | "custom", "name": str(name)}:
                native = self.names.native(name, asked.get("namespace"))
            case {"type": str(kind)} if kind in WEB_SEARCH_TYPES:
                native = WEB_SEARCH
            case {"type": "code_interpreter"}:
                native = CODE_EXECUTION
            case _:
                raise _bad_choice("Only functions, custom tools and server tools can be chosen.")
        there = [*(tool.name for tool in self.functions), *(t["name"] for t in self.server_tools)]
        if native not in there:
            raise _bad_choice(f"No such tool: {str(asked.get('name', native))[:64]!r}.")
        return native

    def check(self) -> None:
        """Raises InvalidRequest for a name that comes twice."""
        seen = {str(tool["name"]) for tool in self.server_tools}
        for tool in self.functions:
            if tool.name in seen:
                raise InvalidRequest(f"Duplicate function name: {tool.name!r}.", param="tools")
            seen.add(tool.name)


def numbered(tools: list[JsonObject] | None) -> Iterator[tuple[JsonObject, str]]:
    """Each tool with its place."""
    for index, tool in enumerate(tools or ()):
        yield tool, f"tools[{index}]"


def _name(tool: JsonObject, where: str) -> str:
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest("A tool needs a name.", param=f"{where}.name")
    return name


def _grammar(form: Any, where: str) -> str | None:
    """What the model must know of the text: it can be asked to follow a grammar, not forced."""
    match form:
        case None | {"type": "text"}:
            return None
        case {"type": "grammar", "syntax": "lark" | "regex" as syntax, "definition": str(grammar)}:
            return f"Must match this {syntax} grammar:\n{grammar}"
    raise InvalidRequest(
        "The format must be of type 'text', or 'grammar' with a `syntax` of 'lark' or 'regex' and "
        "a `definition`.",
        param=where,
    )


def _location(given: Any, where: str) -> JsonObject | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise InvalidRequest("A location must be an object.", param=where)
    keys = ("city", "region", "country", "timezone")
    known = {key: given[key] for key in keys if given.get(key)}
    return {"type": "approximate", **known} if known else None


def _unsupported(kind: Any, where: str) -> UnsupportedParameter:
    name = str(kind)[:40]
    reason = REFUSED.get(name, "Functions, custom tools, web search and code execution are.")
    return UnsupportedParameter(
        f"Tools of type {name!r} are not supported. {reason}", param=f"{where}.type"
    )


def _bad_choice(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="tool_choice")
