"""JSON Schemas of callers: are they valid, and how does the API's structured output take them?

The API's form is that of `anthropic.lib._parse._transform` and of
https://docs.claude.com/en/docs/build-with-claude/structured-outputs: every object is closed, and
constraints that it cannot enforce go into the description, where the model reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from core.conversation import JsonObject
from core.errors import InvalidRequest


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


AS_THEY_ARE = _words("type description title default required const enum $ref")
MAPS = _words("properties $defs definitions")
LISTS = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
NOTES = _words(
    "$schema $id $comment examples deprecated readOnly writeOnly discriminator strict nullable"
)
FORMATS = _words("date-time time date duration email hostname uri ipv4 ipv6 uuid")
CONSTRAINTS = _words(
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern "
    "format minItems maxItems uniqueItems minProperties maxProperties contentEncoding "
    "contentMediaType"
)
SHAPES = _words("type anyOf oneOf allOf enum const $ref")


class _Inexpressible(Exception):
    """The API's structured output has no such schema."""


def checked(schema: Any, where: str) -> JsonObject:
    """The schema of an answer, which is an object. Raises InvalidRequest with the reason."""
    if not isinstance(schema, dict):
        raise InvalidRequest("The schema must be a JSON object.", param=where)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = error.json_path.removeprefix("$").lstrip(".")
        message = f"Invalid JSON Schema: {error.message[:200]}"
        raise InvalidRequest(message, param=f"{where}.{place}" if place else where) from None
    for reference in _references(schema):
        if not _resolves(reference, schema):
            message = f"The schema refers to {reference[:100]!r}, which is not in it."
            raise InvalidRequest(message, param=where)
    kind = schema.get("type", "object")
    if kind != "object" or "anyOf" in schema or "oneOf" in schema or "enum" in schema:
        message = (
            "The schema of an answer must be of type 'object', without anyOf, oneOf or enum at the "
            "top level."
        )
        raise InvalidRequest(message, param=f"{where}.type")
    return schema if "type" in schema else {"type": "object", **schema}


def object_root(schema: JsonObject) -> JsonObject:
    """A function's parameters with an object at the top level, where the API takes no `anyOf`,
    `oneOf`, `allOf` or `$ref`: their properties as one object, and what was a choice in words."""
    forms = ("anyOf", "oneOf", "allOf")
    choices = {key: schema[key] for key in forms if isinstance(schema.get(key), list)}
    if "$ref" not in schema and not choices:
        return schema
    root = {key: value for key, value in schema.items() if key not in {*choices, "$ref"}}
    if isinstance(reference := schema.get("$ref"), str):
        root = {**(_target(reference, schema) or {}), **root}
    for key, variants in choices.items():
        objects = [_resolved(variant, schema) for variant in variants if isinstance(variant, dict)]
        root = _merged(root, objects, all_hold=key == "allOf")
    if stated := {key: value for key, value in choices.items() if key != "allOf"}:
        words = json.dumps(stated, ensure_ascii=False)
        root["description"] = "\n\n".join(filter(None, [root.get("description"), words]))
    return root


def _resolved(variant: JsonObject, root: JsonObject) -> JsonObject:
    reference = variant.get("$ref")
    return (_target(reference, root) or {}) if isinstance(reference, str) else variant


def _merged(root: JsonObject, objects: list[JsonObject], *, all_hold: bool) -> JsonObject:
    """All properties; required is what is so in each of them, with `all_hold` in any."""
    properties: dict[str, list[Any]] = {}
    for each in (root, *objects):
        for name, inner in _properties(each).items():
            if inner not in properties.setdefault(name, []):
                properties[name].append(inner)
    required = [_required(each) for each in objects] or [set[str]()]
    always = set[str]().union(*required) if all_hold else set.intersection(*required)
    always |= _required(root)
    one = {
        name: found[0] if len(found) == 1 else {"anyOf": found}
        for name, found in properties.items()
    }
    merged = {**root, "type": "object", "properties": one}
    return {**merged, "required": sorted(always)} if always else merged


