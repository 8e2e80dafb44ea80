"""Writes the tables of fields in docs/ from dialects/*/fields.py."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "chat": "openai-compatibility.md",
    "responses": "responses.md",
    "messages": "messages.md",
}
"""By dialect."""

BEGIN, END = "<!-- fields:begin -->\n", "<!-- fields:end -->"


def with_table(text: str, table: str) -> str:
    """The page with this table between the marks."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}{table}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from turns.dialects import DIALECTS

    for name, file in PAGES.items():
        page = ROOT / "docs" / file
        table = DIALECTS[name].fields.markdown()
        page.write_text(with_table(page.read_text(), table))
        print(f"{page.relative_to(ROOT)} is up to date.")
