"""Who may use which of Claude Code's built-in tools, and what one request is granted of them.

What is allowed comes from the settings, the keys file and what an operator set at run time: for the
server, a key, a session. The nearest list of allowed tools counts; what is disallowed anywhere
stays so. ALLOWED_TOOLS=none, a key's `builtin_tools: false` and a server that is reachable without
a key are final.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from auth import Principal
from config.sandbox import why_no_commands
from config.settings import Settings, SettingsError
from core.approval import PLAN_TOOL, QUESTION_TOOL
from core.builtin_tools import BY_NAME, BuiltinTool, ToolRequest, rules, tool_of, tool_rules
from core.errors import InvalidRequest, NotFound, PermissionDenied, SessionNotFound, ToolsNotAllowed
from core.turn import ToolGrant
from stores.protocols import ToolRules, ToolRuleStore
from toolbox.agent_files import Agent
from toolbox.agents import CLAUDE_CODE, Agents, read_agents
from toolbox.mcp_servers import McpServers, Source
from toolbox.workspace_files import FoundFile
from toolbox.workspaces import Workspaces

__all__ = [
    "CLAUDE_CODE",
    "Agent",
    "Agents",
    "FoundFile",
    "McpServers",
    "Source",
    "ToolPolicy",
    "Workspaces",
    "read_agents",
]

UNPROTECTED = (
    "Claude Code's built-in tools are refused on a server that can be reached from elsewhere "
    "without an API key."
)
KEY_WITHOUT = "Your API key may not use Claude Code's built-in tools."
OFF = "Claude Code's built-in tools are off on this server (ALLOWED_TOOLS=none)."
COMMANDS = "Bash"
Number = TypeVar("Number", int, float)
SERVER = ""
"""The owner of the rules that hold for all."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """What holds for one principal here and now. `refusal` says why nothing is allowed at all,
    `no_commands` why `Bash` is not."""

    allowed: tuple[str, ...] = ()
    disallowed: tuple[str, ...] = ()
    refusal: str | None = None
    no_commands: str | None = None

    def rules_of(self, tool: BuiltinTool) -> tuple[str, ...]:
        """The rules that allow the tool; none where it may not be used."""
        if self.refusal is not None or tool.name in self.disallowed:
            return ()
        if self.no_commands is not None and tool.name == COMMANDS:
            return ()
        return tuple(rule for rule in self.allowed if tool_of(rule) == tool.name)

    def why_not(self, tool: BuiltinTool) -> str | None:
        """A sentence; None where the tool may be used."""
        if self.rules_of(tool):
            return None
        if self.refusal is not None:
            return self.refusal
        if self.no_commands is not None and tool.name == COMMANDS:
            return self.no_commands
        word = "disallowed" if tool.name in self.disallowed else "not allowed"
        return f"The tool {tool.name} ({tool.friendly_name}) is {word} here."

    def usable(self) -> list[BuiltinTool]:
        return [tool for tool in BY_NAME.values() if self.rules_of(tool)]


class ToolPolicy:
    """`names` are those of all keys; `is_exposed`: any client that can connect may ask, maybe
    from elsewhere. Raises SettingsError where a setting names no tool."""

    def __init__(
        self,
        settings: Settings,
        store: ToolRuleStore,
        names: Collection[str],
        *,
        is_exposed: bool,
    ) -> None:
        self.base = base_rules(settings)
        self._settings = settings
        self._store = store
        self._names = names
        self._is_exposed = is_exposed

    async def permissions(self, principal: Principal, session_id: str | None = None) -> Permissions:
        """Raises StoreUnavailable."""
        if refusal := self._refusal(principal):
            return Permissions(refusal=refusal)
        kept = await self._store.tool_rules()
        layers = [
            self.base,
            kept.get(SERVER),
            ToolRules(principal.allowed_tools, principal.disallowed_tools),
            kept.get(principal.name),
            await self._session_rules(principal, session_id),
        ]
        allowed, disallowed = _combined(layer for layer in layers if layer is not None)
        no_commands = await asyncio.to_thread(why_no_commands, self._settings)
        return Permissions(allowed, disallowed, None if self.base.allowed else OFF, no_commands)

    def _refusal(self, principal: Principal) -> str | None:
        if self._is_exposed:
            return UNPROTECTED
        return None if principal.builtin_tools else KEY_WITHOUT

    async def _session_rules(
        self, principal: Principal, session_id: str | None
    ) -> ToolRules | None:
        if session_id is None:
            return None
        try:
            return await self.session_rules(principal.name, session_id)
        except SessionNotFound:
            return None  # this turn begins it

    async def grant(
        self, principal: Principal, tool_request: ToolRequest, session_id: str | None
    ) -> ToolGrant:
        """What the turn gets, without its directory and MCP servers. Raises ToolsNotAllowed, and
        InvalidRequest for a limit above the server's."""
        held = await self.permissions(principal, session_id)
        if refusal := self._refusal(principal):
            raise ToolsNotAllowed(refusal)
        _check_servers(held, tool_request)
        tools = _granted(held, tool_request)
        # a client that asks for plan mode takes away what a person could approve
        shows_plan = tool_request.plan and tool_request.permission_mode != "plan"
        asking = (QUESTION_TOOL,) * tool_request.questions + (PLAN_TOOL,) * shows_plan
        return ToolGrant(
            tools=(*(tool.name for tool in tools), *asking),
            allow=tuple(rule for tool in tools for rule in _narrowed(held, tool, tool_request)),
            deny=tuple(dict.fromkeys((*held.disallowed, *tool_request.deny))),
            ask=(*_asked(tools, tool_request), *asking),
            permission_mode="plan" if shows_plan else tool_request.permission_mode,
            max_turns=_within(tool_request.max_turns, self._settings.max_turns, "max_turns"),
            max_budget_usd=_within(
                tool_request.max_budget_usd, self._settings.max_budget_usd, "max_budget_usd"
            ),
        )

    async def kept_rules(self) -> dict[str, ToolRules]:
        """What was set at run time: the server's under SERVER, those of keys by name."""
        return await self._store.tool_rules()

    async def session_rules(self, key: str, session_id: str) -> ToolRules | None:
        """Raises SessionNotFound."""
        return (await self._store.get(key, session_id)).tools

    async def set_rules(self, owner: str, changed: ToolRules | None) -> None:
        """For a key, or SERVER; None drops them. Raises NotFound and ToolsNotAllowed."""
        self._check_change(owner, changed)
        await self._store.set_tool_rules(owner, changed)

    async def set_session_rules(self, key: str, session_id: str, changed: ToolRules | None) -> None:
        """Raises NotFound, SessionNotFound and ToolsNotAllowed."""
        self._check_change(key, changed)
        await self._store.set_session_tools(key, session_id, changed)

    def _check_change(self, owner: str, changed: ToolRules | None) -> None:
        if changed is not None and changed.allowed and not self.base.allowed:
            raise ToolsNotAllowed(OFF)
        if owner != SERVER and owner not in self._names:
            raise NotFound(f"No such API key: {owner[:64]!r}.", param="key")

    def is_operator(self, principal: Principal) -> bool:
        """Whether it may see and change what concerns others."""
        try:
            self.check_operator(principal)
        except PermissionDenied:
            return False
        return True

    def check_operator(self, principal: Principal) -> None:
        """Raises PermissionDenied. Without keys every local client is the operator."""
        if self._is_exposed:
            raise PermissionDenied("Operator actions are disabled on a server without an API key.")
        is_named = principal.operator or principal.name in self._settings.operator_keys
        if principal.key_id is not None and not is_named:
            raise PermissionDenied(
                "Only an operator's API key may do this (OPERATOR_KEYS).", code="not_the_operator"
            )


