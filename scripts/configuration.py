"""Writes the tables of docs/configuration.md from config/settings.py, grouped as .env.example."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from config.settings import Settings  # noqa: E402  # a script finds only what stands beside it

PAGE = ROOT / "docs" / "configuration.md"
EXAMPLE = ROOT / ".env.example"
BETWEEN = re.compile(r"(<!-- settings:begin -->\n).*(<!-- settings:end -->)", re.DOTALL)
TITLE = re.compile(r"# --- (.*?) -+\n")
VARIABLE = re.compile(r"^#?([A-Z][A-Z0-9_]*)=", re.MULTILINE)
COMPUTED = frozenset({"max_processes"})
"""Of another value on each machine."""

HEAD = "| variable | default | meaning |\n|---|---|---|\n"


def tables() -> str:
    """A heading and a table for each group of .env.example."""
    _, *parts = TITLE.split(EXAMPLE.read_text())
    groups = zip(parts[::2], parts[1::2], strict=True)
    return "\n".join(f"## {heading(title)}\n\n{HEAD}{rows(text)}" for title, text in groups)


def heading(title: str) -> str:
    """What stands before a colon or a parenthesis: the rest is said on the page."""
    return re.split(r":| \(", title)[0]


def rows(group: str) -> str:
    return "".join(
        f"| {' '.join(f'`{name}`' for name in names)} | {default} | {meaning} |\n"
        for names, default, meaning in _entries(group)
    )


def _entries(group: str) -> Iterator[tuple[list[str], str, str]]:
    """Settings one by one; what only the CLI reads as it stands together."""
    for paragraph in group.strip().split("\n\n"):
        names = VARIABLE.findall(paragraph)
        field = Settings.model_fields.get(names[0].lower())
        if field is None:
            comment, _, _ = paragraph.partition(f"#{names[0]}=")
            yield names, "", escaped(" ".join(comment.replace("# ", "").split()))
        else:
            is_computed = names[0].lower() in COMPUTED
            default = (
                "computed" if is_computed else shown(field.get_default(call_default_factory=True))
            )
            yield names, default, escaped(field.description or "")


def shown(default: Any) -> str:
    """As it would be written in .env; nothing where there is none."""
    match default:
        case None | () | "":
            return ""
        case bool():
            return f"`{str(default).lower()}`"
        case tuple():
            return f"`{','.join(default)}`"
        case dict():
            return f"`{json.dumps(default)}`"
        case _:
            return f"`{default}`"


def escaped(meaning: str) -> str:
    return meaning.replace("|", r"\|").replace("*", r"\*").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(
        BETWEEN.sub(lambda found: f"{found[1]}\n{tables()}{found[2]}", PAGE.read_text())
    )
    print(f"{PAGE.relative_to(ROOT)} is up to date.")
