"""Every kind of answer of the Responses dialect, with the stream and the body that come of it.

`python -m tests.support.responses_cases` writes the golden files again, which then are read and
committed like code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from core.errors import GatewayError, Overloaded
from core.events import (
    ApiEvent,
    BuiltinToolResult,
    BuiltinToolUse,
    ChoiceEvent,
    Citation,
    Event,
    Finished,
    OtherBlock,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from core.turn import ToolGrant
from dialects.base import Context
from dialects.responses import DIALECT, ResponsesRenderer, ResponsesRequest
from dialects.responses.request import ResponsesCall

GOLDEN = Path(__file__).parents[1] / "dialects" / "responses" / "golden"
MODEL = "claude-sonnet-5"
STARTED = Started(MODEL, version="2.1.329")
USAGE = Usage(12, 3, 4, 20, 5)

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edits files"}
DOCS = {"type": "namespace", "name": "docs", "description": "Pages", "tools": [WEATHER, PATCH]}
SCHEMA = {
    "type": "json_schema",
    "name": "city",
    "schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One answer: its name, the events that it is made of, what was asked. With an `error` the
    events end in it."""

    name: str
    events: tuple[Event, ...]
    asked: dict[str, Any] = field(default_factory=dict)
    error: GatewayError | None = None
    grant: ToolGrant | None = None

    @property
    def all_events(self) -> tuple[Event, ...]:
        return (STARTED, *self.events)

    def call(self, *, stream: bool) -> ResponsesCall:
        request = ResponsesRequest.model_validate({"input": "hi", **self.asked, "stream": stream})
        call = DIALECT.parse(request, Context(MODEL))
        return call if self.grant is None else granted(call, self.grant)


def granted(call: ResponsesCall, grant: ToolGrant) -> ResponsesCall:
    return replace(call, turn=replace(call.turn, builtin_tools=grant))


def done(reason: Any = "end_turn", cost_usd: float | None = 0.0125) -> Finished:
    return Finished(reason, USAGE, cost_usd)


def call_of(index: int, call_id: str, name: str, *pieces: str) -> tuple[Event, ...]:
    deltas = (ToolCallDelta(index, piece) for piece in pieces)
    return (ToolCallStart(index, call_id, name), *deltas, ToolCallEnd(index))


def block(kind: str, events: tuple[Event, ...]) -> tuple[Event, ...]:
    """The events of one text block between the API's own."""
    start = {"type": "content_block_start", "content_block": {"type": kind}}
    return (ApiEvent(start), *events, ApiEvent({"type": "content_block_stop"}))


SEARCH = (
    OtherBlock(
        {
            "type": "server_tool_use",
            "id": "srvtoolu_1",
            "name": "web_search",
            "input": {"query": "claude shannon birth date"},
        }
    ),
    OtherBlock(
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [
                {
                    "type": "web_search_result",
                    "url": "https://en.wikipedia.org/wiki/Claude_Shannon",
                    "title": "Claude Shannon",
                    "encrypted_content": "EqgfCioIARgB",
                    "page_age": None,
                }
            ],
        }
    ),
)
CITED = Citation(
    {
        "type": "web_search_result_location",
        "url": "https://en.wikipedia.org/wiki/Claude_Shannon",
        "title": "Claude Shannon",
        "encrypted_index": "Eo8BCioIAhgB",
        "cited_text": "Claude Elwood Shannon (April 30, 1916 - February 24, 2001)",
    }
)
CODE = (
    OtherBlock(
        {
            "type": "server_tool_use",
            "id": "srvtoolu_2",
            "name": "bash_code_execution",
            "input": {"command": "echo 42"},
        }
    ),
    OtherBlock(
        {
            "type": "bash_code_execution_tool_result",
            "tool_use_id": "srvtoolu_2",
            "content": {
                "type": "bash_code_execution_result",
                "stdout": "42\n",
                "stderr": "",
                "return_code": 0,
                "content": [],
            },
        }
    ),
)
ENCRYPTED = {"include": ["reasoning.encrypted_content"]}
SUMMARY = {"reasoning": {"effort": "high", "summary": "auto"}}
SIGNED = (ThinkingDelta("Hm, "), ThinkingDelta("so."), ThinkingEnd("c2lnbmF0dXJl"))
READ = ToolGrant(tools=("Read",), allow=("Read",), directory="/srv/place")

