"""One file of AGENTS_DIR -> `Agent`: YAML front matter between two lines `---`, then the prompt.

    ---
    description: Reads and changes this repository
    tools: Read, Grep, Edit, Bash(make *)
    ---
    You look after this repository.

The form is that of Claude Code's own agents (https://code.claude.com/docs/en/sub-agents), with more
fields. Whatever is wrong in a file is found with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from config.settings import SESSIONS_FOLDER
from core.builtin_tools import BY_NAME, MCP_RULE, SubAgent, listed, named, rules, tool_of
from core.turn import Effort
from models import ToolActivity
from toolbox import skills
from toolbox.front_matter import FrontMatterMissing, parted
from toolbox.skills import Skill

SUFFIX = ".md"
MAX_BYTES = 256 * 1024
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
NAME_RULE = "1 to 64 letters, digits, '.', '_' and '-'"
SESSION = "session"
CHANGING = frozenset({"write", "execute"})
"""What a tool must not risk in a workspace that is only read."""


class AgentError(Exception):
    """A file that cannot be used: `line` counts from 1, `reason` is a phrase."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Agent:
    """A model with tools, as an operator defined it.

    `prompt` stands before the caller's system prompt, with `claude_code` behind Claude Code's own.
    `tools` are rules, None all that is allowed; `ask` are tools that a person must approve each
    time; `deny` rules hold in any case. With `questions` it may ask the person; with `plan` it
    shows a plan before it changes anything. `workspace` is a directory, None the session's own.
    `keys` may use it, None all. The prompt lists the `skills`.
    """

    name: str
    description: str = ""
    model: str = ""
    effort: Effort | None = None
    prompt: str = ""
    claude_code: bool = False
    tools: tuple[str, ...] | None = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    questions: bool = False
    plan: bool = False
    mcp_servers: tuple[str, ...] = ()
    sub_agents: tuple[SubAgent, ...] = ()
    skills: tuple[Skill, ...] = ()
    workspace: Path | None = None
    max_turns: int | None = None
    max_budget_usd: float | None = None
    timeout_seconds: float | None = None
    activity: ToolActivity | None = None
    keys: frozenset[str] | None = None

    @property
    def tool_names(self) -> tuple[str, ...]:
        """The built-in tools that it names, with those that it asks for."""
        names = map(tool_of, (*(self.tools or ()), *self.ask))
        return tuple(dict.fromkeys(name for name in names if name in BY_NAME))


def _listed(value: object) -> object:
    """A list, or names in one text by commas."""
    if value is None or isinstance(value, str):
        return listed(value)
    return value


def _all_rules(texts: tuple[str, ...]) -> tuple[str, ...]:
    return rules(texts)


def _tool_rules(texts: tuple[str, ...]) -> tuple[str, ...] | None:
    """None is all that is allowed."""
    if [text.lower() for text in texts] in (["all"], ["*"]):
        return None
    found = rules(texts)
    if servers := [rule for rule in found if MCP_RULE.fullmatch(rule)]:
        raise ValueError(f"{servers[0]!r} belongs under mcp_servers")
    return found


def _asked(texts: tuple[str, ...]) -> tuple[str, ...]:
    found = rules(texts)
    if narrow := [rule for rule in found if "(" in rule]:
        raise ValueError(f"{narrow[0]!r}: a tool is asked for as a whole, without inputs")
    return found


