"""The official client's own types, held against what the server sends."""

from __future__ import annotations

from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

OURS = {
    "usage.cost_usd",
    "choices.message.reasoning_content",
    "choices.delta.reasoning_content",
}
"""What we add to OpenAI's shapes."""


def typed_body(body: dict[str, Any]) -> ChatCompletion:
    """The body, which must be of the client's strict type and hold all that it needs."""
    read = ChatCompletion.model_validate(body, strict=True)
    assert _extras(read) <= OURS
    assert read.usage is not None
    assert {"id", "object", "created", "model", "choices", "usage"} <= set(body)
    return read


def typed_chunks(sent: list[dict[str, Any]]) -> list[ChatCompletionChunk]:
    """The chunks of a stream with usage, which must be of the client's strict type."""
    read = [ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in sent]
    assert set().union(*(_extras(chunk) for chunk in read)) <= OURS
    assert read[0].choices[0].delta.role == "assistant"
    assert read[-2].choices[0].finish_reason is not None
    assert read[-1].usage is not None
    return read


def _extras(model: BaseModel, path: str = "") -> set[str]:
    """The dotted names of all fields that the model does not declare."""
    found = {path + name for name in model.model_extra or {}}
    for name in type(model).model_fields:
        value = getattr(model, name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, BaseModel):
                found |= _extras(item, f"{path}{name}.")
    return found