def base_rules(settings: Settings) -> ToolRules:
    """Of ALLOWED_TOOLS and DISALLOWED_TOOLS. Raises SettingsError."""
    return ToolRules(
        _checked(tool_rules, settings.allowed_tools, "ALLOWED_TOOLS"),
        _checked(rules, settings.disallowed_tools, "DISALLOWED_TOOLS"),
    )


def _checked(
    read: Callable[[Iterable[str]], tuple[str, ...]], texts: tuple[str, ...], name: str
) -> tuple[str, ...]:
    try:
        return read(texts)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}.") from None


def _combined(layers: Iterable[ToolRules]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is allowed and disallowed by layers from the farthest to the nearest."""
    allowed: tuple[str, ...] = ()
    disallowed: list[str] = []
    for layer in layers:
        allowed = allowed if layer.allowed is None else layer.allowed
        disallowed += layer.disallowed
    return allowed, tuple(dict.fromkeys(disallowed))


def _granted(held: Permissions, tool_request: ToolRequest) -> list[BuiltinTool]:
    """In the catalogue's order."""
    for name in tool_request.tools:
        if reason := held.why_not(BY_NAME[name]):
            raise ToolsNotAllowed(_with_others(reason, held), param="claude_tools")
    usable = held.usable()
    if tool_request.all_allowed and not usable and not tool_request.mcp_servers:
        raise ToolsNotAllowed(held.refusal or "No tool is allowed here.")
    asked = [tool for tool in usable if tool_request.all_allowed or tool.name in tool_request.tools]
    return [tool for tool in asked if tool.name not in tool_request.without]


def _narrowed(held: Permissions, tool: BuiltinTool, tool_request: ToolRequest) -> tuple[str, ...]:
    """The rules that let the tool run without asking: those that both sides have. Raises
    ToolsNotAllowed where that leaves nothing of a tool."""
    allowed, is_asked = held.rules_of(tool), tool.name in tool_request.ask
    if is_asked and tool.name not in allowed:
        raise ToolsNotAllowed(f"Only {', '.join(allowed)} is allowed here, not all of {tool.name}.")
    if tool_request.rules is None:
        return () if is_asked else allowed
    wanted = tuple(rule for rule in tool_request.rules if tool_of(rule) == tool.name)
    if is_asked:  # a whole tool that is named in both places is asked for
        wanted = tuple(rule for rule in wanted if rule != tool.name)
    if tool.name in allowed:
        return wanted
    if tool.name in wanted:
        return allowed
    both = tuple(rule for rule in wanted if rule in allowed)
    if wanted and not both:
        raise ToolsNotAllowed(f"{', '.join(wanted)} is not allowed here: {', '.join(allowed)} is.")
    return both


def _asked(tools: Iterable[BuiltinTool], tool_request: ToolRequest) -> tuple[str, ...]:
    """Of built-in tools those that were granted; MCP rules as they are."""
    granted = {tool.name for tool in tools}
    return tuple(rule for rule in tool_request.ask if rule in granted or rule not in BY_NAME)


def _with_others(reason: str, held: Permissions) -> str:
    if held.refusal is not None:
        return reason
    names = ", ".join(tool.name for tool in held.usable())
    return f"{reason} Allowed: {names or 'none'}."


def _check_servers(held: Permissions, tool_request: ToolRequest) -> None:
    for name in tool_request.mcp_servers:
        if f"mcp__{name}" in held.disallowed:
            message = f"The MCP server {name} is disallowed here."
            raise ToolsNotAllowed(message, param="mcp_servers")


def _within(asked: Number | None, most: Number | None, name: str) -> Number | None:
    if asked is not None and most is not None and asked > most:
        message = f"`{name}` may be {most:g} at most on this server ({name.upper()})."
        raise InvalidRequest(message, param=name)
    return most if asked is None else asked