def _tool_names(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(named(text).name for text in texts))


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Name = Annotated[str, Field(pattern=rf"^{NAME}$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class SubAgentFields(Strict):
    """A second agent, which the first may give a task to. It never has a tool that the first has
    not."""

    description: Annotated[str, Field(min_length=1)]
    prompt: Annotated[str, Field(min_length=1)]
    tools: Annotated[Texts, AfterValidator(_tool_names)] = ()
    model: str | None = None


class Fields(Strict):
    """The front matter."""

    name: Name | None = None
    description: Annotated[str, Field(min_length=1, max_length=1000)]
    model: str = ""
    effort: Effort | None = None
    preset: Literal["claude_code"] | None = None
    tools: Annotated[Texts, AfterValidator(_tool_rules)] = ()
    ask: Annotated[Texts, AfterValidator(_asked)] = ()
    deny: Annotated[Texts, AfterValidator(_all_rules)] = ()
    questions: bool = False
    plan: bool = False
    mcp_servers: Texts = ()
    sub_agents: dict[Name, SubAgentFields] = {}
    skills: Texts = ()
    workspace: Annotated[str, Field(min_length=1)] = SESSION
    read_only: bool = False
    max_turns: PositiveInt | None = None
    max_budget_usd: PositiveFloat | None = None
    timeout_seconds: PositiveFloat | None = None
    activity: ToolActivity | None = None
    keys: Texts | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> Fields:
        has_all = self.tools is None
        names = [*BY_NAME] if has_all else [tool_of(rule) for rule in (*self.tools, *self.ask)]
        changing = [n for n in names if n in BY_NAME and BY_NAME[n].risk in CHANGING]
        if self.read_only and changing:
            raise ValueError(f"read_only does not go with the tool {changing[0]}")
        if self.sub_agents and "Agent" not in names:
            raise ValueError("sub_agents need the tool Agent")
        if self.questions and not names and not self.mcp_servers:
            raise ValueError("questions need a tool or an MCP server beside them")
        if self.skills and "Read" not in names:
            raise ValueError("skills need the tool Read")
        if self.plan and "Write" not in names:
            raise ValueError("plan needs the tool Write, by which the plan is written down")
        return self


def read_agent(path: Path, root: Path) -> Agent:
    """The agent of a file, whose name is the file's unless it says another. A relative workspace is
    below `root`. Raises AgentError."""
    try:
        data = path.read_bytes()
        text = data.decode() if len(data) <= MAX_BYTES else ""
    except OSError as error:
        raise AgentError(1, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise AgentError(1, "is not UTF-8 text") from None
    if len(data) > MAX_BYTES:
        raise AgentError(1, f"has more than {MAX_BYTES} bytes")
    try:
        head, prompt = parted(text)
    except FrontMatterMissing as error:
        raise AgentError(error.line, error.reason) from None
    node = _composed(head)
    try:
        fields = Fields.model_validate(_value(node))
    except ValidationError as error:
        raise _error(error, node) from None
    found = _skills(fields, path.parent, node)
    return _agent(path.name.removesuffix(SUFFIX), fields, prompt, node, root, found)


def _composed(head: str) -> yaml.MappingNode:
    """The front matter with its places. Its first line is the file's second."""
    try:
        node = yaml.compose(head, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise AgentError(mark.line + 2 if mark else 2, f"{error.problem}") from None
    except yaml.YAMLError:
        raise AgentError(2, "holds a character that YAML does not allow") from None
    if not isinstance(node, yaml.MappingNode):
        raise AgentError(2, "must be fields such as `description: …`")
    return node


def _value(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise AgentError(mark.line + 2 if mark else 2, f"{error.problem}") from None
    except (ValueError, RecursionError):  # such as the 31st of February
        raise AgentError(2, "holds a value that YAML cannot read") from None
    finally:
        loader.dispose()


def _error(error: ValidationError, node: yaml.MappingNode) -> AgentError:
    first = error.errors(include_url=False, include_input=False)[0]
    steps = [step for step in first["loc"] if step != "[key]"]
    reason = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = SubAgentFields if len(steps) > 1 else Fields
        reason = f"is not a field: {', '.join(known.model_fields)}"
    elif first["type"] == "string_pattern_mismatch":
        reason = f"must be {NAME_RULE}"
    place = ".".join(str(step) for step in steps)
    return AgentError(_line(node, steps), f"{place}: {reason}" if place else reason)


def _line(node: yaml.Node, steps: Iterable[int | str]) -> int:
    """Where the value is, as deep as it is there."""
    line = 0
    for step in steps:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == step), None)
        if found is None:
            break
        line, node = found[0].start_mark.line, found[1]
    return int(line) + 2


def _skills(fields: Fields, directory: Path, node: yaml.Node) -> tuple[Skill, ...]:
    try:
        return tuple(skills.read_skill(directory / skills.FOLDER, name) for name in fields.skills)
    except ValueError as error:
        raise AgentError(_line(node, ["skills"]), f"skills: {error}") from None


def _agent(
    stem: str,
    fields: Fields,
    prompt: str,
    node: yaml.Node,
    root: Path,
    found: tuple[Skill, ...],
) -> Agent:
    name = fields.name or stem
    if not re.fullmatch(NAME, name):
        raise AgentError(1, f"the file's name must be {NAME_RULE}, or `name` be given")
    same = ("description", "effort", "tools", "ask", "deny", "questions", "plan", "mcp_servers")
    limits = ("max_turns", "max_budget_usd", "timeout_seconds", "activity")
    values: Mapping[str, Any] = {key: getattr(fields, key) for key in (*same, *limits)}
    return Agent(
        name=name,
        model="" if fields.model == "inherit" else fields.model,
        prompt="\n\n".join(filter(None, (prompt, skills.listing(found)))),
        claude_code=fields.preset is not None,
        sub_agents=tuple(
            SubAgent(key, sub.description, sub.prompt, sub.tools, sub.model)
            for key, sub in fields.sub_agents.items()
        ),
        skills=found,
        workspace=_workspace(fields.workspace, node, root),
        keys=None if fields.keys is None else frozenset(fields.keys),
        **values,
    )


def _workspace(text: str, node: yaml.Node, root: Path) -> Path | None:
    if text == SESSION:
        return None
    try:
        base = root.expanduser().resolve()
        path = (base / Path(text).expanduser()).resolve()
        if path.is_dir() and base / SESSIONS_FOLDER not in (path, *path.parents):
            return path
    except (OSError, RuntimeError, ValueError):  # too long, a circle of links, a NUL
        pass
    raise AgentError(_line(node, ["workspace"]), f"workspace: there is no directory {text!r}")
