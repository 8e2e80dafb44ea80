"""What the model gets for a Responses request."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_type_hints

import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from core.errors import GatewayError, InvalidRequest, UnsupportedParameter
from core.turn import FunctionTool, ToolChoice, Turn
from dialects.base import Context, ImageUrl
from dialects.responses import DIALECT, ResponsesRequest
from dialects.responses.fields import FIELDS, TABLE
from dialects.responses.request import ResponsesCall, with_history
from tests.support.harness import png
from tests.support.responses_cases import DOCS, MODEL, PATCH, SCHEMA, WEATHER

SEARCH = {"type": "web_search"}


def parsed(given: Any = "hi", context: Context | None = None, **fields: Any) -> ResponsesCall:
    request = ResponsesRequest.model_validate({"input": given, **fields})
    return DIALECT.parse(request, context or Context(MODEL))


def turn(given: Any = "hi", **fields: Any) -> Turn:
    return parsed(given, **fields).turn


def said(given: Any, **fields: Any) -> list[tuple[str, list[Any]]]:
    return [(m.role, [*m.content]) for m in turn(given, **fields).messages]


def refused(given: Any = "hi", **fields: Any) -> tuple[str | None, str | None]:
    with pytest.raises(GatewayError) as caught:
        parsed(given, **fields)
    assert isinstance(caught.value, InvalidRequest)
    return caught.value.param, caught.value.code


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


USER = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"a": 1}'}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "42"}


def test_a_text_is_a_users_message() -> None:
    assert said("hi") == [("user", [text("hi")])]


def test_items_become_native_messages_in_their_order() -> None:
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Well"}]},
        CALL,
        {**CALL, "call_id": "c2", "arguments": ""},
        OUTPUT,
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [text("7") | {"type": "input_text"}],
        },
        {"role": "user", "content": "so?"},
    ]
    assert said(items) == [
        ("user", [text("hi")]),
        (
            "assistant",
            [
                text("Well"),
                {"type": "tool_use", "id": "c1", "name": "get_weather", "input": {"a": 1}},
                {"type": "tool_use", "id": "c2", "name": "get_weather", "input": {}},
            ],
        ),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "c1", "content": [text("42")]},
                {"type": "tool_result", "tool_use_id": "c2", "content": [text("7")]},
                text("so?"),
            ],
        ),
    ]


def test_instructions_and_developer_messages_are_the_system_prompt() -> None:
    items = [{"role": "developer", "content": "Be kind."}, USER, {"role": "system", "content": "!"}]
    assert turn(items, instructions="Be brief.").system == "Be brief.\n\nBe kind.\n\n!"
    assert turn("hi").system is None


def test_instructions_alone_are_asked_as_the_users() -> None:
    assert said([{"role": "developer", "content": "Go"}]) == [("user", [text("Go")])]


def test_images_and_files_are_blocks() -> None:
    parts = [
        {"type": "input_image", "image_url": f"data:image/png;base64,{png()}", "detail": "high"},
        {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGk="},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
    ]
    call = parsed([{"role": "user", "content": parts}])
    assert [block["type"] for block in call.turn.messages[0].content] == [
        "image",
        "document",
        "document",
    ]
    address: Any = call.turn.messages[0].content[2]
    assert address["source"] == {"type": "url", "url": "https://example.com/a.pdf"}
    assert call.ignored == ("input.content.detail",)


def test_images_of_outputs_are_blocks_too() -> None:
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{png()}"}
    output: Any = said([USER, CALL, {**OUTPUT, "output": [image]}])[-1][1][0]
    assert [part["type"] for part in output["content"]] == ["image"]


def test_images_by_address_are_named_for_the_pipeline() -> None:
    part = {"type": "input_image", "image_url": "https://example.com/a.png"}
    items = [{"role": "user", "content": [part]}, {**OUTPUT, "output": [dict(part)]}]
    request = ResponsesRequest.model_validate({"input": items})
    found = DIALECT.images(request)
    assert [image.where for image in found] == [
        "input[0].content[0].image_url",
        "input[1].output[0].image_url",
    ]
    first = found[0]
    assert isinstance(first, ImageUrl)
    first.holder[first.key] = f"data:image/png;base64,{png()}"
    second = found[1]
    second.holder[second.key] = first.holder[first.key]
    items = request.input if isinstance(request.input, list) else []
    assert said([items[0], CALL, items[1]])[0][1][0]["type"] == "image"


def test_functions_reach_the_model_as_they_are() -> None:
    assert turn(tools=[{**WEATHER, "strict": True}]).tools == (
        FunctionTool("get_weather", "The weather", WEATHER["parameters"], strict=True),  # type: ignore[arg-type]
    )


def test_a_custom_tool_takes_one_text_and_its_grammar_is_told() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
    [tool] = turn(tools=[{**PATCH, "format": grammar}]).tools
    assert tool.input_schema["properties"] == {
        "input": {"type": "string", "description": "Must match this lark grammar:\nstart: WORD"}
    }
    items = [
        USER,
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** x"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "Done"},
    ]
    assert said(items, tools=[PATCH])[1:] == [
        (
            "assistant",
            [{"type": "tool_use", "id": "c1", "name": "apply_patch", "input": {"input": "*** x"}}],
        ),
        ("user", [{"type": "tool_result", "tool_use_id": "c1", "content": [text("Done")]}]),
    ]


def test_the_tools_of_a_namespace_have_its_name_before_theirs() -> None:
    call = {**CALL, "namespace": "docs"}
    assert [t.name for t in turn(tools=[DOCS]).tools] == ["docs__get_weather", "docs__apply_patch"]
    [block] = said([USER, call, OUTPUT], tools=[DOCS])[1][1]
    assert block["name"] == "docs__get_weather"
    chosen = {"type": "function", "name": "get_weather", "namespace": "docs"}
    choice = turn(tools=[DOCS], tool_choice=chosen).tool_choice
    assert choice == ToolChoice("tool", "docs__get_weather")


def test_web_search_is_the_apis_own() -> None:
    given = {
        **SEARCH,
        "filters": {"allowed_domains": ["example.com"]},
        "user_location": {"type": "approximate", "city": "Rome"},
    }
    asked = turn(tools=[given], max_tool_calls=3)
    assert asked.server_tools == (
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "allowed_domains": ["example.com"],
            "user_location": {"type": "approximate", "city": "Rome"},
            "max_uses": 3,
        },
    )
    assert asked.api_events
    assert not turn(tools=[WEATHER]).api_events


def test_a_search_without_access_to_the_web_is_left_out() -> None:
    call = parsed(tools=[{**SEARCH, "external_web_access": False}])
    assert call.turn.server_tools == ()
    assert call.ignored == ("tools.web_search",)


def test_the_code_interpreter_is_code_execution() -> None:
    asked = turn(tools=[{"type": "code_interpreter", "container": {"type": "auto"}}])
    assert asked.server_tools == ({"type": "code_execution_20250825", "name": "code_execution"},)
    assert asked.betas == ("code-execution-2025-08-25",)


@pytest.mark.parametrize(
    ("provider", "missing"),
    [("bedrock", ["web_search", "code_interpreter"]), ("vertex", ["code_interpreter"])],
)
def test_a_tool_that_the_provider_has_not_is_refused(provider: str, missing: list[str]) -> None:
    for kind in ("web_search", "code_interpreter"):
        asked = {"tools": [{"type": kind}]}
        if kind not in missing:
            assert turn(context=Context(MODEL, provider=provider), **asked).server_tools
            continue
        with pytest.raises(UnsupportedParameter, match=f"not available through {provider.title()}"):
            parsed(context=Context(MODEL, provider=provider), **asked)


@pytest.mark.parametrize(
    ("require", "rules"),
    [
        (None, ("mcp__calc",)),
        ("always", ("mcp__calc",)),
        ("never", ()),
        ({"always": {"tool_names": ["add"]}}, ("mcp__calc__add",)),
        ({"never": {"tool_names": ["add"]}}, ("mcp__calc",)),
    ],
)
def test_what_needs_an_approval(require: Any, rules: tuple[str, ...]) -> None:
    given = {"type": "mcp", "server_label": "calc", "require_approval": require}
    call = parsed(tools=[given])
    assert call.tool_request is not None
    assert call.tool_request.ask == rules
    assert call.turn.asks_by_item == bool(rules)
    assert (call.ignored == ()) == (not isinstance(require, dict) or "never" not in require)


@pytest.mark.parametrize("require", ["sometimes", 1, {"always": {"tool_names": ["a b"]}}])
def test_what_says_no_approval_is_refused(require: Any) -> None:
    given = {"type": "mcp", "server_label": "calc", "require_approval": require}
    param, code = refused(tools=[given])
    assert (str(param).startswith("tools[0].require_approval"), code) == (True, "invalid_value")


def test_only_the_decisions_at_the_end_are_answers() -> None:
    decided = {"type": "mcp_approval_response", "approval_request_id": "a1", "approve": True}
    later = {**decided, "approval_request_id": "a2", "approve": False}
    asked = {"role": "user", "content": "Go"}
    assert turn([asked, decided, {"role": "user", "content": "on"}]).decisions == ()
    assert turn([asked, decided, {"role": "user", "content": "on"}, later]).decisions == (
        ("a2", '{"approve": false, "reason": ""}'),
    )
    assert refused([asked, {**decided, "approve": "yes"}]) == ("input[1].approve", "invalid_value")


def test_a_configured_mcp_server_is_asked_for_by_its_label() -> None:
    call = parsed(tools=[{"type": "mcp", "server_label": "calc", "require_approval": "never"}])
    assert call.tool_request is not None
    assert call.tool_request.mcp_servers == ("calc",)


@pytest.mark.parametrize("kind", ["image_generation", "tool_search", "local_shell"])
def test_tools_that_clients_offer_anyway_are_left_out_by_name(kind: str) -> None:
    call = parsed(tools=[{"type": kind}, WEATHER])
    assert [tool.name for tool in call.turn.tools] == ["get_weather"]
    assert call.ignored == (f"tools.{kind}",)


@pytest.mark.parametrize(
    ("tool", "where"),
    [
        ({"type": "file_search", "vector_store_ids": ["vs_1"]}, "tools[0].type"),
        ({"type": "computer_use_preview"}, "tools[0].type"),
        ({"type": "mcp", "server_label": "x", "server_url": "https://x"}, "tools[0].server_url"),
        ({"type": "code_interpreter", "container": "cntr_1"}, "tools[0].container"),
        ({"type": "teleport"}, "tools[0].type"),
        ({"type": "function"}, "tools[0].name"),
        ({"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}, "tools[0].tools[0].type"),
        ({**PATCH, "format": {"type": "grammar", "syntax": "ebnf"}}, "tools[0].format"),
    ],
)
def test_tools_without_a_counterpart_are_refused_by_name(tool: Any, where: str) -> None:
    assert refused(tools=[tool])[0] == where


def test_duplicate_names_are_refused() -> None:
    assert refused(tools=[WEATHER, WEATHER])[0] == "tools"
    assert refused(tools=[SEARCH, SEARCH])[0] == "tools[1]"


@pytest.mark.parametrize(
    ("asked", "choice"),
    [
        (None, ToolChoice()),
        ("auto", ToolChoice()),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("any")),
        ({"type": "function", "name": "get_weather"}, ToolChoice("tool", "get_weather")),
        ({"type": "custom", "name": "apply_patch"}, ToolChoice("tool", "apply_patch")),
        ({"type": "web_search_preview"}, ToolChoice("tool", "web_search")),
    ],
)
def test_choices(asked: Any, choice: ToolChoice) -> None:
    assert turn(tools=[WEATHER, PATCH, SEARCH], tool_choice=asked).tool_choice == choice


def test_allowed_tools_leaves_just_these() -> None:
    allowed = [{"type": "function", "name": "get_weather"}, {"type": "image_generation"}]
    choice = {"type": "allowed_tools", "mode": "required", "tools": allowed}
    tools = [WEATHER, PATCH, SEARCH, {"type": "image_generation"}]
    asked = turn(tools=tools, tool_choice=choice)
    assert [tool.name for tool in asked.tools] == ["get_weather"]
    assert (asked.server_tools, asked.tool_choice) == ((), ToolChoice("any"))


@pytest.mark.parametrize(
    "choice",
    [
        "perhaps",
        {"type": "function", "name": "gone"},
        {"type": "mcp", "server_label": "x"},
        {"type": "allowed_tools", "tools": "all"},
    ],
)
def test_choices_of_what_is_not_there_are_refused(choice: Any) -> None:
    assert refused(tools=[WEATHER], tool_choice=choice)[0] == "tool_choice"


def test_required_needs_tools() -> None:
    assert refused(tool_choice="required")[0] == "tool_choice"


def test_parameters_reach_the_turn() -> None:
    asked = turn(
        max_output_tokens=99,
        temperature=0.5,
        top_p=0.9,
        parallel_tool_calls=False,
        tools=[WEATHER],
        reasoning={"effort": "low", "summary": "auto"},
        user="me",
        prompt_cache_retention="24h",
    )
    assert (asked.sampling.max_tokens, asked.sampling.temperature, asked.sampling.top_p) == (
        99,
        0.5,
        0.9,
    )
    assert asked.tool_choice == ToolChoice(parallel=False)
    assert (asked.effort, asked.thinking, asked.user, asked.cache_hour) == (
        "low",
        False,
        "me",
        True,
    )


def test_a_schema_is_native_and_an_object_is_emulated() -> None:
    native = turn(text={"format": SCHEMA})
    assert native.native_output
    assert native.output_schema == SCHEMA["schema"]
    assert turn(text={"format": {"type": "json_object"}}).json_object
    assert refused(text={"format": {"type": "json_schema", "name": "x"}})[0] == "text.format.schema"


def test_what_has_no_effect_is_named() -> None:
    call = parsed(
        top_logprobs=1,
        temperature=1.5,
        text={"verbosity": "high"},
        include=["message.output_text.logprobs"],
        store=False,
        client_metadata={"a": "b"},
        prompt_cache_key="k",
        service_tier="auto",
        foo=1,
    )
    named = ("foo", "include", "temperature", "text.verbosity", "top_logprobs")
    assert call.ignored == named


def test_neutral_values_are_not_named() -> None:
    neutral: dict[str, Any] = {
        "truncation": "disabled",
        "top_logprobs": 0,
        "text": {"verbosity": "medium"},
    }
    assert parsed(**neutral, background=False, metadata={}).ignored == ()


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (None, "input"),
        ([], "input"),
        ([{"role": "user", "content": ""}], "input"),
        ([USER, {"role": "assistant", "content": "and"}], "input[1]"),
        ([{"role": "tool", "content": "x"}], "input[0].role"),
        ([{"role": "user"}], "input[0].content"),
        ([{"role": "user", "content": [3]}], "input[0].content[0]"),
        ([{"type": "item_reference", "id": "msg_9"}], "input[0]"),
        ([{"type": "computer_call"}], "input[0].type"),
        ([USER, OUTPUT], "input"),
        ([USER, CALL], "input"),
        ([USER, {"type": "custom_tool_call", "call_id": "c", "name": "x"}], "input[1].input"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "input[0].content[0].type"),
        (
            [{"role": "user", "content": [{"type": "input_file", "file_url": "file:///x"}]}],
            "input[0].content[0].file_url",
        ),
        ([{"type": "reasoning", "encrypted_content": 3}], "input[0].encrypted_content"),
    ],
)
def test_input_that_cannot_be_used_is_refused_by_its_place(given: Any, where: str) -> None:
    assert refused(given)[0] == where


def test_what_the_apis_own_tools_did_is_left_out_of_the_history() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}}
    answer = {"role": "assistant", "content": "Found"}
    assert [role for role, _ in said([USER, search, answer, USER])] == ["user", "assistant", "user"]


def test_two_histories_are_refused() -> None:
    both = {"previous_response_id": "resp_1", "conversation": "conv_1"}
    assert refused(**both) == ("previous_response_id", "mutually_exclusive_parameters")


def test_prompt_templates_are_refused_with_the_reason() -> None:
    with pytest.raises(UnsupportedParameter, match="stored with OpenAI"):
        parsed(prompt={"id": "pmpt_1"})


def test_a_history_goes_before_the_input() -> None:
    request = with_history(ResponsesRequest(input="so?"), [USER, CALL, OUTPUT])
    assert request.input == [USER, CALL, OUTPUT, {"role": "user", "content": "so?"}]


def test_the_page_shows_the_table() -> None:
    page = (Path(__file__).parents[3] / "docs" / "responses.md").read_text()
    shown = page.split("<!-- fields:begin -->\n")[1].split("\n<!-- fields:end -->")[0]
    assert shown == TABLE.markdown(), "run: python scripts/compatibility.py"


def test_rows_are_unique_sentences() -> None:
    rows = [*TABLE.body, *TABLE.inside]
    assert len({row.name for row in rows}) == len(rows)
    assert [row.name for row in rows if not row.why.endswith(".") or "|" in row.why] == []


def test_every_field_of_the_clients_request_has_a_row() -> None:
    names = {*get_type_hints(ResponseCreateParamsBase), "stream"}
    assert names - {row.name for row in FIELDS} <= {"betas"}


def test_every_field_that_is_read_has_a_row() -> None:
    assert set(ResponsesRequest.model_fields) <= set(TABLE.by_name)
