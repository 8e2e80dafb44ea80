"""OpenAI's `response_format` -> the schema that an answer follows.

Source: https://platform.openai.com/docs/guides/structured-outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.conversation import JsonObject
from core.errors import InvalidRequest
from dialects import json_schema

STRICT = "response_format.json_schema.strict"


@dataclass(frozen=True, slots=True)
class Output:
    """The schema, None for plain text. `native`: the API itself holds the answer to it; `strict`:
    the caller asked for that. `json_object`: one JSON object of whatever form."""

    schema: JsonObject | None = None
    native: bool = True
    strict: bool = False
    json_object: bool = False

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names what the API cannot promise for this schema."""
        return (STRICT,) if self.strict and not self.native else ()


def read(response_format: JsonObject | None, where: str = "response_format") -> Output:
    """`where` is the field's name, for errors.
    Raises InvalidRequest for a type that is not known and a schema that cannot be served."""
    if response_format is None:
        return Output()
    match response_format.get("type"):
        case "text":
            return Output()
        case "json_object" if response_format.get("schema") is None:
            return Output(json_object=True)
        case "json_object":  # as some servers take it
            return _of_schema(response_format["schema"], False, f"{where}.schema")
        case "json_schema":
            return _json_schema(response_format, where)
    message = "The type must be 'text', 'json_object' or 'json_schema'."
    raise InvalidRequest(message, param=f"{where}.type")


def _json_schema(response_format: JsonObject, where: str) -> Output:
    """`{"json_schema": {"name", "schema", "strict"}}`; also with these beside the type."""
    nested = response_format.get("json_schema")
    given = response_format if nested is None else nested
    where = where if nested is None else f"{where}.json_schema"
    if not isinstance(given, dict):
        raise InvalidRequest("`json_schema` must be an object.", param=where)
    if given.get("schema") is None:
        raise InvalidRequest("A `schema` is needed.", param=f"{where}.schema")
    return _of_schema(given["schema"], given.get("strict") is True, f"{where}.schema")


def _of_schema(schema: Any, strict: bool, where: str) -> Output:
    checked = json_schema.checked(schema, where)
    native = json_schema.native(checked)
    return Output(checked if native is None else native, native is not None, strict)
