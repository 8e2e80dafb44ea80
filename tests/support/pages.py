"""The documentation as tests see it: pages, fenced blocks, the commands of a block, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from config.settings import Settings

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("commands", "config", "core", "dialects", "engine", "sessions", "stores"),
    *("toolbox", "turns", "web"),
)
"""What the server is made of, beside the modules at the root."""

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("examples/*.md"),
        ROOT / "demo/README.md",
    ]
)
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>.*)\n(?P<text>(?:.*\n)*?)(?P=indent)```$", re.M)
INLINE_CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.M)
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
BETWEEN_COMMANDS = frozenset({"&&", "||", "|", ";"})


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `line` is where its text begins."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for found in FENCE.finditer(text):
            line = text.count("\n", 0, found.start("text")) + 1
            yield Block(name_of(page), line, found["language"].strip(), found["text"])


def prose(page: Path) -> str:
    """A page without its blocks."""
    return FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    return LINK.findall(INLINE_CODE.sub("`code`", prose(page)))


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings: small letters, hyphens for spaces, no other punctuation."""
    titles = [re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(prose(page))]
    return {title.replace(" ", "-") for title in titles}


def statements(block: Block) -> Iterator[str]:
    """The lines of a shell block, those that belong together as one."""
    pending = ""
    for line in block.text.splitlines(keepends=True):
        pending += line
        if is_whole(pending):
            if shlex.split(pending, comments=True):
                yield pending
            pending = ""
    assert not pending.strip(), f"{block}: a quotation or a line is not closed"


def is_whole(text: str) -> bool:
    if text.rstrip("\n").endswith("\\"):
        return False
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


def commands(statement: str) -> Iterator[list[str]]:
    """The words of each command in a statement."""
    lexer = shlex.shlex(statement.replace("\\\n", ""), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for separates, words in groupby(lexer, BETWEEN_COMMANDS.__contains__):
        if not separates:
            yield [*words]


def split_assignments(words: list[str]) -> tuple[list[str], list[str]]:
    """The variables that are set for a command, and the command."""
    names = [word.partition("=")[0] for word in words if ASSIGNMENT.match(word)]
    first = next((i for i, word in enumerate(words) if not ASSIGNMENT.match(word)), len(words))
    return names[:first], words[first:]


def known_variables() -> set[str]:
    """Settings, credentials, and what clients and compose read."""
    in_example = re.findall(r"^#?([A-Z][A-Z0-9_]*)=", (ROOT / ".env.example").read_text(), re.M)
    clients = {"TEST_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_KEY"}
    compose = re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text())
    return {*in_example, *map(str.upper, Settings.model_fields), *clients, *compose}
