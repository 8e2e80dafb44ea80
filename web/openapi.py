"""The OpenAPI document as the server really answers: errors in their envelope, and no 422."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from dialects.base import Dialect, Wire
from turns.dialects import DIALECTS
from web.openapi_examples import EXAMPLES, TAGS

Json = dict[str, Any]

REF = "#/components/schemas/{model}"
ERRORS = (400, 401, 403, 404, 408, 409, 413, 415, 429, 431, 500, 502, 503, 504)
DONE: Json = {"type": "object", "properties": {"data": {"const": "[DONE]"}}, "required": ["data"]}


def described(dialect: Dialect[Any]) -> dict[int | str, Json]:
    """What a dialect's route says of its answers, beside the model of its body: the schema of a
    stream is that of each event."""
    return {200: _event_stream(dialect.wire), **failures(dialect)}


def failures(dialect: Dialect[Any]) -> dict[int | str, Json]:
    """The errors of a dialect's route, in its envelope."""
    return {status: {"model": dialect.wire.error} for status in ERRORS}


def _event_stream(wire: Wire) -> Json:
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"anyOf": [{"$ref": REF.format(model=m.__name__)} for m in wire.events]},
    }
    event = {"type": "object", "required": ["data"], "properties": {"data": data}}
    end = ", which end with `[DONE]`" if wire.ends_with_done else ""
    return {
        "description": f"The answer; with `stream` as server-sent events{end}.",
        "content": {
            "text/event-stream": {
                "schema": {"anyOf": [DONE, event]} if wire.ends_with_done else event
            }
        },
    }


def install(app: FastAPI) -> None:
    """From now on the app's document is corrected, once, when it is first asked for."""
    described = app.openapi

    def corrected() -> Json:
        is_new = app.openapi_schema is None
        document = described()
        if is_new:
            _correct(document)
        return document

    app.openapi = corrected  # type: ignore[method-assign]  # FastAPI's own way to change it


def _correct(document: Json) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in _named():
        described = model.model_json_schema(ref_template=REF, mode="serialization")
        schemas.update(described.pop("$defs", {}))
        schemas[model.__name__] = described
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _correct_responses(operation["responses"])
            _show_example(operation, EXAMPLES.get((method, path)))
    document["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key of this server"}
    }
    document["security"] = [{"key": []}]
    used = {tag for ops in document["paths"].values() for op in ops.values() for tag in op["tags"]}
    document["tags"] = [{"name": t, "description": TAGS[t]} for t in TAGS if t in used]


def _show_example(operation: Json, example: Any) -> None:
    if example is not None:
        for content in operation.get("requestBody", {}).get("content", {}).values():
            content["example"] = example


def _named() -> dict[type[BaseModel], None]:
    """The models that FastAPI does not see in a signature, each once."""
    wires = [dialect.wire for dialect in DIALECTS.values()]
    return dict.fromkeys(model for wire in wires for model in (*wire.events, wire.error))


def _correct_responses(responses: Json) -> None:
    """FastAPI's 422 becomes our 400; whatever may befall a route has our error body."""
    responses.pop("422", None)
    content = {"application/json": {"schema": {"$ref": REF.format(model="ErrorBody")}}}
    for status, description in (("4XX", "Refused"), ("5XX", "Failed")):
        responses.setdefault(status, {"description": description, "content": content})
