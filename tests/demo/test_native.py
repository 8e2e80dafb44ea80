"""The fake upstream takes the whole Messages API, and refuses what the real one refuses of it."""

from typing import Any

import pytest

from demo.blocks import RESULT_PREFIX
from demo.errors import ApiError
from demo.validation import betas_of, validate
from tests.demo.test_validation import (
    CALL,
    CLOSED,
    RESULT,
    STRICT,
    TOOL,
    assistant,
    check,
    image,
    pdf,
    refusal,
    text,
    user,
)

MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
FOUND = {
    "type": "web_search_result",
    "url": "https://example.com",
    "title": "t",
    "encrypted_content": f"{RESULT_PREFIX}1",
    "page_age": None,
}
USE = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}}
FINDS = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [FOUND]}
CITED = {
    "type": "web_search_result_location",
    "cited_text": "c",
    "url": "https://example.com",
    "title": "t",
    "encrypted_index": "i",
}
SEARCH_RESULT = {
    "type": "search_result",
    "source": "https://example.com",
    "title": "t",
    "content": [text("found")],
    "citations": {"enabled": True},
}
SERVER = {"type": "url", "name": "calc", "url": "https://example.com/sse"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "foreign"}


def document(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "document", "source": source, **more}


def schema(**properties: Any) -> dict[str, Any]:
    return CLOSED | {"properties": properties, "required": list(properties)}


def strict(name: str, input_schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "input_schema": input_schema, "strict": True}


