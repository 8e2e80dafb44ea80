"""What a request says of Claude Code's built-in tools, in its body or its headers ->
`ToolRequest`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from core import builtin_tools
from core.builtin_tools import ToolRequest, listed
from core.conversation import JsonObject
from core.errors import InvalidRequest, ToolsNotAllowed
from core.turn import PermissionMode
from models import BuiltinToolFields, BuiltinToolHeaders, ChatRequest, ToolActivity

HEADERS = {
    "enable_tools": ("x_claude_enable_tools",),
    "claude_tools": ("x_claude_tools", "x_claude_allowed_tools"),
    "disallowed_tools": ("x_claude_disallowed_tools",),
    "max_turns": ("x_claude_max_turns",),
    "max_budget_usd": ("x_claude_max_budget_usd",),
    "permission_mode": ("x_claude_permission_mode",),
    "cwd": ("x_claude_cwd",),
    "mcp_servers": ("x_claude_mcp_servers",),
    "tool_activity": ("x_claude_tool_activity",),
}
"""The headers that can replace each field of the body; the first one present counts."""

NEEDS_TOOLS = ("max_budget_usd", "permission_mode", "cwd")
"""Fields that have no effect without any tool."""

SEARCH = "web_search_options"
ALL = frozenset({"all", "*"})


@dataclass(frozen=True, slots=True)
class Asked:
    """`tool_request` is None where no tool is asked for. `activity`: where the work is shown."""

    tool_request: ToolRequest | None = None
    activity: ToolActivity = "reasoning"
    ignored: tuple[str, ...] = ()


def read(request: BuiltinToolFields, headers: BuiltinToolHeaders | None = None) -> Asked:
    """Raises InvalidRequest for what is not known or does not go with built-in tools,
    ToolsNotAllowed for a permission mode that is never granted."""
    said = {name: _said(request, headers, name) for name in HEADERS}
    names, servers = _names(request, said), listed(said["mcp_servers"])
    if said["enable_tools"] is False or not (names or servers):
        return Asked(ignored=_without_effect(request))
    tool_request = ToolRequest(
        tools=_known((name for name in names if name.lower() not in ALL), "claude_tools"),
        all_allowed=any(name.lower() in ALL for name in names),
        without=_known(listed(said["disallowed_tools"]), "disallowed_tools"),
        max_turns=said["max_turns"],
        max_budget_usd=said["max_budget_usd"],
        permission_mode=_permission_mode(said["permission_mode"]),
        cwd=said["cwd"],
        mcp_servers=servers,
    )
    return Asked(tool_request, said["tool_activity"] or "reasoning", _search_ignored(request))


def _said(request: BuiltinToolFields, headers: BuiltinToolHeaders | None, name: str) -> Any:
    places = [getattr(request, name), *(getattr(headers, h, None) for h in HEADERS[name])]
    return next((value for value in places if value is not None), None)


def _names(request: BuiltinToolFields, said: dict[str, Any]) -> tuple[str, ...]:
    """The tools that are asked for in any way, as they are named."""
    is_all = said["claude_tools"] is None and said["enable_tools"]
    search = () if _search_options(request) is None else ("WebSearch",)
    return (*listed("all" if is_all else said["claude_tools"]), *search)


def _without_effect(request: BuiltinToolFields) -> tuple[str, ...]:
    given = {name: getattr(request, name) for name in NEEDS_TOOLS}
    given[SEARCH] = _search_options(request)
    return tuple(name for name, value in given.items() if value is not None)


def _search_options(request: BuiltinToolFields) -> JsonObject | None:
    """A field of chat requests only."""
    return request.web_search_options if isinstance(request, ChatRequest) else None


def _search_ignored(request: BuiltinToolFields) -> tuple[str, ...]:
    """The model searches as it sees fit: nothing of how can be set."""
    return tuple(f"{SEARCH}.{name}" for name in _search_options(request) or ())


def _known(names: Iterable[str], param: str) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(builtin_tools.named(name).name for name in names))
    except ValueError as error:
        raise InvalidRequest(f"{error}.", param=param) from None


def _permission_mode(mode: str | None) -> PermissionMode:
    if mode == "bypassPermissions":
        raise ToolsNotAllowed(
            "`bypassPermissions` is not available: the tools that are allowed run without asking "
            "anyway, and all others stay denied.",
            param="permission_mode",
        )
    for known in get_args(PermissionMode):
        if mode in (None, known):
            return known  # type: ignore[no-any-return]  # get_args does not tell
    allowed = ", ".join(get_args(PermissionMode))
    raise InvalidRequest(f"`permission_mode` must be one of {allowed}.", param="permission_mode")
