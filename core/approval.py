"""What a person is asked before an agent uses a tool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from core.conversation import JsonObject

FUNCTION = "approve"
"""By a call of it the client is asked, where it offers such a function."""

APPROVAL_ID_PREFIX = "appr_"
"""How the ids of such calls begin: no model's do."""

OWN_SERVER = "claude-code"
"""The label under which Claude Code's built-in tools are asked for like those of an MCP server."""


QUESTION_TOOL = "AskUserQuestion"
"""Claude Code's tool that asks the person questions with choices. Its input gets the answers."""

PLAN_TOOL = "ExitPlanMode"
"""Claude Code's tool that shows the person a plan, the text `plan` of its input. Where it is
allowed, the agent leaves plan mode."""

ALWAYS_ASKING = (QUESTION_TOOL, PLAN_TOOL)
"""Tools that ask a person whatever the rules say."""


@dataclass(frozen=True, slots=True)
class ToolApproval:
    """One use of a tool that waits for a person. `use_id` is the model's id of the use."""

    use_id: str
    tool: str
    input: JsonObject = field(hash=False)

    def questions(self) -> Iterator[str]:
        """The texts of what is asked, where it is asked in words."""
        asked = self.input.get("questions") if self.tool == QUESTION_TOOL else None
        for one in asked if isinstance(asked, list) else ():
            if isinstance(one, dict) and isinstance(one.get("question"), str):
                yield one["question"]


@dataclass(frozen=True, slots=True)
class PersonsAnswer:
    """Whether a use is allowed; to questions the `answers`, by their texts; with a no the `reason`,
    which the model is told."""

    allow: bool
    answers: Mapping[str, str] = field(default_factory=dict, hash=False)
    reason: str = ""


def server_and_tool(tool: str) -> tuple[str, str]:
    """The label and the name of a tool: of an MCP server's `mcp__SERVER__TOOL`, or a built-in."""
    _, _, rest = tool.partition("mcp__")
    label, _, name = rest.partition("__")
    return (label, name) if tool.startswith("mcp__") and name else (OWN_SERVER, tool)


Approve = Callable[[ToolApproval], Awaitable[PersonsAnswer]]
"""Whether the tool may be used. Waits for the answer; may be cancelled, which means no."""
