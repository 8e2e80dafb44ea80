"""The catalogue of Claude Code's built-in tools: their names, what they do and what they risk; and
what a request may say of them.

Rules are Claude Code's permission rules: a tool (`Read`), a tool for some inputs (`Bash(git *)`),
an MCP server (`mcp__calc`) or one of its tools (`mcp__calc__add`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from core.builtin_tool_schemas import SCHEMAS
from core.conversation import JsonObject
from core.turn import PermissionMode

Risk = Literal["read", "write", "execute", "network"]


@dataclass(frozen=True, slots=True)
class BuiltinTool:
    """One tool. `subject` is the field of its input that says best what a use is about."""

    name: str
    friendly_name: str
    description: str
    risk: Risk
    subject: str
    aliases: tuple[str, ...] = ()

    @property
    def input_schema(self) -> JsonObject:
        return SCHEMAS[self.name]


TOOLS = (
    BuiltinTool(
        "Read",
        "read_file",
        "Reads a file of the working directory: text, images, PDF or notebooks.",
        "read",
        "file_path",
    ),
    BuiltinTool(
        "Glob",
        "search_files",
        "Finds files of the working directory by a pattern of their names.",
        "read",
        "pattern",
        ("list_directory",),
    ),
    BuiltinTool(
        "Grep",
        "search_in_files",
        "Searches the files of the working directory for a regular expression.",
        "read",
        "pattern",
    ),
    BuiltinTool(
        "Edit", "edit_file", "Replaces text in a file that it has read.", "write", "file_path"
    ),
    BuiltinTool("Write", "write_file", "Writes a whole file, new or not.", "write", "file_path"),
    BuiltinTool(
        "NotebookEdit",
        "edit_notebook",
        "Changes a cell of a Jupyter notebook.",
        "write",
        "notebook_path",
    ),
    BuiltinTool(
        "Bash",
        "run_command",
        "Runs a shell command as the server's user, in the sandbox where there is one.",
        "execute",
        "command",
    ),
    BuiltinTool(
        "WebSearch",
        "web_search",
        "Searches the web, at Claude's provider.",
        "network",
        "query",
    ),
    BuiltinTool(
        "WebFetch",
        "fetch_url",
        "Fetches a web page from this host, whose own network it reaches too.",
        "network",
        "url",
    ),
    BuiltinTool(
        "Agent",
        "run_agent",
        "Gives a task to a second agent, which may use the tools that were granted.",
        "execute",
        "description",
    ),
)

BY_NAME = {tool.name: tool for tool in TOOLS}
BY_ANY_NAME = {
    name.lower(): tool for tool in TOOLS for name in (tool.name, tool.friendly_name, *tool.aliases)
}
KNOWN = ", ".join(f"{tool.name} ({tool.friendly_name})" for tool in TOOLS)
CALLER_SERVER = "caller"
"""The MCP server of the caller's own functions, as Claude Code knows it."""

STRUCTURED_OUTPUT = "StructuredOutput"
"""The tool of the CLI's own in which an answer follows a schema."""

SEPARATOR = re.compile(r",(?![^()]*\))")
RULE = re.compile(r"([A-Za-z_]+)(\(.+\))?")
MCP_RULE = re.compile(r"mcp__[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class SubAgent:
    """A second agent for the tool `Agent`. No `tools` are all that the first has; no `model` is the
    first one's."""

    name: str
    description: str
    prompt: str
    tools: tuple[str, ...] = ()
    model: str | None = None


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """What a request asks for: `tools` by name, with `all_allowed` whatever else is allowed too,
    and nothing of `without`.

    `rules` narrow what is allowed of the tools, None leaves it as it is; uses of the tools in `ask`
    that none of them covers need a person's approval; `deny` rules hold in any case. With
    `questions` the model may ask the person; with `plan` it shows a plan before it changes
    anything.
    """

    tools: tuple[str, ...] = ()
    all_allowed: bool = False
    without: tuple[str, ...] = ()
    max_turns: int | None = None
    max_budget_usd: float | None = None
    permission_mode: PermissionMode = "default"
    cwd: str | None = None
    mcp_servers: tuple[str, ...] = ()
    rules: tuple[str, ...] | None = None
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    questions: bool = False
    plan: bool = False


def listed(names: str | Iterable[str] | None) -> tuple[str, ...]:
    """Names or rules of a list, or comma separated; a comma inside parentheses does not
    separate."""
    parts = SEPARATOR.split(names) if isinstance(names, str) else names or ()
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def named(name: str) -> BuiltinTool:
    """The tool of this name, Claude Code's or the friendly one. Raises ValueError."""
    tool = BY_ANY_NAME.get(name.lower())
    if tool is None:
        raise ValueError(f"{name[:64]!r} is not one of Claude Code's built-in tools: {KNOWN}")
    return tool


def rules(texts: Iterable[str]) -> tuple[str, ...]:
    """The rules with Claude Code's names; `all` stands for every tool, `none` for no more than the
    others say. Raises ValueError."""
    found: list[str] = []
    for text in texts:
        found += _rules(text.strip())
    return tuple(dict.fromkeys(found))


def tool_rules(texts: Iterable[str]) -> tuple[str, ...]:
    """Rules that allow: of tools only. Raises ValueError."""
    found = rules(texts)
    if servers := [rule for rule in found if MCP_RULE.fullmatch(rule)]:
        raise ValueError(
            f"{servers[0]!r} needs no rule: an MCP server is allowed where it is set up"
        )
    return found


def _rules(text: str) -> tuple[str, ...]:
    if text.lower() == "none":
        return ()
    if text.lower() in ("all", "*"):
        return tuple(BY_NAME)
    if MCP_RULE.fullmatch(text):
        return (text,)
    rule = RULE.fullmatch(text)
    name, inputs = rule.groups() if rule else (text, None)
    return (named(name).name + (inputs or ""),)


def tool_of(rule: str) -> str:
    """`Bash` of `Bash(git *)`."""
    return rule.partition("(")[0]
