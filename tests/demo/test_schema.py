"""Instances of JSON Schemas are valid, and always the same."""

from typing import Any

import jsonschema
import pytest

from demo.schema import instance, matching

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["name", "children", "next"],
        }
    },
    "$ref": "#/$defs/node",
}


def obj(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"const": 7},
        {"enum": ["b", "a"]},
        {"type": ["null", "integer"]},
        {"type": "string", "minLength": 9},
        {"type": "string", "maxLength": 2},
        {"type": "string", "format": "date-time"},
        {"type": "string", "format": "uuid"},
        {"type": "string", "pattern": "^[A-Z]{2}-\\d{4}$"},
        {"type": "string", "pattern": "^(foo|bar)+x?$"},
        {"type": "integer", "minimum": 5, "maximum": 6},
        {"type": "integer", "exclusiveMinimum": 5},
        {"type": "integer", "maximum": -3},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"type": "integer", "multipleOf": 7, "minimum": 8},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 3},
        {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
        {"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}]},
        {"type": "array", "maxItems": 0},
        {"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}},
        obj(a={"type": "integer"}, b=obj(c={"enum": [1]})),
        {"anyOf": [{"type": "null"}, {"type": "string"}]},
        {"oneOf": [obj(kind={"const": "a"}), obj(kind={"const": "b"})]},
        {"allOf": [{"type": "object"}, {"properties": {"a": {"const": 1}}, "required": ["a"]}]},
        TREE,
    ],
)
def test_an_instance_is_valid_and_stable(schema: dict[str, Any]) -> None:
    made = instance(schema)
    jsonschema.validate(made, schema)
    assert made == instance(schema)


def test_a_pattern_that_cannot_be_followed_gives_a_plain_word() -> None:
    assert matching("(?=lookahead)") == "demo"