CASES = (
    Case("text", (TextDelta("Hello"), TextDelta(", wörld ☃\n"), done())),
    Case("empty", (done("empty"),)),
    Case("stop_sequence", (TextDelta("one"), done("stop_sequence"))),
    Case("cut_text", (TextDelta("one two"), done("max_tokens")), {"max_output_tokens": 16}),
    Case("cut_thinking", (ThinkingDelta("Hm"), done("max_tokens")), SUMMARY),
    Case(
        "cut_call",
        (ToolCallStart(0, "toolu_1", "get_weather"), ToolCallDelta(0, '{"ci'), done("max_tokens")),
        {"tools": [WEATHER]},
    ),
    Case("refusal", (done("refusal"),)),
    Case("refusal_after_text", (TextDelta("Well"), done("refusal"))),
    Case("without_cost", (TextDelta("so"), done(cost_usd=None)), {"metadata": {"a": "b"}}),
    Case("thinking_hidden", (*SIGNED, TextDelta("so"), done()), {"reasoning": {"effort": "low"}}),
    Case("thinking_summary", (*SIGNED, TextDelta("so"), done()), SUMMARY),
    Case("thinking_encrypted", (*SIGNED, TextDelta("so"), done()), SUMMARY | ENCRYPTED),
    Case(
        "thinking_redacted",
        (
            OtherBlock({"type": "redacted_thinking", "data": "EroCCioIARgB"}),
            ThinkingEnd("b25seSBzaWduZWQ="),
            TextDelta("so"),
            done(),
        ),
        ENCRYPTED,
    ),
    Case(
        "call",
        (*call_of(0, "toolu_1", "get_weather", '{"city": ', '"Rome"}'), done("tool_use")),
        {"tools": [WEATHER], "parallel_tool_calls": False},
    ),
    Case(
        "calls_after_text",
        (
            *SIGNED,
            TextDelta("One moment."),
            *call_of(0, "toolu_1", "get_weather", '{"city": "Rome"}'),
            *call_of(1, "toolu_2", "get_weather"),
            done("tool_use"),
        ),
        {"tools": [WEATHER], "tool_choice": "required"} | ENCRYPTED,
    ),
    Case(
        "custom_call",
        (
            *call_of(0, "toolu_1", "apply_patch", '{"inp', 'ut": "*** Begin\\', "n+", '\\u00e9"}'),
            done("tool_use"),
        ),
        {"tools": [PATCH], "tool_choice": {"type": "custom", "name": "apply_patch"}},
    ),
    Case(
        "namespaced_calls",
        (
            *call_of(0, "toolu_1", "docs__get_weather", "{}"),
            *call_of(1, "toolu_2", "docs__apply_patch", '{"input":"x"}'),
            done("tool_use"),
        ),
        {"tools": [DOCS]},
    ),
    Case(
        "structured",
        (TextDelta('{"city":'), TextDelta('"Rome"}'), done()),
        {"text": {"format": SCHEMA, "verbosity": "low"}},
    ),
    Case(
        "web_search",
        (
            *block("text", (TextDelta("I'll look it up."),)),
            *SEARCH,
            *block("text", (TextDelta("Born "),)),
            *block("text", (CITED, TextDelta("April 30, 1916"), TextDelta("."))),
            *block("text", (TextDelta(" So it is."),)),
            done(),
        ),
        {
            "tools": [{"type": "web_search", "search_context_size": "high"}],
            "include": ["web_search_call.action.sources"],
        },
    ),
    Case(
        "web_search_failed",
        (
            SEARCH[0],
            OtherBlock(
                {
                    "type": "web_search_tool_result",
                    "tool_use_id": "srvtoolu_1",
                    "content": {
                        "type": "web_search_tool_result_error",
                        "error_code": "max_uses_exceeded",
                    },
                }
            ),
            TextDelta("I could not."),
            done(),
        ),
        {"tools": [{"type": "web_search_preview"}], "max_tool_calls": 1},
    ),
    Case("web_search_paused", (SEARCH[0], done("pause_turn")), {"tools": [{"type": "web_search"}]}),
    Case(
        "code",
        (*CODE, TextDelta("It is 42."), done()),
        {
            "tools": [{"type": "code_interpreter", "container": {"type": "auto"}}],
            "include": ["code_interpreter_call.outputs"],
        },
    ),
    Case(
        "mcp",
        (
            BuiltinToolUse("toolu_1", "mcp__calc__add", {"a": 1, "b": 2}),
            BuiltinToolResult("toolu_1", ({"type": "text", "text": "3"},)),
            TextDelta("It is 3."),
            done(),
        ),
        {"tools": [{"type": "mcp", "server_label": "calc"}]},
        grant=ToolGrant(allow=("mcp__calc",), mcp_config="{}"),
    ),
    Case(
        "mcp_failed",
        (
            BuiltinToolUse("toolu_1", "mcp__calc__add", {"a": 1}),
            BuiltinToolResult("toolu_1", ({"type": "text", "text": "no b"},), is_error=True),
            done("max_turns"),
        ),
        {"tools": [{"type": "mcp", "server_label": "calc"}], "max_turns": 1},
        grant=ToolGrant(allow=("mcp__calc",), mcp_config="{}", max_turns=1),
    ),
    Case(
        "builtin_tools",
        (
            TextDelta("Let me see."),
            BuiltinToolUse("toolu_1", "Read", {"file_path": "/srv/place/a.txt"}),
            BuiltinToolResult("toolu_1", ({"type": "text", "text": "one\ntwo"},)),
            TextDelta("Two lines."),
            done(),
        ),
        SUMMARY,
        grant=READ,
    ),
    Case("error_at_once", (), error=Overloaded("All processes are busy.", retry_after=2)),
    Case("error_in_text", (TextDelta("Hel"),), error=Overloaded("Overloaded")),
    Case("error_in_thinking", (ThinkingDelta("Hm"),), SUMMARY, error=Overloaded("Overloaded")),
    Case(
        "error_in_call",
        (ToolCallStart(0, "toolu_1", "get_weather"), ToolCallDelta(0, '{"ci')),
        {"tools": [WEATHER]},
        error=Overloaded("Overloaded"),
    ),
    Case(
        "error_in_search",
        (SEARCH[0],),
        {"tools": [{"type": "web_search"}]},
        error=Overloaded("Overloaded"),
    ),
)


