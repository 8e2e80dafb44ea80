"""The CLI's questions whether a tool may be used, and the answers.

It asks by a control request `can_use_tool` where no rule decides, and waits; nothing runs before it
has an answer. Source: `docs/claude-cli.md`, "Permission prompts".
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

from core.approval import PLAN_TOOL, QUESTION_TOOL, Approve, ToolApproval
from core.builtin_tools import BY_NAME, tool_of
from core.conversation import JsonObject
from core.turn import ToolGrant
from engine.control import control_answer_line

DENIED = "A person was asked and did not allow this."
REASON = " The person says: {}"
PLAN_FILE = "planFilePath"
"""Beside a plan: where Claude Code keeps it on this machine, which concerns nobody."""

NOT_ALLOWED = "Permission to use {} has been denied: no rule allows it."

log = logging.getLogger(__name__)


class PermissionPrompts:
    """Answers what one process asks: by `approve`, which is the present turn's, for the tools and
    MCP rules that the grant asks for, and with a denial for all else. `write` sends a line without
    waiting."""

    def __init__(self, grant: ToolGrant, write: Callable[[str], None]) -> None:
        self._ask = grant.ask
        self._after_plan = allowed_rules(grant)[1]
        self._write = write
        self._open: dict[str, asyncio.Task[None]] = {}
        self.approve: Approve | None = None

    def consume(self, message: dict[str, Any]) -> bool:
        """Whether the message was one of these."""
        match message:
            case {"type": "control_request", "request_id": str(request_id), "request": dict(asked)}:
                if asked.get("subtype") != "can_use_tool":
                    return False
                task = asyncio.get_running_loop().create_task(self._answer(request_id, asked))
                self._open[request_id] = task
                return True
            case {"type": "control_cancel_request", "request_id": str(request_id)}:
                task_or_none = self._open.pop(request_id, None)
                if task_or_none is not None:
                    task_or_none.cancel()
                return task_or_none is not None
        return False

    def close(self) -> None:
        """There will be no more answers: what waits stays unanswered, and so does not run."""
        self.approve = None
        for task in self._open.values():
            task.cancel()
        self._open.clear()

    async def _answer(self, request_id: str, asked: JsonObject) -> None:
        try:
            answer = await self._decided(asked)
        except Exception:
            log.exception("a question about a tool could not be answered")
            answer = _denial(DENIED)
        self._open.pop(request_id, None)
        self._write(control_answer_line(request_id, answer))

    async def _decided(self, asked: JsonObject) -> JsonObject:
        tool = str(asked["tool_name"])
        if self.approve is None or not self._is_asked(tool):
            return _denial(NOT_ALLOWED.format(tool))
        given = asked.get("input") or {}
        shown = {key: value for key, value in given.items() if key != PLAN_FILE}
        use = ToolApproval(str(asked.get("tool_use_id") or ""), tool, shown)
        answer = await self.approve(use)
        if not answer.allow:
            return _denial(DENIED + (REASON.format(answer.reason) if answer.reason else ""))
        answers = {"answers": dict(answer.answers)} if tool == QUESTION_TOOL else {}
        allowed: JsonObject = {"behavior": "allow", "updatedInput": given | answers}
        if tool == PLAN_TOOL and self._after_plan:
            allowed["updatedPermissions"] = [_allowing(self._after_plan)]
        return allowed

    def _is_asked(self, tool: str) -> bool:
        return any(tool == rule or tool.startswith(f"{rule}__") for rule in self._ask)


def allowed_rules(own: ToolGrant) -> tuple[list[str], list[str]]:
    """The rules for what runs without asking: those that count at once, and those that count when
    a plan was approved. In plan mode the CLI runs a command that a rule allows; what an MCP server
    does nobody knows."""
    every = [*own.allow, *_server_rules(own)]
    if own.permission_mode != "plan":
        return every, []
    at_once = [rule for rule in every if _is_harmless(tool_of(rule))]
    return at_once, [rule for rule in every if rule not in at_once]


def _is_harmless(tool: str) -> bool:
    """A sub-agent is in plan mode too."""
    return tool in BY_NAME and (BY_NAME[tool].risk in ("read", "network") or tool == "Agent")


def _server_rules(own: ToolGrant) -> list[str]:
    if not own.mcp_config:
        return []
    return [f"mcp__{name}" for name in json.loads(own.mcp_config)["mcpServers"]]


def _allowing(rules: Iterable[str]) -> JsonObject:
    """A `PermissionUpdate` of the official SDK's, for the rest of the process's life."""
    values = []
    for rule in rules:
        tool, _, inputs = rule.removesuffix(")").partition("(")
        values.append({"toolName": tool, **({"ruleContent": inputs} if inputs else {})})
    allowing = {"type": "addRules", "behavior": "allow", "destination": "session"}
    return {**allowing, "rules": values}


def _denial(message: str) -> JsonObject:
    return {"behavior": "deny", "message": message}
