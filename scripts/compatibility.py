"""Writes the tables of docs/openai-compatibility.md out of dialects/chat/fields.py."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "openai-compatibility.md"
BETWEEN = re.compile(r"(<!-- fields:begin -->\n).*(<!-- fields:end -->)", re.DOTALL)

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from dialects.chat.fields import TABLE

    table = TABLE.markdown()
    PAGE.write_text(BETWEEN.sub(lambda found: f"{found[1]}{table}\n{found[2]}", PAGE.read_text()))
    print(f"{PAGE.relative_to(ROOT)} is up to date.")
