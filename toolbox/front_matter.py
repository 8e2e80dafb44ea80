"""Markdown with YAML front matter between two lines `---`."""

from __future__ import annotations

FENCE = "---"


class FrontMatterMissing(Exception):
    """`line` counts from 1, `reason` is a phrase."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


def parted(text: str) -> tuple[str, str]:
    """The front matter and what follows it. Raises FrontMatterMissing."""
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != FENCE:
        raise FrontMatterMissing(1, f"must begin with a line {FENCE}")
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == FENCE:
            return "\n".join(lines[1:number]), "\n".join(lines[number + 1 :]).strip()
    raise FrontMatterMissing(len(lines), f"the front matter has no end: a line {FENCE} is missing")