def formatted(output_schema: dict[str, Any]) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": output_schema}}}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [user(document({"type": "text", "media_type": "text/plain", "data": "d"}))]},
        {"messages": [user(document({"type": "url", "url": "https://example.com/a.pdf"}))]},
        {"messages": [user(document({"type": "file", "file_id": "file_1"}))]},
        {
            "messages": [
                user(
                    document(
                        {"type": "content", "content": [text("a"), text("b")]},
                        title="t",
                        context="c",
                        citations={"enabled": True},
                        cache_control=HOUR,
                    )
                )
            ]
        },
        {"messages": [user(SEARCH_RESULT, text("?"))]},
        {"messages": [user(), assistant(CALL), user(RESULT | {"content": [SEARCH_RESULT]})]},
        {
            "messages": [
                user(),
                assistant(CALL),
                user(RESULT | {"content": [image(), pdf(b"%PDF")]}),
            ]
        },
        {
            "messages": [user(), assistant(USE, FINDS, text("a", citations=[CITED])), user()],
            "tools": [SEARCH | {"max_uses": 3, "allowed_domains": ["example.com"]}],
        },
        {"messages": [user(), assistant(USE)], "tools": [SEARCH], "model": "claude-opus-5"},
        {
            "messages": [
                user(),
                assistant(THOUGHT, {"type": "redacted_thinking", "data": "x"}, text("a")),
                user(),
            ]
        },
        {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
        {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch", "citations": {}}]},
        {"tools": [{"type": "bash_20250124", "name": "bash", "cache_control": MARK}]},
        {
            "tools": [
                {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
                {"type": "memory_20250818", "name": "memory"},
                TOOL,
            ]
        },
        {
            "mcp_servers": [SERVER],
            "tools": [{"type": "mcp_toolset", "mcp_server_name": "calc"}],
            "betas": ("mcp-client-2025-11-20",),
        },
        {"mcp_servers": [SERVER], "betas": ("mcp-client-2025-04-04",)},
        {"container": "container_1", "service_tier": "standard_only", "top_k": 5},
        {"container": {"id": None, "skills": []}, "metadata": {"user_id": None}},
        {"system": [text("a", cache_control=HOUR), text("b", cache_control=MARK)]},
        {"cache_control": MARK, "messages": [user(text("x", cache_control=MARK))]},
        {"max_tokens": 0},
        {"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}},
        {"model": "claude-sonnet-5-5", "thinking": {"type": "between_tools"}},
        {"model": "claude-haiku-4-5", "messages": [user(), assistant(text("prefill"))]},
        {"model": "claude-opus-5", "temperature": 1, "top_p": 1.0},
        {"model": "claude-sonnet-5", "thinking": {"type": "disabled"}},
        {"tools": [TOOL | {"input_schema": {"type": "object", "properties": {"a.b-c": {}}}}]},
        {"tools": [strict(f"f{n}", CLOSED) for n in range(20)]},
        formatted(schema(a={"type": ["string", "null"]}, b={"$ref": "#/$defs/x"})),
        formatted(schema(a={"type": "array", "items": {"type": "string"}, "minItems": 1})),
        formatted({"anyOf": [schema(a={"const": 1}), schema(b={"const": 2})]}),
    ],
)
def test_a_native_request_is_accepted(body: dict[str, Any]) -> None:
    check(**body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"mcp_servers": [SERVER]}, "mcp_servers: Extra inputs are not permitted"),
        ({"context_management": {"edits": []}}, "context_management: Extra inputs are not"),
        ({"output_format": {}}, "output_format: Extra inputs are not permitted"),
        ({"output_config": {"task_budget": {}}}, "output_config.task_budget: Extra inputs"),
        (
            {"thinking": {"type": "adaptive", "display": "updates"}},
            "thinking.adaptive.display: Input should be 'summarized' or 'omitted'",
        ),
        ({"thinking": {"type": "disabled", "budget_tokens": 9}}, "budget_tokens: Extra inputs"),
        ({"service_tier": "flex"}, "service_tier: Input should be 'auto' or 'standard_only'"),
        ({"metadata": {"user": "x"}}, "metadata.user: Extra inputs are not permitted"),
        ({"tools": [SEARCH | {"name": "find"}]}, "web_search_20250305.name: Input should be 'web_"),
        ({"tools": [SEARCH | {"domains": []}]}, "web_search_20250305.domains: Extra inputs"),
        ({"tools": [{"type": "browse_20250101", "name": "x"}]}, "Input tag 'browse_20250101'"),
        ({"tools": [{"type": "computer_20250124", "name": "computer"}]}, "Input tag 'computer_"),
        (
            {"tools": [TOOL | {"input_schema": {"type": "object", "anyOf": [{}]}}]},
            "tools.0.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at",
        ),
        (
            {"tools": [TOOL | {"input_schema": {"type": "object", "properties": {"a b": {}}}}]},
            "tools.0.custom.input_schema.properties: Property keys should match pattern "
            "'^[a-zA-Z0-9_.-]{1,64}$'",
        ),
        (
            {"tools": [TOOL | {"input_schema": {"type": "object", "required": "a"}}]},
            "tools.0.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft",
        ),
        ({"tools": [TOOL | {"strict": True}]}, "tools.0.custom: For 'object' type, 'additional"),
        (
            {"tools": [strict("f", schema(n={"type": "integer", "minimum": 1, "maximum": 2}))]},
            "tools.0.custom: For 'integer' type, properties maximum, minimum are not supported",
        ),
        ({"tools": [strict(f"f{n}", CLOSED) for n in range(21)]}, "Too many strict tools (21)"),
        (
            {"tools": [strict("f", CLOSED | {"properties": {f"p{n}": {} for n in range(25)}})]},
            "Schemas contains too many optional parameters (25), which would make grammar",
        ),
        (
            formatted(schema(**{f"p{n}": {"type": ["string", "null"]} for n in range(17)})),
            "Schemas contains too many parameters with union types (17 parameters",
        ),
        (
            formatted(schema(**{f"p{n}": {"enum": [*range(150)]} for n in range(20)})),
            "The compiled grammar is too large, which would cause performance issues. Simplify",
        ),
        (
            formatted(schema(s={"type": "string", "minLength": 2})),
            "output_config.format.schema: For 'string' type, property 'minLength' is not supported",
        ),
        (
            formatted(schema(s={"type": "array", "minItems": 2})),
            "For 'array' type, 'minItems' values other than 0 or 1 are not supported",
        ),
        (formatted(schema(s={"oneOf": [{}]})), "Schema type 'oneOf' is not supported"),
        (formatted(schema(s={"$ref": "https://x"})), "External $ref 'https://x' is not supported"),
        (
            formatted({"$ref": "#/$defs/a", "$defs": {"a": schema(a={"$ref": "#/$defs/a"})}}),
            "Circular reference detected in schema definitions: a -> a. Self-referencing",
        ),
        (
            formatted(schema(**{"a b": {}})),
            "output_config.format.schema.properties: Property keys should match pattern",
        ),
        (
            formatted(CLOSED) | {"messages": [user(SEARCH_RESULT)]},
            "Citations are not supported with structured outputs.",
        ),
        (
            {"mcp_servers": [SERVER], "betas": ("mcp-client-2025-11-20",)},
            "MCP server 'calc' must be referenced by exactly one mcp_toolset",
        ),
        (
            {
                "system": [text("a", cache_control=MARK)],
                "messages": [user(text("x", cache_control=HOUR))],
            },
            "messages.0.content.0.cache_control.ttl: a ttl='1h' cache_control block must not come "
            "after a ttl='5m' cache_control block. Note that blocks are processed in the following "
            "order: tools, system, messages.",
        ),
        (
            {
                "system": [text("a", cache_control=MARK)] * 2,
                "messages": [user(text("x", cache_control=MARK))] * 2 + [user()],
                "cache_control": MARK,
            },
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        ),
        (
            {"system": [text("a", cache_control={"type": "ephemeral", "ttl": "1d"})]},
            "system.0.cache_control.ephemeral.ttl: Input should be '5m' or '1h'",
        ),
        (
            {"messages": [user(text("a", cache_control={"type": "forever"}))]},
            "messages.0.content.0.text.cache_control: Input tag 'forever' found using 'type'",
        ),
    ],
)
def test_a_wrong_native_parameter_is_refused(body: dict[str, Any], message: str) -> None:
    assert message in refusal(**body)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([user(), assistant(THOUGHT | {"cache_control": MARK})], "thinking.cache_control: Extra"),
        ([user(document({"type": "gdoc"}))], "Input tag 'gdoc' found using 'type'"),
        ([user(document({"type": "url"}))], "document.source.url.url: Field required"),
        ([user(document({"type": "content", "content": [pdf(b"%PDF")]}))], "Input tag 'document'"),
        ([user({**SEARCH_RESULT, "title": None})], "search_result.title: Field required"),
        ([user(), assistant(SEARCH_RESULT)], "`search_result` blocks can only be in `user`"),
        ([user(USE)], "`server_tool_use` blocks can only be in `assistant` messages"),
        (
            [user(), assistant(USE, text("a")), user()],
            "messages.1: `web_search` tool use with id `srvtoolu_1` was found without a "
            "corresponding `web_search_tool_result` block",
        ),
        (
            [user(), assistant(FINDS, text("a")), user()],
            "messages.1.content.0: unexpected `tool_use_id` found in `web_search_tool_result` "
            "blocks: srvtoolu_1. Each `web_search_tool_result` block must have a corresponding "
            "`server_tool_use` block before it.",
        ),
        (
            [user(), assistant(USE | {"id": "toolu_1"})],
            "server_tool_use.id: String should match pattern '^srvtoolu_[a-zA-Z0-9_]+$'",
        ),
        (
            [user(), assistant(USE, FINDS | {"content": [FOUND | {"encrypted_content": "x"}]})],
            "Invalid `encrypted_content` in `search_result` block",
        ),
        ([user(), assistant(text("a", citations=[{"type": "x"}])), user()], "Input tag 'x'"),
        (
            [user(), assistant(text("a", citations=[CITED | {"n": 1}])), user()],
            "citations.0.web_search_result_location.n: Extra inputs are not permitted",
        ),
        (
            [user(), assistant(CALL), user(RESULT | {"content": [CALL]})],
            "messages.2.content.0.tool_result.content.0: Input tag 'tool_use' found using 'type'",
        ),
        ([user(), assistant(CALL), user(RESULT | {"tool_use_id": "a b"})], "tool_use_id: String"),
    ],
)
def test_a_wrong_native_message_is_refused(messages: list[Any], message: str) -> None:
    assert message in refusal(messages)


