"""The fake upstream refuses what the real API refuses, and takes what Claude Code sends."""

import base64
from typing import Any

import pytest

from demo.errors import ApiError
from demo.validation import validate

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n rest").decode()
CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
CLOSED = {"type": "object", "additionalProperties": False}
STRICT = {"name": "f", "input_schema": CLOSED, "strict": True}


def text(content: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": content, **more}


def image(data: str = PNG, media_type: str = "image/png") -> dict[str, Any]:
    return {
        "type": "image",
        "source": {"type": "base64", "media_type": media_type, "data": data},
    }


def pdf(data: bytes) -> dict[str, Any]:
    source = {
        "type": "base64",
        "media_type": "application/pdf",
        "data": base64.b64encode(data).decode(),
    }
    return {"type": "document", "source": source}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks) if blocks else "hello"}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def check(messages: Any = None, betas: tuple[str, ...] = (), **body: Any) -> None:
    request = {"model": "claude-demo", "max_tokens": 4000, "messages": messages or [user()], **body}
    request = {key: value for key, value in request.items() if value is not Ellipsis}
    validate(request, "anthropic", request.get("model", ""), betas)


def refusal(messages: Any = None, **body: Any) -> str:
    """The words of the 400 that a request gets."""
    with pytest.raises(ApiError) as caught:
        check(messages, **body)
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"n": 1}, "n: Extra inputs are not permitted"),
        ({"max_tokens": ...}, "max_tokens: Field required"),
        ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
        ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
        ({"model": ...}, "model: Field required"),
        ({"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
        ({"top_p": -0.1}, "top_p: Input should be greater than or equal to 0"),
        ({"stop_sequences": ["\n"]}, "each stop sequence must contain non-whitespace"),
        ({"stream": "yes"}, "stream: Input should be a valid boolean"),
        ({"system": [text("")]}, "system: text content blocks must be non-empty"),
        ({"system": {"type": "text"}}, "system: Input should be a valid string or array"),
        ({"tools": [TOOL | {"name": "a b"}]}, "tools.0.custom.name: String should match"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [TOOL | {"input_schema": {"type": "string"}}]}, "Input should be 'object'"),
        ({"tools": [TOOL | {"parameters": {}}]}, "parameters: Extra inputs are not permitted"),
        ({"tools": [TOOL, TOOL]}, "tools: Tool names must be unique."),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "Tool 'g' not found"),
        ({"tool_choice": {"type": "any"}}, "may only be specified while providing tools"),
        ({"tool_choice": {"type": "required"}}, "tool_choice: Input tag"),
        ({"thinking": {"type": "enabled"}}, "budget_tokens: Field required"),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, "greater than or equal to 1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, "must be greater than"),
        ({"thinking": {"type": "adaptive"}, "temperature": 0.5}, "may only be set to 1"),
        ({"thinking": {"type": "adaptive"}, "top_k": 5}, "`top_k` must be unset"),
        (
            {"thinking": {"type": "adaptive"}, "tools": [TOOL], "tool_choice": {"type": "any"}},
            "Thinking may not be enabled when tool_choice forces tool use.",
        ),
        ({"output_config": {"effort": "huge"}}, "output_config.effort: Input should be 'low'"),
        ({"output_config": {"format": {"type": "json"}}}, "Input should be 'json_schema'"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "schema: Field required"),
    ],
)
def test_a_wrong_parameter_is_refused(body: dict[str, Any], message: str) -> None:
    assert message in refusal(**body)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([assistant(text("x"))], 'first message must use the "user" role'),
        ([{"role": "tool", "content": "x"}], 'Unexpected role "tool"'),
        ([{"role": "user", "content": "x", "name": "bob"}], "messages.0.name: Extra inputs"),
        ([{"role": "user", "content": ""}], "all messages must have non-empty content"),
        ([user(text(""))], "messages: text content blocks must be non-empty"),
        ([user(text(" \n"))], "text content blocks must contain non-whitespace text"),
        (
            [user(text("", cache_control={"type": "ephemeral"}))],
            "messages.0.content.0.text: cache_control cannot be set for empty text blocks",
        ),
        ([user({"type": "image_url"})], "Input tag 'image_url'"),
        ([user({"type": "text"})], "messages.0.content.0.text.text: Field required"),
        ([user(text("x", foo=1))], "messages.0.content.0.text.foo: Extra inputs"),
        ([user(), assistant(text("x "))], "cannot end with trailing whitespace"),
        ([user(), assistant(CALL)], "messages.1: `tool_use` ids were found without"),
        ([user(), assistant(CALL), user()], "messages.1: `tool_use` ids were found without"),
        ([user(), assistant(CALL), user(text("x"), RESULT)], "`tool_use` ids were found without"),
        ([user(), assistant(CALL), user(RESULT, RESULT)], "must have a single result"),
        ([user(), assistant(CALL, CALL), user(RESULT)], "`tool_use` ids must be unique"),
        (
            [user(), assistant(CALL), user(RESULT), assistant(CALL), user(RESULT)],
            "`tool_use` ids must be unique",
        ),
        ([user(RESULT)], "messages.0.content.0: unexpected `tool_use_id` found"),
        ([user(), assistant(text("x")), user(RESULT)], "unexpected `tool_use_id` found"),
        ([user(), assistant(CALL | {"input": "{}"}), user(RESULT)], "valid dictionary"),
        ([user(), assistant(CALL | {"id": "a b"}), user(RESULT)], "tool_use.id: String should"),
        ([user(CALL)], "`tool_use` blocks can only be in `assistant` messages"),
        ([user(image("%%%"))], "Invalid base64 data"),
        ([user(image(media_type="image/jpeg"))], "appears to be a image/png image"),
        ([user(image(media_type="image/bmp"))], "Input should be 'image/jpeg'"),
        ([user(image(base64.b64encode(b"BM").decode()))], "Could not process image"),
        ([user(pdf(b"plain"))], "The PDF specified was not valid"),
        ([user(), assistant({"type": "thinking", "thinking": "x"})], "signature: Field required"),
        (
            [user(), assistant({"type": "thinking", "thinking": "x", "signature": ""})],
            "Invalid `signature` in `thinking` block",
        ),
        ([user(text("x", cache_control={"type": "ephemeral"}))] * 5, "A maximum of 4 blocks"),
        ([user(), {"role": "system", "content": []}], "all messages must have non-empty content"),
    ],
)
def test_a_wrong_message_is_refused(messages: list[dict[str, Any]], message: str) -> None:
    assert message in refusal(messages)


