"""TOML, by tomlkit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from commands.client_files import Edit, NotUnderstood


def changed(text: str, edits: Sequence[Edit]) -> str:
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise NotUnderstood(f"is not valid TOML: {error}.") from None
    for edit in edits:
        _set(document, edit)
    return tomlkit.dumps(document)


def _set(document: tomlkit.TOMLDocument, edit: Edit) -> None:
    *way, last = (str(step) for step in edit.path)
    table: Any = document
    for step in way:
        if step not in table:
            table[step] = tomlkit.table(is_super_table=step != way[-1])
        table = table[step]
        if not hasattr(table, "keys"):
            raise NotUnderstood(f"has something else than a table at {step}.")
    if last in table or table is not document:
        if table.get(last) != edit.value:
            table[last] = edit.value
    else:
        _add_before_tables(document, last, edit.value)


def _add_before_tables(document: tomlkit.TOMLDocument, key: str, value: object) -> None:
    """A key at the root has to stand before the first table; tomlkit sees to that, but not to an
    empty line between the two."""
    is_first_table = not any(not hasattr(item, "keys") for item in document.values())
    document[key] = value
    if is_first_table and len(document) > 1:
        document[key].trivia.trail = "\n\n"
