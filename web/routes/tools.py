"""`/v1/tools`: Claude Code's built-in tools, which of them the caller may use, and who says so."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from config.sandbox import why_unsandboxed
from core.builtin_tools import TOOLS, BuiltinTool, Risk, listed, rules, tool_rules
from core.conversation import JsonObject
from core.errors import InvalidRequest
from models import ErrorBody, Names
from stores.protocols import ToolRules
from tools import SERVER, Permissions
from web.dependencies import Operator, Principal, Settings, ToolPolicy, ToolStats

ERRORS = (400, 401, 403, 404, 429, 503)

router = APIRouter(
    prefix="/v1/tools",
    tags=["tools"],
    responses={status: {"model": ErrorBody} for status in ERRORS},
)

SessionId = Annotated[str | None, Query(description="A session whose own rules count too")]
KeyName = Annotated[str | None, Query(description="The name of the session's key; yours without")]


class Tool(BaseModel):
    """`rules` are those that allow it to the caller; `why_not` says why there are none."""

    name: str
    friendly_name: str
    aliases: list[str]
    description: str
    input_schema: JsonObject
    risk: Risk
    allowed: bool
    rules: list[str]
    why_not: str | None


class Sandbox(BaseModel):
    """Around the commands of Bash; `why_not` is for the operator."""

    active: bool
    why_not: str | None


class ToolList(BaseModel):
    object: Literal["list"] = "list"
    sandbox: Sandbox
    data: list[Tool]


class Rules(BaseModel):
    """`allowed_tools` null leaves what holds without it."""

    allowed_tools: list[str] | None
    disallowed_tools: list[str]


class ToolConfig(BaseModel):
    """From the farthest to the nearest: the nearest `allowed_tools` count, and each level's
    `disallowed_tools`. `keys` are those set here; what API_KEYS_FILE says lies before them."""

    object: Literal["tools.config"] = "tools.config"
    settings: Rules
    server: Rules | None
    keys: dict[str, Rules]
    session: Rules | None


class ToolConfigChange(BaseModel):
    """Replaces the rules of the server, of a key or of one of its sessions; with neither field
    they are dropped."""

    model_config = ConfigDict(extra="forbid")

    key: str | None = None
    session_id: str | None = None
    allowed_tools: Names | None = None
    disallowed_tools: Names | None = None


class ToolUses(BaseModel):
    uses: int
    errors: int
    denials: int


class ToolUsage(BaseModel):
    """Of the caller's own requests to this server since it started. `denials` are those errors
    that no rule allowed."""

    object: Literal["tools.stats"] = "tools.stats"
    total: ToolUses
    tools: dict[str, ToolUses]


@router.get("", summary="Claude Code's built-in tools, and which of them the caller may use")
async def list_tools(
    principal: Principal, policy: ToolPolicy, settings: Settings, session_id: SessionId = None
) -> ToolList:
    held = await policy.permissions(principal, session_id)
    why_not = await asyncio.to_thread(why_unsandboxed, settings)  # the first time it tries bwrap
    data = [_tool(tool, held) for tool in TOOLS]
    return ToolList(sandbox=Sandbox(active=why_not is None, why_not=why_not), data=data)


def _tool(tool: BuiltinTool, held: Permissions) -> Tool:
    return Tool(
        name=tool.name,
        friendly_name=tool.friendly_name,
        aliases=list(tool.aliases),
        description=tool.description,
        input_schema=tool.input_schema,
        risk=tool.risk,
        allowed=held.why_not(tool) is None,
        rules=list(held.rules_of(tool)),
        why_not=held.why_not(tool),
    )


@router.get("/config", summary="What is allowed to whom; for operators")
async def tool_config(
    operator: Operator, policy: ToolPolicy, key: KeyName = None, session_id: SessionId = None
) -> ToolConfig:
    return await _config(policy, key or operator.name, session_id)


@router.put("/config", summary="Allow or disallow tools for the server, a key or a session")
async def change_tool_config(
    operator: Operator, policy: ToolPolicy, body: ToolConfigChange
) -> ToolConfig:
    """It holds from the next request on, on every server that shares the store."""
    changed = _rules(body)
    if body.session_id is not None:
        await policy.set_session_rules(body.key or operator.name, body.session_id, changed)
    else:
        await policy.set_rules(body.key or SERVER, changed)
    return await _config(policy, body.key or operator.name, body.session_id)


@router.get("/stats", summary="How often the caller used which tool since the server started")
async def tool_stats(principal: Principal, stats: ToolStats) -> ToolUsage:
    counts = stats.of(principal.name)
    return ToolUsage(
        total=ToolUses(
            uses=sum(count.uses for count in counts.values()),
            errors=sum(count.errors for count in counts.values()),
            denials=sum(count.denials for count in counts.values()),
        ),
        tools={
            name: ToolUses(uses=count.uses, errors=count.errors, denials=count.denials)
            for name, count in sorted(counts.items())
        },
    )


async def _config(policy: ToolPolicy, key: str, session_id: str | None) -> ToolConfig:
    kept = await policy.kept_rules()
    session = None if session_id is None else await policy.session_rules(key, session_id)
    return ToolConfig(
        settings=_shown(policy.base),
        server=_shown_or_none(kept.pop(SERVER, None)),
        keys={name: _shown(theirs) for name, theirs in sorted(kept.items())},
        session=_shown_or_none(session),
    )


def _rules(body: ToolConfigChange) -> ToolRules | None:
    """None drops them. Raises InvalidRequest."""
    if body.allowed_tools is None and body.disallowed_tools is None:
        return None
    try:
        allowed = None if body.allowed_tools is None else tool_rules(listed(body.allowed_tools))
        return ToolRules(allowed, rules(listed(body.disallowed_tools)))
    except ValueError as error:
        raise InvalidRequest(f"{error}.") from None


def _shown(theirs: ToolRules) -> Rules:
    allowed = None if theirs.allowed is None else list(theirs.allowed)
    return Rules(allowed_tools=allowed, disallowed_tools=list(theirs.disallowed))


def _shown_or_none(theirs: ToolRules | None) -> Rules | None:
    return None if theirs is None else _shown(theirs)
