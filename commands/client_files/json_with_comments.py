"""JSON, with the comments and trailing commas that editors allow in their settings.

The text is not parsed and written again: what changes is cut out and what is new is put in, so
everything else stays byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from commands.client_files import Edit, Item, NotUnderstood, Step

GAP = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
REST_OF_LINE = re.compile(r"[ \t]*(,?)[ \t]*(?://[^\n]*|/\*[^\n]*?\*/)?[ \t]*(?=\r?\n|$)")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
SCALAR = re.compile(r"[^\s,\]}/]+")
INDENT = re.compile(r"^([ \t]+)\S", re.MULTILINE)


@dataclass(slots=True)
class Node:
    """A value from `start` to `end` of the text; an object's members by name, a list's by index."""

    start: int
    end: int
    is_list: bool = False
    members: dict[str, Node] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)

    @property
    def children(self) -> list[Node]:
        return self.items if self.is_list else list(self.members.values())


def changed(text: str, edits: Sequence[Edit]) -> str:
    if GAP.fullmatch(text):  # nothing but comments
        text += "[]\n" if edits and isinstance(edits[0].path[0], Item) else "{}\n"
    for edit in edits:
        text = _set(text, edit)
    return text


def _set(text: str, edit: Edit) -> str:
    """Goes down the path as far as it exists; there the rest of it is put in."""
    node = _parsed(text)
    for depth, step in enumerate(edit.path):
        found = _found(text, node, step)
        if found is None:
            return _inserted(text, node, step, _made(edit.path[depth + 1 :], step, edit.value))
        node = found
    if edit.if_missing or _value(text, node) == edit.value:
        return text
    return text[: node.start] + _written(edit.value, text, node.start) + text[node.end :]


def _found(text: str, node: Node, step: Step) -> Node | None:
    if isinstance(step, str):
        if text[node.start] != "{":
            raise NotUnderstood(f"has no object where {step} belongs.")
        return node.members.get(step)
    if not node.is_list:
        raise NotUnderstood(f"has no list where {step.value} belongs.")
    for item in node.items:
        if (named := item.members.get(step.key)) and _value(text, named) == step.value:
            return item
    return None


def _made(rest: tuple[Step, ...], step: Step, value: object) -> object:
    """The value below a new step, with all that leads to it."""
    for inner in reversed(rest):
        value = [_named(inner, value)] if isinstance(inner, Item) else {inner: value}
    return _named(step, value) if isinstance(step, Item) else value


def _named(item: Item, value: object) -> object:
    return {item.key: item.value, **value} if isinstance(value, dict) else value


def _inserted(text: str, node: Node, step: Step, value: object) -> str:
    """Behind the last member and what is said about it on its line."""
    base = _line_indent(text, node.start)
    indent = base + _indent(text)
    entry = _dumped(value, indent, _indent(text))
    if isinstance(step, str):
        entry = f"{json.dumps(step, ensure_ascii=False)}: {entry}"
    if not node.children:
        inside = text[node.start + 1 : node.end - 1].rstrip()
        return f"{text[: node.start + 1]}{inside}\n{indent}{entry}\n{base}{text[node.end - 1 :]}"
    end = node.children[-1].end
    line = REST_OF_LINE.match(text, end)
    if line is None:  # more follows on this line
        return f"{text[:end]}, {entry}{text[end:]}"
    if line[1]:  # a trailing comma, which stays one
        return f"{text[: line.end()]}\n{indent}{entry},{text[line.end() :]}"
    return f"{text[:end]},{text[end : line.end()]}\n{indent}{entry}{text[line.end() :]}"


def _written(value: object, text: str, at: int) -> str:
    return _dumped(value, _line_indent(text, at), _indent(text))


def _dumped(value: object, indent: str, step: str) -> str:
    return json.dumps(value, indent=step, ensure_ascii=False).replace("\n", f"\n{indent}")


def _line_indent(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip())]


def _indent(text: str) -> str:
    found = INDENT.search(text)
    return found[1] if found else "  "


def _value(text: str, node: Node) -> object:
    """Of a node without comments inside; a node with any is equal to nothing that is written."""
    try:
        return json.loads(text[node.start : node.end])
    except ValueError:
        return None


def _parsed(text: str) -> Node:
    node = _node(text, _after_gap(text, 0))
    if _after_gap(text, node.end) != len(text):
        raise NotUnderstood("has something behind its end.")
    return node


def _node(text: str, at: int) -> Node:
    match text[at : at + 1]:
        case "{" | "[":
            return _container(text, at)
        case '"':
            found = STRING.match(text, at)
        case _:
            found = SCALAR.match(text, at)
    if found is None:
        raise NotUnderstood(f"is not valid JSON at character {at + 1}.")
    return Node(at, found.end())


def _container(text: str, at: int) -> Node:
    node = Node(at, at, is_list=text[at] == "[")
    closing = "]" if node.is_list else "}"
    at = _after_gap(text, at + 1)
    while text[at : at + 1] != closing:
        if node.is_list:
            child = _node(text, at)
            node.items.append(child)
        else:
            name, at = _name(text, at)
            child = node.members[name] = _node(text, at)
        at = _after_gap(text, child.end)
        if text[at : at + 1] == ",":
            at = _after_gap(text, at + 1)
        elif text[at : at + 1] != closing:
            raise NotUnderstood(f"is not valid JSON at character {at + 1}.")
    node.end = at + 1
    return node


def _name(text: str, at: int) -> tuple[str, int]:
    """A member's name, and where its value begins."""
    found = STRING.match(text, at)
    colon = _after_gap(text, found.end()) if found else at
    if found is None or text[colon : colon + 1] != ":":
        raise NotUnderstood(f"is not valid JSON at character {at + 1}.")
    return str(json.loads(found[0])), _after_gap(text, colon + 1)


def _after_gap(text: str, at: int) -> int:
    found = GAP.match(text, at)
    return found.end() if found else at
