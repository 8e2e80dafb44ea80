"""`python main.py agent new|check|list`: the agents of AGENTS_DIR, without a server."""

from __future__ import annotations

import sys
from pathlib import Path

from config.sandbox import why_unsandboxed
from config.settings import Settings, SettingsError
from core.builtin_tools import tool_of
from tools import Agent, base_rules, read_agents

USAGE = "usage: python main.py agent new NAME | check | list\n"
TEMPLATE = """\
---
description: What it is for, as clients see it in their list of models.
# model: sonnet             any model or alias; DEFAULT_MODEL without
# effort: high
# preset: claude_code       Claude Code's own system prompt first
tools: Read, Glob, Grep
# ask: Bash                 uses that a person approves one by one
# deny: Bash(git push *)
# workspace: session        or a directory, relative to WORKSPACE_ROOT
# read_only: true
# max_turns: 30
# max_budget_usd: 1
# keys: alice               names of the API keys that may use it
---
You look after the files in your working directory.
"""


def main(arguments: list[str], settings: Settings) -> int:
    """The exit status: 1 where a file cannot be used, 2 where the arguments are wrong."""
    match arguments:
        case ["new", name]:
            return new(name, settings)
        case ["check"]:
            return check(settings)
        case ["list"]:
            return show(settings)
    sys.stderr.write(USAGE)
    return 2


def new(name: str, settings: Settings) -> int:
    """Writes a file to begin with. Raises SettingsError where it cannot."""
    path = settings.agents_dir.expanduser() / f"{name}.md"
    if path.name != f"{name}.md" or name.startswith("."):
        sys.stderr.write(f"{name!r} is not a name for a file.\n")
        return 2
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        sys.stderr.write(f"{path} is there already.\n")
        return 1
    except OSError as error:
        raise SettingsError(f"AGENTS_DIR: {path} cannot be written: {error.strerror}.") from None
    sys.stdout.write(f"{path}\n")
    return 0


def check(settings: Settings) -> int:
    """Says of each agent whether it can be served, and what it lacks here."""
    found = read_agents(settings.agents_dir.expanduser(), settings.workspace_root)
    for agent in found.agents.values():
        lacking = missing(agent, settings)
        sys.stdout.write(f"{agent.name}: {'; '.join(lacking) or 'ok'}\n")
    for problem in found.problems:
        sys.stdout.write(f"{Path(settings.agents_dir) / problem.file}:{problem.line}: ")
        sys.stdout.write(f"{problem.reason}\n")
    return 1 if found.problems else 0


def missing(agent: Agent, settings: Settings) -> list[str]:
    """What the settings do not give the agent, a phrase each. A key may have other rules."""
    base = base_rules(settings)
    allowed = {tool_of(rule) for rule in base.allowed or ()} - {*base.disallowed}
    phrases = [
        f"needs {name}, which ALLOWED_TOOLS does not allow"
        for name in agent.tool_names
        if name not in allowed
    ]
    has_commands = "Bash" in (allowed if agent.tools is None else agent.tool_names)
    if has_commands and "Bash" in allowed and (why := why_unsandboxed(settings)):
        phrases.append(f"runs commands without a sandbox: {why.rstrip('.')}")
    return phrases


def show(settings: Settings) -> int:
    """The agents, a line each: name, model, description."""
    found = read_agents(settings.agents_dir.expanduser(), settings.workspace_root)
    width = max(map(len, found.agents))
    for agent in found.agents.values():
        model = agent.model or settings.default_model
        sys.stdout.write(f"{agent.name:{width}}  {model:10}  {agent.description}\n")
    return 0
