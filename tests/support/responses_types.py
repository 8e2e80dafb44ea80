"""What holds a response and its events: the client's own types, and the official schemas.

The schemas are documents of their publishers and no part of this project: tests that need them are
skipped where the variable API_SCHEMAS does not name a folder that has them.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

OURS = {
    "usage.cost_usd",
    "frequency_penalty",
    "presence_penalty",
    "store",
    "output.status",
}
"""What is not in the client's types: Open Responses wants it there, or it is this server's own."""

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
KEYS = 31
"""As many are required by Open Responses."""


def typed_response(body: dict[str, Any]) -> Response:
    """The body, which must be of the client's strict type."""
    read = Response.model_validate(body, strict=True)
    assert extras(read) <= OURS, extras(read)
    return read


def typed_event(event: dict[str, Any]) -> Any:
    read = EVENT.validate_python(event, strict=True)
    found = {name.removeprefix("response.") for name in extras(read)}
    assert found <= OURS | {"error", "item.status", "name"}, found
    return read


def extras(model: BaseModel, path: str = "") -> set[str]:
    """The dotted names of all fields that the model does not declare."""
    found = {path + name for name in model.model_extra or {}}
    for name in type(model).model_fields:
        value = getattr(model, name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, BaseModel):
                found |= extras(item, f"{path}{name}.")
    return found


@cache
def _document(name: str) -> dict[str, Any]:
    path = Path(os.environ.get("API_SCHEMAS", "")) / name
    if not os.environ.get("API_SCHEMAS") or not path.exists():
        pytest.skip(f"API_SCHEMAS does not name a folder with {name}")
    read: dict[str, Any] = json.loads(path.read_text())
    return read


@cache
def _validator(document: str, schema: str) -> Draft202012Validator:
    components = _document(document)["components"]
    root = {"$ref": f"#/components/schemas/{schema}", "components": components}
    return Draft202012Validator(root)


def of_openai(value: Any, schema: str) -> None:
    """Holds a value against a schema of OpenAI's document."""
    _hold(value, "openai_schema.json", schema)


def of_open_responses(value: Any, schema: str) -> None:
    """Holds a value against a schema of Open Responses."""
    _hold(value, "openresponses_schema.json", schema)


def _hold(value: Any, document: str, schema: str) -> None:
    error = best_match(_validator(document, schema).iter_errors(value))
    assert error is None, f"{error.json_path}: {error.message[:500]}"


@cache
def event_schemas(document: str, ending: str) -> dict[str, str]:
    """The schemas of a document's events, by their type."""
    schemas = _document(document)["components"]["schemas"]
    return {
        value["properties"]["type"]["enum"][0]: name
        for name, value in schemas.items()
        if name.startswith("Response")
        and name.endswith(ending)
        and "properties" in value
        and name != "ResponseStreamEvent"
    } | {"error": "ResponseErrorEvent" if ending == "Event" else "ErrorStreamingEvent"}


def event_of_openai(event: dict[str, Any]) -> None:
    of_openai(event, event_schemas("openai_schema.json", "Event")[event["type"]])


def event_of_open_responses(event: dict[str, Any]) -> None:
    schemas = event_schemas("openresponses_schema.json", "StreamingEvent")
    of_open_responses(event, schemas[event["type"]])