NEEDS_ADAPTIVE = 'Use "thinking.type.adaptive" and "output_config.effort" to control thinking'


@pytest.mark.parametrize(
    ("model", "body", "message"),
    [
        ("claude-sonnet-5", {"temperature": 0.5}, "`temperature` is deprecated for this model."),
        ("claude-opus-4-7", {"top_p": 0.5}, "`top_p` is deprecated for this model."),
        ("claude-opus-5-5", {"top_k": 5}, "`top_k` is deprecated for this model."),
        (
            "claude-haiku-4-5-20251001",
            {"temperature": 1, "top_p": 0.5},
            "`temperature` and `top_p` cannot both be specified for this model. Please use only",
        ),
        (
            "claude-sonnet-4-6",
            {"messages": [user(), assistant(text("prefill"))]},
            "This model does not support assistant message prefill. The conversation must end",
        ),
        (
            "claude-opus-5-5",
            {"tools": [TOOL], "tool_choice": {"type": "any"}},
            'tool_choice: type "tool" and "any" are not supported for this model.',
        ),
        ("claude-opus-5-5", {"thinking": {"type": "disabled"}}, NEEDS_ADAPTIVE),
        (
            "claude-sonnet-5",
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            '"thinking.type.enabled" is not supported for this model. ' + NEEDS_ADAPTIVE,
        ),
        ("claude-haiku-4-5", {"thinking": {"type": "adaptive"}}, "adaptive thinking is not"),
        ("claude-sonnet-5-5", {"thinking": {"type": "disabled"}}, '{"type": "between_tools"}'),
        (
            "claude-haiku-4-5",
            {"output_config": {"effort": "high"}},
            "This model does not support the effort parameter.",
        ),
        (
            "claude-opus-4-6",
            {"output_config": {"effort": "xhigh"}},
            "This model does not support effort level 'xhigh'. Supported levels: high, low, max",
        ),
        (
            "claude-opus-5",
            {"output_config": {"effort": "max"}, "thinking": {"type": "disabled"}},
            "'max' is not supported for this model when thinking is disabled",
        ),
        (
            "claude-sonnet-4-5",
            {"max_tokens": 64_001},
            "max_tokens: 64001 > 64000, which is the maximum allowed number of output tokens for "
            "claude-sonnet-4-5",
        ),
        (
            "claude-haiku-4-5",
            {
                "thinking": {"type": "enabled", "budget_tokens": 2000},
                "messages": [user(), assistant(CALL), user(RESULT)],
            },
            "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
            "`tool_use`. When `thinking` is enabled, a final `assistant` message must start with",
        ),
    ],
)
def test_a_model_refuses_what_it_cannot(model: str, body: dict[str, Any], message: str) -> None:
    assert message in refusal(model=model, **body)


