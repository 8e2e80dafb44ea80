"""YAML, by ruamel.yaml."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from commands.client_files import Edit, Item, NotUnderstood, Step


def changed(text: str, edits: Sequence[Edit]) -> str:
    yaml = _like(text)
    try:
        document = yaml.load(text)
    except YAMLError as error:
        raise NotUnderstood(f"is not valid YAML: {' '.join(str(error).split())}.") from None
    if document is None:  # empty, or comments only
        yaml_text = io.StringIO()
        document = CommentedMap()
        _set_all(document, edits)
        yaml.dump(document, yaml_text)
        return (text if not text or text.endswith("\n") else f"{text}\n") + yaml_text.getvalue()
    if not isinstance(document, CommentedMap):
        raise NotUnderstood("does not hold settings by name.")
    _set_all(document, edits)
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _like(text: str) -> YAML:
    """Writes lists as the file does: with their dash indented or not."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000  # no line is broken that was not
    first = re.search(r"^( *)[\w\"'-]+:[ \t]*(?:#.*)?\n(?:[ \t]*(?:#.*)?\n)*( *)- ", text, re.M)
    if first is None or len(first[2]) > len(first[1]):
        yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _set_all(document: CommentedMap, edits: Sequence[Edit]) -> None:
    for edit in edits:
        holder: Any = document
        for step, after in zip(edit.path, edit.path[1:], strict=False):
            holder = _entered(holder, step, after)
        _put(holder, edit)


def _entered(holder: Any, step: Step, after: Step) -> Any:
    """What is at the step; made where it is not there yet."""
    kind = CommentedSeq if isinstance(after, Item) else CommentedMap
    if isinstance(step, Item):
        index = _index(holder, step)
        if index is None:
            holder.append(CommentedMap({step.key: step.value}))
            index = len(holder) - 1
        return holder[index]
    if holder.get(step) is None:
        holder[step] = kind()
    if not isinstance(holder[step], kind):
        raise NotUnderstood(f"has something else than expected at {step}.")
    return holder[step]


def _put(holder: Any, edit: Edit) -> None:
    name = edit.path[-1]
    if isinstance(name, Item):
        raise NotUnderstood(f"has a list at {name.value}, of which nothing is to be set.")
    is_there = name in holder
    if not (is_there and (edit.if_missing or holder[name] == edit.value)):
        holder[name] = edit.value


def _index(holder: Any, item: Item) -> int | None:
    for index, each in enumerate(holder):
        if isinstance(each, CommentedMap) and each.get(item.key) == item.value:
            return index
    return None
