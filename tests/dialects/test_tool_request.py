"""What a request asks of Claude Code's built-in tools, in its body and its headers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.builtin_tools import ToolRequest
from core.errors import GatewayError
from core.turn import ToolGrant
from dialects.base import Context, with_grant
from dialects.chat.request import ChatCall, parse
from models import ChatRequest, TurnHeaders
from tests.support.wire import MODEL, asking

READ = {"type": "function", "function": {"name": "Read", "parameters": {"type": "object"}}}


def parsed(body: dict[str, Any], headers: dict[str, Any] | None = None, **more: Any) -> ChatCall:
    request = ChatRequest.model_validate(asking("Go", **body))
    sent = TurnHeaders.model_validate(headers or {})
    return parse(request, Context(MODEL, headers=sent, **more))


EVERYTHING = ToolRequest(all_allowed=True)
TOOL_REQUESTS: list[tuple[dict[str, Any], ToolRequest | None]] = [
    ({}, None),
    ({"enable_tools": False, "claude_tools": ["Read"]}, None),
    ({"max_turns": 3, "tool_activity": "none"}, None),
    ({"claude_tools": []}, None),
    ({"enable_tools": True}, EVERYTHING),
    ({"claude_tools": "all"}, EVERYTHING),
    ({"claude_tools": ["*"]}, EVERYTHING),
    ({"enable_tools": True, "claude_tools": []}, None),
    ({"claude_tools": ["read_file", "Bash", "Read"]}, ToolRequest(("Read", "Bash"))),
    ({"claude_tools": "run_command, Glob"}, ToolRequest(("Bash", "Glob"))),
    (
        {"enable_tools": True, "disallowed_tools": ["web_search"]},
        replace(EVERYTHING, without=("WebSearch",)),
    ),
    ({"web_search_options": {}}, ToolRequest(("WebSearch",))),
    ({"web_search_options": {}, "enable_tools": True}, ToolRequest(("WebSearch",), True)),
    ({"claude_tools": ["all", "Bash"]}, ToolRequest(("Bash",), True)),
    ({"web_search_options": {}, "claude_tools": ["Read"]}, ToolRequest(("Read", "WebSearch"))),
    ({"mcp_servers": ["calc"]}, ToolRequest(mcp_servers=("calc",))),
    (
        {"claude_tools": ["Read"], "mcp_servers": "a, b"},
        ToolRequest(("Read",), mcp_servers=("a", "b")),
    ),
    (
        {
            "enable_tools": True,
            "max_turns": 3,
            "max_budget_usd": 0.5,
            "permission_mode": "plan",
            "cwd": "project",
        },
        ToolRequest((), True, (), 3, 0.5, "plan", "project"),
    ),
]


@pytest.mark.parametrize(("body", "tool_request"), TOOL_REQUESTS)
def test_a_body_asks_for_tools(body: dict[str, Any], tool_request: ToolRequest | None) -> None:
    assert parsed(body).tool_request == tool_request


IN_HEADERS: list[tuple[dict[str, Any], ToolRequest | None]] = [
    ({"x_claude_enable_tools": "true"}, EVERYTHING),
    ({"x_claude_tools": "read_file, Glob"}, ToolRequest(("Read", "Glob"))),
    ({"x_claude_tools": "all"}, EVERYTHING),
    ({"x_claude_allowed_tools": "Bash"}, ToolRequest(("Bash",))),
    ({"x_claude_allowed_tools": ""}, None),
    ({"x_claude_mcp_servers": "calc"}, ToolRequest(mcp_servers=("calc",))),
    ({"x_claude_max_turns": "5", "x_claude_permission_mode": "acceptEdits"}, None),
    (
        {
            "x_claude_tools": "all",
            "x_claude_disallowed_tools": "Bash",
            "x_claude_max_turns": "5",
            "x_claude_max_budget_usd": "0.25",
            "x_claude_permission_mode": "acceptEdits",
            "x_claude_cwd": "p",
        },
        ToolRequest((), True, ("Bash",), 5, 0.25, "acceptEdits", "p"),
    ),
]


@pytest.mark.parametrize(("headers", "tool_request"), IN_HEADERS)
def test_headers_ask_as_a_body_does(
    headers: dict[str, Any], tool_request: ToolRequest | None
) -> None:
    assert parsed({}, headers).tool_request == tool_request


def test_the_body_wins_over_the_headers() -> None:
    headers = {"x_claude_tools": "Bash", "x_claude_max_turns": "9", "x_claude_cwd": "there"}
    call = parsed({"claude_tools": ["Read"], "max_turns": 2}, headers)
    assert call.tool_request == ToolRequest(("Read",), max_turns=2, cwd="there")
    assert parsed({"enable_tools": False}, headers).tool_request is None


def test_the_work_is_shown_where_the_request_says() -> None:
    assert parsed({"enable_tools": True}).tool_activity == "reasoning"
    headers = {"x_claude_tools": "all", "x_claude_tool_activity": "content"}
    assert parsed({}, headers).tool_activity == "content"
    assert parsed({"tool_activity": "none"}, headers).tool_activity == "none"


IGNORED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"enable_tools": True, "seed": 1, "cwd": "p"}, ("seed",)),
    (
        {"web_search_options": {"search_context_size": "low", "user_location": {}}},
        ("web_search_options.search_context_size", "web_search_options.user_location"),
    ),
    ({"enable_tools": False, "web_search_options": {}}, ("web_search_options",)),
    ({"cwd": "p", "permission_mode": "anything"}, ("cwd", "permission_mode")),
]


@pytest.mark.parametrize(("body", "ignored"), IGNORED)
def test_what_has_no_effect_is_reported(body: dict[str, Any], ignored: tuple[str, ...]) -> None:
    call = parsed(body)
    assert call.ignored == ignored
    assert call.seed is None


OPEN_OBJECT = {
    "type": "json_schema",
    "json_schema": {"name": "x", "schema": {"type": "object", "additionalProperties": True}},
}
REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"claude_tools": ["Frobnicate"]}, 400, "claude_tools", "'Frobnicate' is not one of Claude"),
    ({"claude_tools": ["Bash(ls)"]}, 400, "claude_tools", "Read (read_file), Glob (search_files)"),
    ({"disallowed_tools": "x", "enable_tools": True}, 400, "disallowed_tools", "'x' is not one of"),
    ({"permission_mode": "yolo"}, 400, "permission_mode", "one of default, acceptEdits, plan."),
    ({"permission_mode": "bypassPermissions"}, 403, "permission_mode", "run without asking"),
    ({"n": 2}, 400, "n", "`n` must be 1 with Claude Code's built-in tools."),
    ({"response_format": OPEN_OBJECT}, 400, "response_format", "`json_schema`"),
]


@pytest.mark.parametrize(("body", "status", "param", "words"), REFUSED)
def test_what_cannot_be_had_is_refused_by_name(
    body: dict[str, Any], status: int, param: str, words: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        parsed({"enable_tools": True, **body})
    assert (caught.value.status, caught.value.param) == (status, param)
    assert words in caught.value.message


def test_an_answer_can_follow_a_schema_that_the_api_knows() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    call = parsed({"enable_tools": True, "response_format": asked})
    assert call.turn.native_output
    assert call.turn.output_schema is not None


def test_functions_stand_beside_own_tools_unless_they_have_the_same_name() -> None:
    call = parsed({"claude_tools": ["Glob"], "tools": [READ]})
    granted = with_grant(call, ToolGrant(("Glob",))).turn
    assert granted.builtin_tools == ToolGrant(("Glob",))
    assert [tool.name for tool in granted.tools] == ["Read"]
    with pytest.raises(GatewayError, match="'Read' has the name of a built-in tool"):
        with_grant(call, ToolGrant(("Glob", "Read")))
