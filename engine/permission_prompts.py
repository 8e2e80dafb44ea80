"""The CLI's questions whether a tool may be used, and the answers.

It asks by a control request `can_use_tool` where no rule decides, and waits; nothing runs before it
has an answer. Source: `docs/claude-cli.md`, "Permission prompts".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from core.approval import QUESTION_TOOL, Approve, ToolApproval
from core.conversation import JsonObject
from engine.control import control_answer_line

DENIED = "A person was asked and did not allow this."
NOT_ALLOWED = "Permission to use {} has been denied: no rule allows it."

log = logging.getLogger(__name__)


class PermissionPrompts:
    """Answers what one process asks: by `approve`, which is the present turn's, for the tools and
    MCP rules in `ask`, and with a denial for all else. `write` sends a line without waiting."""

    def __init__(self, ask: tuple[str, ...], write: Callable[[str], None]) -> None:
        self._ask = ask
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
        use = ToolApproval(str(asked.get("tool_use_id") or ""), tool, given)
        answer = await self.approve(use)
        if not answer.allow:
            return _denial(DENIED)
        answers = {"answers": dict(answer.answers)} if tool == QUESTION_TOOL else {}
        return {"behavior": "allow", "updatedInput": given | answers}

    def _is_asked(self, tool: str) -> bool:
        return any(tool == rule or tool.startswith(f"{rule}__") for rule in self._ask)


def _denial(message: str) -> JsonObject:
    return {"behavior": "deny", "message": message}
