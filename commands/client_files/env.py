"""Lines of NAME=value."""

from __future__ import annotations

import re
from collections.abc import Sequence

from commands.client_files import Edit


def changed(text: str, edits: Sequence[Edit]) -> str:
    """A name that is set already keeps its line's place; others are appended."""
    for edit in edits:
        name, line = str(edit.path[0]), f"{edit.path[0]}={edit.value}"
        found = re.compile(rf"^(?:export[ \t]+)?{re.escape(name)}[ \t]*=.*$", re.MULTILINE)
        if found.search(text):
            text = found.sub(lambda _, line=line: line, text)  # type: ignore[misc]
        else:
            text += f"{'' if not text or text.endswith(chr(10)) else chr(10)}{line}\n"
    return text
