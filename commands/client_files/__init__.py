"""Changes clients' settings files as a careful person would: what is not meant stays as it is,
comments included. One module for each format, all with the same `changed`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, TypeAlias

Format = Literal["toml", "yaml", "json", "env"]


@dataclass(frozen=True, slots=True)
class Item:
    """The element of a list whose `key` has this value; it is appended where there is none."""

    key: str
    value: str


Step: TypeAlias = str | Item


@dataclass(frozen=True, slots=True)
class Edit:
    """Sets the value at a path; what the path lacks on its way is made. JSON types only. With
    `if_missing` a value that is there stays."""

    path: tuple[Step, ...]
    value: object
    if_missing: bool = False


class NotUnderstood(Exception):
    """The file is not what its format says; the message is a sentence without its name."""


MODULES: dict[Format, str] = {
    "toml": "toml",
    "yaml": "yaml",
    "json": "json_with_comments",
    "env": "env",
}


def changed(kind: Format, text: str, edits: Sequence[Edit]) -> str:
    """The file's text after the edits. Raises NotUnderstood, and then nothing was changed.

    Each format is loaded with its library where it is needed.
    """
    module = import_module(f"{__name__}.{MODULES[kind]}")
    result: str = module.changed(text, edits)
    return result
