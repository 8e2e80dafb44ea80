"""Messages: a request -> a turn. What the client wrote is in it unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsBase as BetaParams
from anthropic.types.message_create_params import MessageCreateParamsBase
from hypothesis import HealthCheck, given, settings

from core.conversation import JsonObject
from core.errors import InvalidRequest, ToolsNotAllowed
from core.turn import FunctionTool, Sampling, ToolChoice, Turn
from dialects.base import Context
from dialects.messages.fields import FIELDS, TABLE
from dialects.messages.request import MessagesCall, parse
from dialects.messages.wire import MessagesRequest
from engine.known_models import KNOWN_MODELS
from models import TurnHeaders
from tests.support.messages_bodies import bodies

MODEL = "claude-sonnet-5"
HELLO = [{"role": "user", "content": "Hello"}]
Json = dict[str, Any]


def read(body: Json, headers: TurnHeaders | None = None, **context: Any) -> MessagesCall:
    request = MessagesRequest.model_validate_json(json.dumps(body))
    return parse(request, Context(MODEL, headers=headers or TurnHeaders(), **context))


def asking(**fields: Any) -> Json:
    return {"model": MODEL, "max_tokens": 10, "messages": HELLO, **fields}


def outgoing(turn: Turn) -> JsonObject:
    """What the client wrote, as far as the engine is to send it."""
    assert turn.native is not None
    return turn.native


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=bodies(strange=True))
def test_a_turn_holds_what_the_client_wrote_and_nothing_else(body: Json) -> None:
    turn = read({**body, "stream": True}).turn
    wanted = {name: value for name, value in body.items() if name != "model"}
    assert json.dumps(outgoing(turn), sort_keys=True) == json.dumps(wanted, sort_keys=True)
    texts = [[b["text"] for b in m.content if b["type"] == "text"] for m in turn.messages]
    assert len(texts) == len(body["messages"])


def test_blocks_are_the_same_objects_and_keys_keep_their_order() -> None:
    content = [
        {"text": "b", "type": "text"},
        {"type": "image", "source": {"type": "url", "url": "u"}},
    ]
    body = asking(
        messages=[{"content": content, "role": "user"}], system=[{"type": "text", "text": "s"}]
    )
    request = MessagesRequest.model_validate(body)
    turn = parse(request, Context(MODEL)).turn
    assert turn.messages[0].content[0] is content[0]
    assert outgoing(turn)["messages"][0] is body["messages"][0]
    assert turn.system is not None
    assert turn.system[0] is body["system"][0]
    assert list(outgoing(turn)["messages"][0]) == ["content", "role"]


def test_in_a_session_the_messages_are_for_the_session_to_complete() -> None:
    turn = read(asking(system="s"), session_id="a").turn
    assert (turn.native, turn.system, turn.session_id) == ({"max_tokens": 10}, "s", "a")
    assert [list(message.content) for message in turn.messages] == [
        [{"type": "text", "text": "Hello"}]
    ]


def test_null_is_not_absent() -> None:
    turn = read(asking(system=None, temperature=None, thinking=None)).turn
    assert outgoing(turn) == {
        "max_tokens": 10,
        "messages": HELLO,
        "system": None,
        "temperature": None,
        "thinking": None,
    }


def test_fields_of_this_server_do_not_reach_the_model() -> None:
    call = read(asking(session_id="s", max_turns=3, tool_activity="none", enable_tools=False))
    assert outgoing(call.turn) == {"max_tokens": 10, "messages": HELLO}
    assert (call.tool_request, call.turn.api_events) == (None, True)


def test_mcp_servers_of_the_body_are_the_apis_own() -> None:
    servers = [{"type": "url", "url": "https://example.org/mcp", "name": "s"}]
    call = read(asking(mcp_servers=servers))
    assert call.turn.native == {"max_tokens": 10, "mcp_servers": servers, "messages": HELLO}
    assert call.tool_request is None


def test_betas_of_one_header_or_several_are_kept_in_their_order() -> None:
    headers = {"anthropic-beta": "b-2025-01-01,a-2024-01-01, c-1 ,"}
    call = read(asking(), raw_headers=headers)
    assert call.turn.betas == ("b-2025-01-01", "a-2024-01-01", "c-1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": ["x"]}, "messages.0: Input should be a valid dictionary"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"content": "x"}]}, "messages.0.role: Field required"),
        (
            {"messages": [{"role": 1, "content": "x"}]},
            "messages.0.role: Input should be a valid string",
        ),
        (
            {"messages": [{"role": "user", "content": 7}]},
            "messages.0.content: Input should be a valid string or array",
        ),
        (
            {"messages": [{"role": "user", "content": ["x"]}]},
            "messages.0.content.0: Input should be a valid dictionary",
        ),
        (
            {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
            "messages.0.content.0.type: Field required",
        ),
        ({"system": 7}, "system: Input should be a valid string or array"),
        ({"system": [{"type": "image"}]}, "system.0.type: Input should be 'text'"),
    ],
)
def test_what_is_no_conversation_is_refused_as_the_api_would(changes: Json, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(asking(**changes))
    assert caught.value.message == message
    assert caught.value.param == message.partition(":")[0]


def test_max_tokens_is_the_callers_to_say() -> None:
    with pytest.raises(InvalidRequest, match="max_tokens: Field required"):
        read({"model": MODEL, "messages": HELLO})


WITH_TOOLS = TurnHeaders(x_claude_tools="Read", x_claude_mcp_servers="calc")


def test_a_turn_with_built_in_tools_has_its_parameters_in_neutral_words() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    schema = {"type": "object", "properties": {}}
    mark = {"type": "ephemeral"}
    call = read(
        asking(
            system="s",
            temperature=0.5,
            top_p=0.9,
            top_k=5,
            stop_sequences=["x"],
            tools=[search, {"name": "f", "input_schema": schema, "cache_control": mark}],
            tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            thinking={"type": "enabled", "budget_tokens": 2000},
            output_config={"effort": "low", "format": {"type": "json_schema", "schema": schema}},
            metadata={"user_id": "u"},
            container="c",
            service_tier=None,
        ),
        WITH_TOOLS,
        capabilities=KNOWN_MODELS[0],
    )
    assert call.tool_request is not None
    assert (call.tool_request.tools, call.tool_request.mcp_servers) == (("Read",), ("calc",))
    turn = call.turn
    assert (turn.native, turn.api_events, call.ignored) == (None, False, ("container",))
    assert turn.tools == (FunctionTool("f", "", schema, cache_control=mark),)
    assert turn.server_tools == (search,)
    assert turn.tool_choice == ToolChoice("tool", "f", parallel=False)
    assert turn.sampling == Sampling(10, 0.5, 0.9, 5, ("x",))
    assert (turn.effort, turn.thinking, turn.thinking_tokens) == ("low", True, 2000)
    assert turn.show_thinking
    assert (turn.output_schema, turn.user, turn.system) == (schema, "u", "s")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": [*HELLO, {"role": "assistant", "content": "I"}]}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}, *HELLO]}, "messages.0.role"),
        ({"tools": "x"}, "tools"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema"),
        ({"tools": [{"name": "f", "input_schema": 1}]}, "tools.0.custom.input_schema"),
        ({"tool_choice": {"type": "some"}}, "tool_choice"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"temperature": "x"}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"thinking": 1}, "thinking"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
    ],
)
def test_what_built_in_tools_cannot_have_is_refused_by_name(changes: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(asking(**changes), WITH_TOOLS)
    assert caught.value.param == param


def test_the_fields_of_the_body_ask_for_built_in_tools_too() -> None:
    call = read(asking(claude_tools=["Read", "Bash"], max_turns=2, tool_activity="content"))
    assert call.tool_request is not None
    assert (call.tool_request.tools, call.tool_request.max_turns) == (("Read", "Bash"), 2)
    assert call.tool_activity == "content"
    with pytest.raises(ToolsNotAllowed):
        read(asking(claude_tools="Read", permission_mode="bypassPermissions"))


def test_every_field_of_the_official_client_has_a_row() -> None:
    names = [row.name for row in FIELDS]
    assert len(set(names)) == len(names)
    sent = set(MessageCreateParamsBase.__annotations__) | set(BetaParams.__annotations__)
    headers = {"betas", "user_profile_id", "workspace_id"}
    assert sent - headers | set(MessagesRequest.model_fields) <= set(names)
    assert [row.name for row in FIELDS if not row.why.endswith(".") or "|" in row.why] == []


def test_the_page_shows_the_table() -> None:
    page = (Path(__file__).parents[3] / "docs" / "messages.md").read_text()
    shown = page.split("<!-- fields:begin -->\n")[1].split("\n<!-- fields:end -->")[0]
    assert shown == TABLE.markdown(), "run: python scripts/compatibility.py"
