"""Skills of agents: instructions that the model reads when a task needs them.

A skill is a directory with a `SKILL.md` and whatever that names (https://agentskills.io). The
system prompt lists the names, what they are for and where they are; the model reads the file by
`Read`. Claude Code's own tool for them is not used: it brings skills and slash commands of Claude
Code's own along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import yaml

from toolbox.front_matter import FrontMatterMissing, parted

FOLDER = "skills"
"""In AGENTS_DIR."""

FILE = "SKILL.md"
MAX_BYTES = 256 * 1024
MAX_DESCRIPTION = 1024
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MAX_NAME = 64
RULE_CHARACTERS = ",()[]{}*?!"
RULE_SYNTAX = frozenset(RULE_CHARACTERS)
"""Of Claude Code's permission rules, one of which keeps the directory as it is."""

USE = """\
Before a task that one of these skills is for, read its file and follow it. Paths in it are \
relative to its directory."""


@dataclass(frozen=True, slots=True)
class Skill:
    """`directory` is absolute and resolved."""

    name: str
    description: str
    directory: Path


def read_skill(root: Path, name: str) -> Skill:
    """The skill of this name in the directory `root`. Raises ValueError with a phrase."""
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise ValueError(f"{name[:MAX_NAME]!r} is no name of a skill: a-z, 0-9 and single '-'")
    path = root / name / FILE
    try:
        data = path.read_bytes()
        fields = yaml.safe_load(parted(data.decode())[0])
        directory = path.parent.resolve(strict=True)
    except OSError as error:
        raise ValueError(f"{name}: {FILE} cannot be read: {error.strerror}") from None
    except FrontMatterMissing as error:
        raise ValueError(f"{name}: {FILE}, line {error.line}: {error.reason}") from None
    except (ValueError, yaml.YAMLError, RecursionError):
        raise ValueError(f"{name}: {FILE} is not UTF-8 text with YAML front matter") from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"{name}: {FILE} has more than {MAX_BYTES} bytes")
    if RULE_SYNTAX & set(str(directory)):
        raise ValueError(f"{name}: the path of its directory must be without {RULE_CHARACTERS}")
    if not isinstance(fields, dict):
        raise ValueError(f"{name}: {FILE} needs the fields name and description")
    description = fields.get("description")
    if fields.get("name") != name:
        raise ValueError(f"{name}: the name in {FILE} must be the directory's")
    if not isinstance(description, str) or not 0 < len(description.strip()) <= MAX_DESCRIPTION:
        raise ValueError(f"{name}: {FILE} needs a description of 1 to {MAX_DESCRIPTION} characters")
    return Skill(name, " ".join(description.split()), directory)


def listing(skills: Iterable[Skill]) -> str:
    """What the system prompt says of them; nothing where there are none."""
    entries = [
        f"<skill>\n<name>{skill.name}</name>\n"
        f"<description>{escape(skill.description)}</description>\n"
        f"<location>{escape(str(skill.directory / FILE))}</location>\n</skill>"
        for skill in skills
    ]
    if not entries:
        return ""
    return "\n".join(("<available_skills>", *entries, "</available_skills>", USE))
