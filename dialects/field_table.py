"""What becomes of each field of a request: one table for each dialect.

Dialects read there what to report as ignored, `/v1/compatibility` and `/v1/debug/request` show it,
and the documentation's tables are written from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

Treatment = Literal["native", "emulated", "accepted", "ignored", "refused"]

TREATMENTS: dict[Treatment, str] = {
    "native": "reaches the model as a parameter or a block of its own API",
    "emulated": "has the described effect, provided by this server",
    "accepted": "is accepted and does not change the answer, as it may not with OpenAI either",
    "ignored": "has no counterpart: named in the header `x-ignored-parameters`, "
    "and a 400 with `STRICT_PARAMETERS=true`",
    "refused": "a 400 that names it",
}


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One row. `neutral` are the values that ask for nothing special, and so are never reported."""

    name: str
    treatment: Treatment
    why: str
    neutral: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldTable:
    """The fields of a body, what stands inside of its `part` (`messages`, `input`), and one row for
    every field that has none."""

    body: tuple[FieldRow, ...]
    inside: tuple[FieldRow, ...]
    any_other: FieldRow
    part: str = "messages"
    by_name: dict[str, FieldRow] = field(init=False, repr=False)
    _body_by_name: dict[str, FieldRow] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        of_body = {row.name: row for row in self.body}
        object.__setattr__(self, "_body_by_name", of_body)
        object.__setattr__(self, "by_name", of_body | {row.name: row for row in self.inside})

    def row_of(self, name: str) -> FieldRow:
        """The row of a field of the body, or the one for all that have none."""
        return self._body_by_name.get(name, self.any_other)

    def ignored(self, request: BaseModel) -> set[str]:
        """The names of the body's fields that were given a value and have no effect."""
        names = {*request.model_fields_set, *(request.model_extra or {})}
        given = {name: getattr(request, name, None) for name in names}
        return {
            name
            for name, value in given.items()
            if value is not None
            and (row := self.row_of(name)).treatment in ("ignored", "refused")
            and value not in row.neutral
        }

    def markdown(self) -> str:
        """The table as the documentation shows it."""
        title = f"In the {self.part}"
        sections = ("Fields of the body", (*self.body, self.any_other)), (title, self.inside)
        meanings = "\n".join(f"- **{name}**: {text}" for name, text in TREATMENTS.items())
        tables = (f"## {title}\n\n{_rows(rows)}" for title, rows in sections)
        return "\n\n".join([meanings, *tables])


def _rows(rows: Iterable[FieldRow]) -> str:
    lines = ["| | treatment | |", "|---|---|---|"]
    for row in rows:
        name = f"`{row.name}`" if " " not in row.name else row.name
        lines.append(f"| {name} | {row.treatment} | {row.why} |")
    return "\n".join(lines)
