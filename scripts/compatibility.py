"""Writes the tables of fields into the pages of docs/, out of each dialect's fields.py."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- fields:begin -->\n", "<!-- fields:end -->"
BETWEEN = re.compile(f"({BEGIN}.*{END})", re.DOTALL)

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from dialects import chat, messages

    for name, dialect in {"openai-compatibility": chat, "messages": messages}.items():
        page = ROOT / "docs" / f"{name}.md"
        table = dialect.DIALECT.fields.markdown()
        text = page.read_text()
        before, _, after = BETWEEN.split(text)
        page.write_text(f"{before}{BEGIN}{table}\n{END}{after}")
        print(f"{page.relative_to(ROOT)} is up to date.")
