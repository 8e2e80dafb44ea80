"""Refuses JSON Schemas that the real API refuses: of tools, of strict tools, of output formats.

Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs, "JSON Schema
limitations", and the 400s that users of the API quote.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import jsonschema

from demo.errors import invalid

Schema = dict[str, Any]

_KEY: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_COMBINATORS: Final = ("oneOf", "allOf", "anyOf")
_MOST_OPTIONAL: Final = 24
_MOST_UNIONS: Final = 16
_MOST_STRICT_TOOLS: Final = 20
_LARGEST_GRAMMAR: Final = 2_000
"""Schema nodes with references written out and enum values counted. The API's own limit is not
documented; this one lets pass what users say that it compiles."""

_UNSUPPORTED: Final = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems", "contains", "prefixItems"),
    "object": ("minProperties", "maxProperties", "patternProperties", "propertyNames"),
}
_FORMATS: Final = frozenset(
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"]
)
_INVALID: Final = (
    "JSON schema is invalid. It must match JSON Schema draft 2020-12 "
    "(https://json-schema.org/draft/2020-12). Learn more about tool use at "
    "https://docs.claude.com/en/docs/tool-use."
)


def check_input_schema(place: str, schema: Schema) -> None:
    """Raise the API's error for the schema of a tool, strict or not."""
    for name in _COMBINATORS:
        if name in schema:
            raise invalid(
                f"{place}: input_schema does not support oneOf, allOf, or anyOf at the top level"
            )
    check_keys(place, schema)
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError:
        raise invalid(f"{place}: {_INVALID}") from None


def check_keys(place: str, schema: Schema) -> None:
    """Raise the API's error for a property's name; only those of the top level are looked at."""
    properties = schema.get("properties")
    for key in properties if isinstance(properties, dict) else ():
        if not _KEY.fullmatch(key):
            pattern = f"^{_KEY.pattern}$"
            raise invalid(f"{place}.properties: Property keys should match pattern '{pattern}'")


def check_strict(place: str, schema: Schema) -> None:
    """Raise the API's error for what no grammar can be compiled of."""
    _Strict(place, schema).check(schema, ())


@dataclass(slots=True)
class Complexity:
    """What all strict schemas of one request add up to."""

    tools: int = 0
    optional: int = 0
    unions: int = 0
    nodes: int = 0

    def add(self, schema: Schema) -> None:
        """Count a schema that `check_strict` accepted; definitions count where they are used."""
        for node in _expanded(schema, schema):
            self.nodes += 1 + len(node.get("enum") or ())
            self.unions += "anyOf" in node or isinstance(node.get("type"), list)
            required = node.get("required") or ()
            self.optional += sum(1 for key in node.get("properties") or () if key not in required)

    def check(self) -> None:
        """Raise the API's error where one of its limits is passed."""
        if self.tools > _MOST_STRICT_TOOLS:
            raise invalid(
                f"Too many strict tools ({self.tools}). Reduce the number of tools marked as "
                f"strict (limit: {_MOST_STRICT_TOOLS})."
            )
        if self.optional > _MOST_OPTIONAL:
            raise invalid(
                f"Schemas contains too many optional parameters ({self.optional}), which would "
                "make grammar compilation inefficient. Reduce the number of optional parameters "
                f"in your tool schemas (limit: {_MOST_OPTIONAL})."
            )
        if self.unions > _MOST_UNIONS:
            raise invalid(
                f"Schemas contains too many parameters with union types ({self.unions} parameters "
                "with type arrays or anyOf). This can cause exponential compilation cost. Reduce "
                f"the number of nullable or union-typed parameters (limit: {_MOST_UNIONS} "
                "parameters with unions)."
            )
        if self.nodes > _LARGEST_GRAMMAR:
            raise invalid(
                "The compiled grammar is too large, which would cause performance issues. "
                "Simplify your tool schemas or reduce the number of strict tools."
            )


def _expanded(root: Schema, schema: Any) -> Iterator[Schema]:
    """Every node of a schema, with what a reference names in its place; stops at the limit."""
    waiting, seen = [schema], 0
    while waiting and seen <= _LARGEST_GRAMMAR:
        node = waiting.pop()
        if not isinstance(node, dict):
            continue
        seen += 1
        yield node
        if "$ref" in node:
            waiting.append(_target(root, node["$ref"]))
        waiting += (node.get("properties") or {}).values()
        waiting += [part for name in _COMBINATORS for part in node.get(name) or ()]
        waiting.append(node.get("items"))


def _target(root: Schema, reference: str) -> Any:
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            found = found.get(part) if isinstance(found, dict) else None
    return found


@dataclass(frozen=True, slots=True)
class _Strict:
    place: str
    root: Schema

    def refuse(self, reason: str) -> None:
        raise invalid(f"{self.place}: {reason}")

    def check(self, node: Any, path: tuple[str, ...]) -> None:
        """Look at a node and all below; `path` holds the references that led here."""
        if not isinstance(node, dict):
            return
        self.check_combinators(node, path)
        if "$ref" in node:
            self.check_reference(node["$ref"], path)
        kinds = node.get("type")
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            self.check_type(kind, node)
        if any(isinstance(value, dict | list) for value in node.get("enum") or ()):
            self.refuse("Enum values must be strings, numbers, booleans or null")
        for each in (node.get("properties") or {}).values():
            self.check(each, path)
        self.check(node.get("items"), path)

    def check_combinators(self, node: Schema, path: tuple[str, ...]) -> None:
        for name in ("oneOf", "not", "if"):
            if name in node:
                self.refuse(f"Schema type '{name}' is not supported")
        for part in node.get("allOf") or ():
            if isinstance(part, dict) and "$ref" in part:
                self.refuse("'allOf' with '$ref' is not supported")
        for name in ("anyOf", "allOf"):
            for part in node.get(name) or ():
                self.check(part, path)

    def check_reference(self, reference: Any, path: tuple[str, ...]) -> None:
        if not isinstance(reference, str) or not reference.startswith("#"):
            self.refuse(f"External $ref '{reference}' is not supported")
        if reference in path:
            names = [
                each.rsplit("/", 1)[-1] for each in (*path[path.index(reference) :], reference)
            ]
            self.refuse(
                f"Circular reference detected in schema definitions: {' -> '.join(names)}. "
                "Self-referencing or mutually-referencing definitions are not supported."
            )
        self.check(_target(self.root, reference), (*path, reference))

    def check_type(self, kind: Any, node: Schema) -> None:
        refused = sorted(name for name in _UNSUPPORTED.get(kind, ()) if name in node)
        if len(refused) == 1:
            self.refuse(f"For '{kind}' type, property '{refused[0]}' is not supported")
        if refused:
            named = ", ".join(refused)
            self.refuse(f"For '{kind}' type, properties {named} are not supported")
        if kind == "object" and node.get("additionalProperties") is not False:
            self.refuse("For 'object' type, 'additionalProperties' must be explicitly set to false")
        if kind == "array" and node.get("minItems", 0) not in (0, 1):
            self.refuse("For 'array' type, 'minItems' values other than 0 or 1 are not supported")
        if kind == "string" and node.get("format", "date") not in _FORMATS:
            self.refuse(f"For 'string' type, format '{node['format']}' is not supported")
