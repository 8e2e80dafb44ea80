"""What a caller is told of a body that does not fit, and where."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from web.errors import invalid_request, param_name


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class Url(BaseModel):
    url: str


class ImagePart(BaseModel):
    type: Literal["image_url"]
    image_url: Url


class Message(BaseModel):
    role: Literal["user", "assistant"]
    content: str | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    messages: list[Message] = Field(min_length=1)
    temperature: float | None = Field(None, le=2)
    stop: str | list[str] | None = None

    @field_validator("stop")
    @classmethod
    def no_empty_stop(cls, value: object) -> object:
        if value == "":
            raise ValueError("must not be empty")
        return value


def saying(content: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": content}]}


CASES: list[tuple[Any, str | None, str]] = [
    ({}, "messages", "missing_required_parameter"),
    ({"messages": []}, "messages", "invalid_value"),
    ({"messages": "hi"}, "messages", "invalid_type"),
    ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
    (saying(5), "messages[0].content", "invalid_type"),
    (saying([{"type": "text"}]), "messages[0].content[0].text", "missing_required_parameter"),
    (saying([{"type": "text", "text": 5}]), "messages[0].content[0].text", "invalid_type"),
    (saying([{"type": "video"}]), "messages[0].content[0].type", "invalid_value"),
    (saying([{"text": "x"}]), "messages[0].content[0].type", "missing_required_parameter"),
    (
        saying([{"type": "image_url", "image_url": {"url": 5}}]),
        "messages[0].content[0].image_url.url",
        "invalid_type",
    ),
    ({**saying("x"), "temperature": "warm"}, "temperature", "invalid_type"),
    ({**saying("x"), "temperature": 3}, "temperature", "invalid_value"),
    ({**saying("x"), "stop": ""}, "stop", "invalid_value"),
    ({**saying("x"), "stop": [1]}, "stop[0]", "invalid_type"),
    ({**saying("x"), "extra": 1}, "extra", "invalid_value"),
    ([], None, "invalid_type"),
]


@pytest.mark.parametrize(("body", "param", "code"), CASES)
def test_the_param_is_the_path_in_the_callers_own_body(
    body: object, param: str | None, code: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Body).validate_python(body)
    problems = [{**problem, "loc": ("body", *problem["loc"])} for problem in caught.value.errors()]
    error = invalid_request(problems, body)
    assert (error.status, error.param, error.code) == (400, param, code)
    assert "Value error" not in error.message


def test_broken_json_is_told_as_such() -> None:
    problem = {
        "type": "json_invalid",
        "loc": ("body", 7),
        "msg": "JSON decode error",
        "ctx": {"error": "Expecting value"},
    }
    error = invalid_request([problem], "{")
    assert (error.param, error.code) == (None, "invalid_json")
    assert "Expecting value" in error.message


def test_a_path_is_written_as_openai_does() -> None:
    assert param_name(("messages", 0, "content", 12, "text")) == "messages[0].content[12].text"
    assert param_name((3,)) == "[3]"
    assert param_name(()) is None