def renderer(case: Case, *, stream: bool) -> ResponsesRenderer:
    """With ids and a clock that are the same each time."""
    numbers = count(1)
    return ResponsesRenderer(
        case.call(stream=stream),
        new_id=lambda prefix: f"{prefix}_{next(numbers)}",
        clock=lambda: 1_700_000_000.0,
    )


def streamed(case: Case) -> str:
    rendering = renderer(case, stream=True)
    frames = [rendering.feed(ChoiceEvent(0, event)) for event in case.all_events]
    last = rendering.finish() if case.error is None else rendering.fail(case.error)
    return b"".join([*frames, last]).decode()


def body(case: Case) -> dict[str, Any]:
    rendering = renderer(case, stream=False)
    for event in case.all_events:
        assert rendering.feed(ChoiceEvent(0, event)) == b""
    read: dict[str, Any] = json.loads(rendering.body())
    return read


def events(raw: str) -> list[dict[str, Any]]:
    """The JSON of a whole stream, whose frames must be well-formed and end with [DONE]."""
    *frames, last, nothing = raw.split("\n\n")
    assert (last, nothing) == ("data: [DONE]", "")
    return list(_events(frames))


def _events(frames: list[str]) -> Iterator[dict[str, Any]]:
    for frame in frames:
        if frame.startswith(":"):
            continue
        named, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert named == f"event: {event['type']}"
        yield event


def golden(case: Case) -> dict[str, str]:
    """The files of a case and what stands in them."""
    files = {f"{case.name}.sse": streamed(case)}
    if case.error is None:
        files[f"{case.name}.json"] = json.dumps(body(case), indent=1, ensure_ascii=False) + "\n"
    return files


def write_all() -> None:
    for path in GOLDEN.glob("*"):
        path.unlink()
    for case in CASES:
        for name, text in golden(case).items():
            (GOLDEN / name).write_text(text)


if __name__ == "__main__":
    write_all()
