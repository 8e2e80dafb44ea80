"""The agents: models with tools, of the files in AGENTS_DIR and one that is always there.

The directory is read when the server starts and again when something in it changed. A file that
cannot be used is reported with its line, and the others serve on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolbox import skills
from toolbox.agent_files import SUFFIX, Agent, AgentError, read_agent

CHECK_SECONDS = 1.0

CLAUDE_CODE = Agent(
    name="claude-code",
    description="Claude Code itself, with all the tools that are allowed to you.",
    claude_code=True,
    tools=None,
)
"""A file of this name takes its place."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not served. `line` counts from 1."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Found:
    """What a directory holds: agents by their names in lower case."""

    agents: Mapping[str, Agent]
    problems: tuple[Problem, ...] = ()


def read_agents(directory: Path, root: Path) -> Found:
    """All agents of a directory, in the order of their files' names; none where there is no such
    directory. `root` is where relative workspaces are."""
    agents: dict[str, Agent] = {CLAUDE_CODE.name: CLAUDE_CODE}
    files: dict[str, str] = {}
    problems: list[Problem] = []
    for path in _paths(directory):
        try:
            agent = read_agent(path, root)
            if other := files.get(agent.name.lower()):
                raise AgentError(1, f"{other} has the name {agent.name!r} too")
        except AgentError as error:
            problems.append(Problem(path.name, error.line, error.reason))
        else:
            files[agent.name.lower()] = path.name
            agents[agent.name.lower()] = agent
    return Found(agents, tuple(problems))


class Agents:
    """The agents of a directory, as it is now, give or take a second."""

    def __init__(
        self, directory: Path, root: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory.expanduser()
        self._root = root
        self._clock = clock
        self._seen = _state(self._directory)
        self._found = read_agents(self._directory, root)
        self._next_check = clock() + CHECK_SECONDS
        self._report()

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self._found.problems

    async def find(self, name: str) -> Agent | None:
        """The agent of this name; how it is written does not matter."""
        await self._read_if_changed()
        return self._found.agents.get(name.lower())

    async def all(self) -> tuple[Agent, ...]:
        await self._read_if_changed()
        return tuple(self._found.agents.values())

    async def _read_if_changed(self) -> None:
        if self._clock() < self._next_check:
            return
        self._next_check = self._clock() + CHECK_SECONDS
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        state = _state(self._directory)
        if state != self._seen:
            self._seen = state
            self._found = read_agents(self._directory, self._root)
            self._report()

    def _report(self) -> None:
        for problem in self._found.problems:
            log.warning("an agent is not served: %s", problem)


def _paths(directory: Path) -> list[Path]:
    try:
        found = [path for path in directory.iterdir() if path.suffix == SUFFIX]
    except OSError:
        return []
    hidden = (".", "_")
    kept = [path for path in found if path.name[0] not in hidden and path.name != "README.md"]
    return sorted(kept, key=lambda path: path.name)


def _skill_files(directory: Path) -> list[Path]:
    return sorted((directory / skills.FOLDER).glob(f"*/{skills.FILE}"))


def _state(directory: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes when a file does."""
    state = []
    for path in (*_paths(directory), *_skill_files(directory)):
        try:
            status = path.stat()
        except OSError:  # deleted since
            continue
        state.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(state)
