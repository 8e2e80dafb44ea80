"""An instance of a JSON Schema, always the same one for the same schema.

Covers what tools and structured outputs use: type (also as a list), enum, const, default,
properties, required, items, prefixItems, anyOf, oneOf, allOf, $ref (local), bounds, multipleOf,
lengths, format, simple patterns. Recursion stops at optional properties.
"""

import math
import re
from collections.abc import Callable
from typing import Any, Final

_DEEPEST: Final = 12

_FORMATS: Final[dict[str, str]] = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "duration": "P1D",
    "email": "demo@example.com",
    "hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.com/demo",
    "url": "https://example.com/demo",
    "uuid": "00000000-0000-4000-8000-000000000001",
}
_CLASSES: Final[dict[str, str]] = {"d": "1", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a"}


def instance(schema: Any) -> Any:
    """Return a JSON value that the schema accepts; optional properties are left out.

    An object schema without required properties gets its first optional one.
    """
    return _Generator(schema).value(schema, 0)


class _Generator:
    def __init__(self, root: Any) -> None:
        self.root = root

    def value(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict):
            return "demo"
        schema = self.resolved(schema, depth)
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        if schema.get("enum"):
            return schema["enum"][0]
        return _MAKERS[_type(schema)](self, schema, depth)

    def resolved(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """The schema with its $ref, allOf and first fitting alternative merged in."""
        for _ in range(_DEEPEST):
            if "$ref" in schema:
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = _merged(self.target(schema["$ref"]), rest)
            elif "allOf" in schema:
                rest = {key: value for key, value in schema.items() if key != "allOf"}
                for part in schema["allOf"]:
                    rest = _merged(rest, self.resolved(part, depth))
                schema = rest
            elif alternatives := schema.get("anyOf") or schema.get("oneOf"):
                rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
                schema = _merged(rest, self.chosen(alternatives, depth))
            else:
                break
        return schema

    def chosen(self, alternatives: list[Any], depth: int) -> dict[str, Any]:
        """The first alternative; deep inside the one without content of its own, as null is."""
        ranked = [a if isinstance(a, dict) else {} for a in alternatives]
        if depth >= _DEEPEST // 2:
            ranked.sort(key=lambda a: a.get("type") != "null")
        elif len(ranked) > 1:
            ranked.sort(key=lambda a: a.get("type") == "null")
        return ranked[0]

    def target(self, reference: str) -> dict[str, Any]:
        """What a local `#/…` reference names; {} when it names nothing."""
        found: Any = self.root
        for part in reference.removeprefix("#").strip("/").split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if name:
                found = found.get(name, {}) if isinstance(found, dict) else {}
        return found if isinstance(found, dict) else {}

    def object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        names = list(schema.get("required") or list(properties)[:1])
        if depth >= _DEEPEST:
            names = list(schema.get("required") or []) if depth < 2 * _DEEPEST else []
        made = {name: self.value(properties.get(name, {}), depth + 1) for name in names}
        spare = schema.get("additionalProperties", {})
        while len(made) < schema.get("minProperties", 0):
            made[f"demo{len(made) + 1}"] = self.value(spare, depth + 1)
        return made

    def array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        least = schema.get("minItems", 0 if depth >= _DEEPEST // 2 else 1)
        most = schema.get("maxItems", max(least, 1))
        first = schema.get("prefixItems") or []
        items = schema.get("items", {})
        count = min(max(least, len(first)), most)
        made = [self.value(first[i] if i < len(first) else items, depth + 1) for i in range(count)]
        return _distinct(made) if schema.get("uniqueItems") else made

    def string(self, schema: dict[str, Any], _depth: int) -> str:
        if "pattern" in schema:
            return matching(schema["pattern"])
        text = _FORMATS.get(schema.get("format", ""), "demo")
        text = text.ljust(schema.get("minLength", 0), "o")
        return text[: schema.get("maxLength", len(text))]

    def number(self, schema: dict[str, Any], _depth: int) -> float | int:
        value = _within_bounds(schema, 0.5)
        return int(value) if float(value).is_integer() else value

    def integer(self, schema: dict[str, Any], _depth: int) -> int:
        return math.ceil(_within_bounds(schema, 1))

    def boolean(self, _schema: dict[str, Any], _depth: int) -> bool:
        return True

    def null(self, _schema: dict[str, Any], _depth: int) -> None:
        return None


_MAKERS: Final[dict[str, Callable[[_Generator, dict[str, Any], int], Any]]] = {
    "object": _Generator.object,
    "array": _Generator.array,
    "string": _Generator.string,
    "number": _Generator.number,
    "integer": _Generator.integer,
    "boolean": _Generator.boolean,
    "null": _Generator.null,
}


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if kind in _MAKERS:
        return str(kind)
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return "integer" if "minimum" in schema or "maximum" in schema else "string"


def _merged(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    merged = {**base, **extra}
    if "properties" in base and "properties" in extra:
        merged["properties"] = {**base["properties"], **extra["properties"]}
    if "required" in base and "required" in extra:
        merged["required"] = list(dict.fromkeys([*base["required"], *extra["required"]]))
    return merged


def _within_bounds(schema: dict[str, Any], step: float) -> float:
    low, high = schema.get("minimum"), schema.get("maximum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        low = above + step if low is None or low <= above else low
    if (below := schema.get("exclusiveMaximum")) is not None:
        high = below - step if high is None or high >= below else high
    value = 1.0 if low is None else max(1.0, float(low))
    value = value if high is None else min(value, float(high))
    if multiple := schema.get("multipleOf"):
        value = math.ceil(value / multiple) * multiple
        value = value - multiple if high is not None and value > high else value
    return value


def _distinct(values: list[Any]) -> list[Any]:
    return [_varied(value, place) for place, value in enumerate(values)]


def _varied(value: Any, place: int) -> Any:
    match value:
        case str() if place:
            return f"{value}{place + 1}"
        case bool():
            return value if place == 0 else not value
        case int() | float():
            return value + place
        case _:
            return value


def matching(pattern: str) -> str:
    """A string for a simple regular expression; "demo" where it is none or has no match.

    Knows literals, escapes, classes, groups with alternatives, `.` and the quantifiers.
    """
    try:
        text, _ = _sequence(pattern, 0)
        return text if re.search(pattern, text) else "demo"
    except (re.error, IndexError, ValueError):
        return "demo"


def _sequence(pattern: str, at: int) -> tuple[str, int]:
    text, skipping = "", False
    while at < len(pattern) and pattern[at] != ")":
        if pattern[at] == "|":
            skipping, at = True, at + 1
            continue
        part, at = _atom(pattern, at)
        least, at = _least(pattern, at)
        text += "" if skipping else part * least
    return text, at


def _atom(pattern: str, at: int) -> tuple[str, int]:
    match pattern[at]:
        case "\\":
            return _CLASSES.get(pattern[at + 1], pattern[at + 1]), at + 2
        case "[":
            end = pattern.index("]", at + 2)
            return _member(pattern[at + 1 : end]), end + 1
        case "(":
            inner = re.compile(r"\?(?::|P?<\w+>)").match(pattern, at + 1)
            if inner is None and pattern[at + 1] == "?":
                raise ValueError("look-around")
            text, end = _sequence(pattern, inner.end() if inner else at + 1)
            return text, end + 1
        case "^" | "$":
            return "", at + 1
        case ".":
            return "a", at + 1
        case literal:
            return literal, at + 1


def _member(members: str) -> str:
    if members.startswith("^"):
        return next(c for c in "a1-_ Z" if not re.match(f"[{members[1:]}]", c))
    if members.startswith("\\"):
        return _CLASSES.get(members[1], members[1])
    return members[0]


def _least(pattern: str, at: int) -> tuple[int, int]:
    if counted := re.compile(r"\{(\d+)(?:,\d*)?\}\??").match(pattern, at):
        return int(counted[1]), counted.end()
    if quantifier := re.compile(r"[*+?]\??").match(pattern, at):
        return (1 if quantifier[0][0] == "+" else 0), quantifier.end()
    return 1, at
