"""CSV that a spreadsheet opens without running any of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_text(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """RFC 4180 with a header line. A text that a spreadsheet would take for a formula begins with
    an apostrophe (https://owasp.org/www-community/attacks/CSV_Injection)."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value
