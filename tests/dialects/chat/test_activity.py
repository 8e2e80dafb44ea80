"""How the work of Claude Code's built-in tools is shown, from events alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from core.conversation import text_block
from core.events import (
    BuiltinToolResult,
    BuiltinToolUse,
    ChoiceEvent,
    Event,
    Finished,
    Started,
    TextDelta,
    ThinkingDelta,
)
from core.turn import ToolGrant
from dialects.base import Context, with_grant
from dialects.chat.activity import MOST_IN_A_LINE, MOST_SHOWN
from dialects.chat.renderer import ChatRenderer
from dialects.chat.request import parse
from models import ChatRequest
from tests.support.wire import MODEL, asking, chunks

STARTED, FINISHED = Started(MODEL), Finished("end_turn")


def use(name: str, id: str = "u1", **given: Any) -> BuiltinToolUse:
    return BuiltinToolUse(id, name, given)


def result(text: str, id: str = "u1", *, is_error: bool = False) -> BuiltinToolResult:
    return BuiltinToolResult(id, (text_block(text),) if text else (), is_error)


def renderer(own: ToolGrant | None = None, **fields: Any) -> ChatRenderer:
    request = ChatRequest.model_validate(asking("Go", enable_tools=True, **fields))
    own = own or ToolGrant(("Read", "Bash"), directory="/w", max_turns=5, max_budget_usd=0.5)
    return ChatRenderer(with_grant(parse(request, Context(MODEL)), own))


def streamed(events: list[Event], **fields: Any) -> list[dict[str, Any]]:
    """The choices of the chunks, each of which the official client can read."""
    write = renderer(**fields)
    raw = b"".join(write.feed(ChoiceEvent(0, event)) for event in events) + write.finish()
    found = chunks(raw.decode())
    for chunk in found:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    return [chunk["choices"][0] for chunk in found]


def answered(events: list[Event], **fields: Any) -> dict[str, Any]:
    """The choice of the body."""
    write = renderer(**fields)
    for event in events:
        write.feed(ChoiceEvent(0, event))
    body = json.loads(write.body())
    ChatCompletion.model_validate(body)
    choice: dict[str, Any] = body["choices"][0]
    return choice


def joined(choices: list[dict[str, Any]], field: str) -> str:
    return "".join(choice["delta"].get(field) or "" for choice in choices)


WORK: list[Event] = [
    STARTED,
    ThinkingDelta("First the "),
    ThinkingDelta("file."),
    TextDelta("I'll "),
    TextDelta("look."),
    use("Read", file_path="/w/README.md"),
    result("a\nb\n"),
    use("Bash", "u2", command="make test\nmake lint"),
    use("Bash", "u3", command="ls"),
    result("no such target\nat all", "u2", is_error=True),
    result("", "u3"),
    ThinkingDelta("Well."),
    TextDelta("It "),
    TextDelta("failed."),
    FINISHED,
]
LINES = [
    "Read README.md → 2 lines",
    "Bash: make test…",
    "Bash: ls",
    "Bash: make test… → failed: no such target…",
    "Bash: ls → nothing",
]


def test_by_default_the_work_is_lines_of_reasoning() -> None:
    shown = streamed(WORK)
    assert joined(shown, "reasoning_content") == "\n\n".join(
        ["First the file.", "\n".join(LINES), "Well."]
    )
    assert joined(shown, "content") == "I'll look.\n\nIt failed."


def test_the_work_can_be_quoted_lines_of_the_answer() -> None:
    shown = streamed(WORK, tool_activity="content")
    quoted = "  \n".join(f"> {line}" for line in LINES)
    assert joined(shown, "content") == f"I'll look.\n\n{quoted}\n\nIt failed."
    assert joined(shown, "reasoning_content") == "First the file.\n\nWell."


def test_the_work_can_stay_unsaid() -> None:
    shown = streamed(WORK, tool_activity="none")
    assert joined(shown, "content") == "I'll look.\n\nIt failed."
    assert joined(shown, "reasoning_content") == "First the file.\n\nWell."


@pytest.mark.parametrize(
    ("where", "content", "thoughts"),
    [
        ("reasoning", "So.", "Read a → nothing\n\nHm."),
        ("content", "> Read a → nothing\n\nSo.", "Hm."),
        ("none", "So.", "Hm."),
    ],
)
def test_what_comes_first_begins_without_a_gap(where: str, content: str, thoughts: str) -> None:
    events: list[Event] = [STARTED, use("Read", file_path="a"), result(""), ThinkingDelta("Hm.")]
    shown = streamed([*events, TextDelta("So."), FINISHED], tool_activity=where)
    assert joined(shown, "content") == content
    assert joined(shown, "reasoning_content") == thoughts


@pytest.mark.parametrize("where", ["reasoning", "content", "none"])
def test_a_body_says_what_a_stream_says(where: str) -> None:
    shown, body = streamed(WORK, tool_activity=where), answered(WORK, tool_activity=where)
    for name in ("content", "reasoning_content"):
        assert body["message"][name] == joined(shown, name)
    last = {entry["id"]: entry for entry in entries(shown)}
    assert body["message"]["claude_activity"] == list(last.values())


def entries(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        choice["delta"]["claude_activity"]
        for choice in choices
        if "claude_activity" in choice["delta"]
    ]


def test_each_use_and_result_is_a_field_for_programs() -> None:
    first, second, *_ = entries(streamed(WORK))
    begun = {
        "id": "u1",
        "name": "Read",
        "friendly_name": "read_file",
        "input": {"file_path": "/w/README.md"},
    }
    assert first == {**begun, "status": "started", "result": None, "result_chars": None}
    assert second == {**begun, "status": "finished", "result": "a\nb\n", "result_chars": 4}
    assert [entry["status"] for entry in entries(streamed(WORK))] == [
        "started",
        "finished",
        "started",
        "started",
        "failed",
        "finished",
    ]


def test_what_is_read_or_written_is_not_sent_along() -> None:
    long = "x" * (MOST_SHOWN + 1)
    events: list[Event] = [
        use("Write", file_path="a", content=long, more=[{"deep": long}]),
        result(long),
        FINISHED,
    ]
    [entry] = answered([STARTED, *events])["message"]["claude_activity"]
    assert entry["input"]["content"] == entry["input"]["more"][0]["deep"] == "x" * MOST_SHOWN
    assert (len(entry["result"]), entry["result_chars"]) == (MOST_SHOWN, MOST_SHOWN + 1)


TITLES: list[tuple[BuiltinToolUse, str]] = [
    (use("Grep", pattern="a.*b"), "Grep a.*b"),
    (use("WebSearch", query="the weather"), "WebSearch the weather"),
    (use("Read"), "Read"),
    (use("Read", file_path=["odd"]), "Read ['odd']"),
    (use("mcp__calc__add", a=1), 'calc add {"a": 1}'),
    (use("Bash", command="y" * 300), f"Bash: {'y' * 300}"[:MOST_IN_A_LINE] + "…"),
]


@pytest.mark.parametrize(("used", "title"), TITLES)
def test_a_line_says_what_a_use_is_about(used: BuiltinToolUse, title: str) -> None:
    assert joined(streamed([STARTED, used, FINISHED]), "reasoning_content") == title


@pytest.mark.parametrize(
    ("reason", "line"),
    [("max_turns", "max_turns = 5."), ("max_budget", "max_budget_usd = 0.5.")],
)
def test_a_limit_ends_with_what_there_is_and_is_named(reason: Any, line: str) -> None:
    events: list[Event] = [STARTED, TextDelta("So far"), Finished(reason)]
    last = streamed(events)[-1]
    assert (last["finish_reason"], last["claude_stop_reason"]) == ("length", reason)
    body = answered(events)
    assert (body["finish_reason"], body["claude_stop_reason"]) == ("length", reason)
    assert body["message"]["content"] == "So far"
    assert body["message"]["reasoning_content"].endswith(line)


def test_without_own_tools_nothing_of_theirs_is_in_an_answer() -> None:
    write = ChatRenderer(parse(ChatRequest.model_validate(asking("Go")), Context(MODEL)))
    for event in (STARTED, TextDelta("Hi"), FINISHED):
        write.feed(ChoiceEvent(0, event))
    assert b"claude" not in write.body().replace(MODEL.encode(), b"")


def test_an_image_that_was_read_is_counted() -> None:
    source: Any = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    seen = BuiltinToolResult("u1", ({"type": "image", "source": source},))
    shown = streamed([STARTED, use("Read", file_path="a.png"), seen, FINISHED])
    assert joined(shown, "reasoning_content") == "Read a.png → 1 image"
    _, entry = entries(shown)
    assert (entry["result"], entry["result_chars"]) == ("", 0)