@pytest.mark.parametrize(
    "body",
    [
        {"system": [text("be brief", cache_control={"type": "ephemeral", "ttl": "1h"})]},
        {"thinking": {"type": "adaptive", "display": "summarized"}, "temperature": 1},
        {
            "thinking": {"type": "adaptive", "display": "updates"},
            "betas": ("thinking-display-updates-2026-08-18",),
        },
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "betas": ("context-management-2025-06-27",),
        },
        {"metadata": {"user_id": "x"}, "speed": "fast", "service_tier": "auto"},
        {"tools": [STRICT | {"eager_input_streaming": True, "defer_loading": True}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"output_config": {"effort": "xhigh", "format": {"type": "json_schema", "schema": {}}}},
        {"messages": [user(), user(), assistant(text("a")), user()]},
        {"messages": [user(), assistant(CALL), user(RESULT, text("and?"))]},
        {"messages": [user(), assistant(text("a"), CALL), user(RESULT), user(text("and?"))]},
        {"messages": [user(image(), pdf(b"%PDF-1.7"), text("what?"))]},
        {
            "messages": [
                user(),
                {"role": "system", "content": [], "output_config": {"effort": "medium"}},
                assistant(text("a")),
                user(),
            ]
        },
        {"messages": [user(), assistant(text("prefill"))]},
    ],
)
def test_what_is_right_is_accepted(body: dict[str, Any]) -> None:
    check(**body)


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(ApiError) as caught:
        check(model="gpt-5")
    assert (caught.value.status, caught.value.message) == (404, "model: gpt-5")


def test_bedrock_has_its_model_in_the_path() -> None:
    body = {"max_tokens": 9, "messages": [user()], "anthropic_version": "bedrock-2023-05-31"}
    validate(body, "bedrock", "us.anthropic.claude-demo")
    with pytest.raises(ApiError, match="model: Extra inputs"):
        validate(body | {"model": "claude-demo"}, "bedrock", "us.anthropic.claude-demo")
    with pytest.raises(ApiError, match="anthropic_version"):
        validate(body | {"anthropic_version": "x"}, "bedrock", "us.anthropic.claude-demo")
