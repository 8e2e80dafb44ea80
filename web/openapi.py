"""The OpenAPI document as the server really answers: errors in our one shape, and no 422."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from models import ChatCompletionChunk, ErrorBody

Json = dict[str, Any]

REF = "#/components/schemas/{model}"
EVENT: Json = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {
                "anyOf": [
                    {"$ref": REF.format(model=ChatCompletionChunk.__name__)},
                    {"$ref": REF.format(model=ErrorBody.__name__)},
                ]
            },
        }
    },
}
END: Json = {"type": "object", "properties": {"data": {"const": "[DONE]"}}, "required": ["data"]}
EVENT_STREAM: Json = {
    "description": "The answer; with `stream` as server-sent events, which end with `[DONE]`.",
    "content": {"text/event-stream": {"schema": {"anyOf": [END, EVENT]}}},
}
"""What the chat route says of its 200, beside its model: the schema is that of each event."""

NAMED = (ChatCompletionChunk, ErrorBody)


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
    for model in NAMED:
        described = model.model_json_schema(ref_template=REF, mode="serialization")
        schemas.update(described.pop("$defs"))
        schemas[model.__name__] = described
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            _correct_responses(operation["responses"])


def _correct_responses(responses: Json) -> None:
    """FastAPI's 422 becomes our 400; whatever may befall a route has our error body."""
    responses.pop("422", None)
    content = {"application/json": {"schema": {"$ref": REF.format(model="ErrorBody")}}}
    for status, description in (("4XX", "Refused"), ("5XX", "Failed")):
        responses.setdefault(status, {"description": description, "content": content})