def _properties(schema: JsonObject) -> JsonObject:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _required(schema: JsonObject) -> set[str]:
    names = schema.get("required")
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def native(schema: JsonObject) -> JsonObject | None:
    """A checked schema in the API's form; None where it has none: open or recursive objects, and
    values of any type."""
    try:
        if _is_recursive(schema):
            return None
        return _native(schema)
    except _Inexpressible:
        return None


def _native(schema: Any) -> JsonObject:
    if not isinstance(schema, dict) or not SHAPES & set(schema):
        raise _Inexpressible
    if isinstance(schema.get("type"), list):
        return _one_of_types(schema)
    kept: JsonObject = {}
    reported: JsonObject = {}
    for key, value in schema.items():
        _take(key, value, kept, reported)
    if "$ref" in kept:  # the API takes nothing beside it but the definitions
        return {k: v for k, v in kept.items() if k in ("$ref", "$defs", "definitions")}
    if kept.get("type") == "object":
        _close(kept)
    if reported:
        words = json.dumps(reported, ensure_ascii=False)
        kept["description"] = "\n\n".join(filter(None, [kept.get("description"), words]))
    return kept


def _take(key: str, value: Any, kept: JsonObject, reported: JsonObject) -> None:
    if key in MAPS:
        kept[key] = {name: _native(inner) for name, inner in value.items()}
    elif key in LISTS:
        kept[LISTS[key]] = [_native(inner) for inner in value]
    elif key == "items":
        kept[key] = _native(value)
    elif key == "additionalProperties":
        if value is not False:
            raise _Inexpressible
    elif key in AS_THEY_ARE:
        if key in ("enum", "const") and not _is_simple(value if key == "enum" else [value]):
            raise _Inexpressible
        kept[key] = value
    elif (key == "format" and value in FORMATS) or (key == "minItems" and value in (0, 1)):
        kept[key] = value
    elif key in CONSTRAINTS:
        reported[key] = value
    elif key not in NOTES:
        raise _Inexpressible


def _close(schema: JsonObject) -> None:
    if not schema.get("properties") and "allOf" not in schema and "$ref" not in schema:
        raise _Inexpressible
    schema["additionalProperties"] = False


def _one_of_types(schema: JsonObject) -> JsonObject:
    """`{"type": ["string", "null"]}` is a choice between two schemas."""
    kept = ("description", "title", "default")
    outer: JsonObject = {key: schema[key] for key in kept if key in schema}
    inner = {key: value for key, value in schema.items() if key not in outer}
    if "enum" in inner or "const" in inner:
        del inner["type"]
        return {**_native(inner), **outer}
    variants = [{"type": "null"} if t == "null" else {**inner, "type": t} for t in schema["type"]]
    return {"anyOf": [_native(variant) for variant in variants], **outer}


def _is_simple(values: list[Any]) -> bool:
    return all(value is None or isinstance(value, str | int | float | bool) for value in values)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)


def _resolves(reference: str, root: JsonObject) -> bool:
    return reference == "#" or _target(reference, root) is not None


def _target(reference: str, root: JsonObject) -> JsonObject | None:
    """What `#/$defs/Name` refers to; nothing outside of the schema is ever fetched."""
    if not reference.startswith("#/"):
        return None
    found: Any = root
    for part in reference[2:].split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _is_recursive(root: JsonObject) -> bool:
    def leads_back(reference: str, path: tuple[str, ...]) -> bool:
        if reference in path or reference == "#":
            return True
        target = _target(reference, root)
        return any(leads_back(inner, (*path, reference)) for inner in set(_references(target)))

    definitions = {k: v for k, v in root.items() if k not in ("$defs", "definitions")}
    return any(leads_back(reference, ()) for reference in set(_references(definitions)))
