"""An agent takes a turn: what it is bound to joins what the client asked for.

A dialect sees a request for tools by headers, which every dialect reads already; what is granted is
the agent's.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TypeVar

from claude_cli import ModelCard
from core.builtin_tools import BY_NAME, ToolRequest
from core.errors import InvalidRequest, PermissionDenied
from core.turn import ToolGrant
from dialects.base import Call
from models import TurnHeaders
from tools import Agent

UNSANDBOXED = " (Runs commands without a sandbox.)"

C = TypeVar("C", bound=Call)
N = TypeVar("N", int, float)


def as_tool_headers(agent: Agent, headers: TurnHeaders) -> TurnHeaders:
    """The headers with a request for tools, as a client would send it."""
    activity = headers.x_claude_tool_activity or agent.activity
    asked = {"x_claude_enable_tools": True, "x_claude_tool_activity": activity}
    return headers.model_copy(update=asked)


def with_agent(call: C, agent: Agent) -> C:
    """The call as the agent's: its tools in the place of those that the client names. Raises
    InvalidRequest and PermissionDenied."""
    client = call.tool_request
    if client is None:
        message = f"The model `{agent.name}` is an agent: its tools cannot be switched off."
        raise InvalidRequest(message, param="enable_tools")
    if client.cwd is not None:
        message = f"The agent `{agent.name}` has a workspace of its own."
        raise PermissionDenied(message, param="cwd", code="path_not_allowed")
    turn = replace(call.turn, effort=call.turn.effort or agent.effort)
    return replace(call, turn=turn, tool_request=tool_request(agent, client))


def tool_request(agent: Agent, client: ToolRequest | None = None) -> ToolRequest:
    """What the agent asks for. A client can only take away from it."""
    asked = client or ToolRequest()
    return ToolRequest(
        tools=agent.tool_names,
        all_allowed=agent.tools is None,
        without=(*asked.without, *(rule for rule in agent.deny if rule in BY_NAME)),
        max_turns=_lower(asked.max_turns, agent.max_turns),
        max_budget_usd=_lower(asked.max_budget_usd, agent.max_budget_usd),
        permission_mode=asked.permission_mode,
        mcp_servers=agent.mcp_servers,
        rules=agent.tools,
        ask=(*agent.ask, *asked.ask),
        questions=agent.questions,
        plan=agent.plan,
        deny=agent.deny,
    )


def agent_card(
    agent: Agent, grant: ToolGrant, model: str, card: ModelCard | None, *, is_sandboxed: bool
) -> ModelCard:
    """The agent in the form of the model that it runs on."""
    warns = "Bash" in grant.tools and not is_sandboxed
    return replace(
        card or ModelCard(model, model),
        id=agent.name,
        display_name=agent.name,
        description=f"{agent.description}{UNSANDBOXED if warns else ''}",
        aliases=(),
        runs_on=model,
    )


def with_prompt(grant: ToolGrant, agent: Agent) -> ToolGrant:
    """The grant with what a process of the agent is started with."""
    return replace(
        grant,
        prompt=agent.prompt,
        also_read=tuple(str(skill.directory) for skill in agent.skills),
        claude_code=agent.claude_code,
        sub_agents=_sub_agents(agent, grant),
        timeout_seconds=agent.timeout_seconds,
        directory=grant.directory if agent.workspace is None else str(agent.workspace),
    )


def _sub_agents(agent: Agent, grant: ToolGrant) -> str:
    """As `initialize` takes them: by name. None has a tool that was not granted."""
    if not agent.sub_agents:
        return ""
    found = {}
    for sub in agent.sub_agents:
        fields = {key: value for key, value in asdict(sub).items() if value and key != "name"}
        tools = [name for name in sub.tools or grant.tools if name in grant.tools]
        found[sub.name] = {**fields, "tools": tools}
    return json.dumps(found)


def _lower(one: N | None, other: N | None) -> N | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