def test_of_an_unknown_model_nothing_is_refused() -> None:
    prefill = [user(), assistant(text("prefill"))]
    check(prefill, model="claude-unheard-of", temperature=0.5, top_p=0.5, max_tokens=500_000)


@pytest.mark.parametrize(
    "model",
    ["claude-3-haiku-20240307", "claude-3-7-sonnet-latest", "claude-opus-4-20250514", "claude-2.1"],
)
def test_a_retired_model_is_not_found_at_anthropic_alone(model: str) -> None:
    with pytest.raises(ApiError) as caught:
        check(model=model)
    assert (caught.value.status, caught.value.message) == (404, f"model: {model}")
    vertex = {"max_tokens": 9, "messages": [user()], "anthropic_version": "vertex-2023-10-16"}
    validate(vertex, "vertex", model)


def test_betas_come_in_the_header_and_in_the_body() -> None:
    found = betas_of({"anthropic-beta": "a-1, b-2"}, {"anthropic_beta": ["c-3"]})
    assert found == {"a-1", "b-2", "c-3"}


def test_tools_that_were_accepted_once_are_counted_again() -> None:
    optional: dict[str, Any] = {f"p{n}": {} for n in range(13)}
    tool = strict("f", CLOSED | {"properties": optional})
    for _ in range(2):  # the second time from memory
        check(tools=[tool])
        message = refusal(tools=[tool], **formatted(CLOSED | {"properties": optional}))
        assert "too many optional parameters (26)" in message
    assert STRICT["strict"]
