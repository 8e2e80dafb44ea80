"""Answers in events, as the engine gives them: the table of the golden files of chat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.conversation import text_block
from core.errors import GatewayError, Overloaded
from core.events import (
    BuiltinToolResult,
    BuiltinToolUse,
    Event,
    Finished,
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
from dialects.tool_names import Names

MODEL = "claude-sonnet-5-5"
STARTED = Started(MODEL, version="2.1.329")
USAGE = Usage(12, 40, 3, 25, 10)
FUNCTION = {"name": "get weather", "parameters": {"type": "object"}}
TOOLS: dict[str, Any] = {"tools": [{"type": "function", "function": FUNCTION}]}
NATIVE = Names().native("get weather")
"""How the API may call it; the client sees its own name."""

WORK: dict[str, Any] = {"enable_tools": True, "claude_tools": ["Read"]}


@dataclass(frozen=True, slots=True)
class Case:
    """The events of one turn, or of each choice, and what the request says of the answer's form;
    `error` is raised after them."""

    name: str
    events: tuple[Event, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    choices: int = 1
    grant: ToolGrant | None = None
    error: GatewayError | None = None


def finished(reason: Any = "end_turn", **more: Any) -> Finished:
    return Finished(reason, USAGE, 0.0125, **more)


CALL = (
    ToolCallStart(0, "toolu_1", NATIVE),
    ToolCallDelta(0, '{"city": "Os'),
    ToolCallDelta(0, 'lo"}'),
    ToolCallEnd(0),
)
SECOND_CALL = (ToolCallStart(1, "toolu_2", NATIVE), ToolCallEnd(1))
THOUGHT = (ThinkingDelta("Let me "), ThinkingDelta("see."), ThinkingEnd("signed"))
TEXT = (TextDelta("Hel"), TextDelta("lo ☕"))
USED = (
    BuiltinToolUse("u1", "Read", {"file_path": "/w/a.txt"}),
    BuiltinToolResult("u1", (text_block("1 line"),)),
)
GRANT = ToolGrant(("Read",), directory="/w", max_turns=5, max_budget_usd=0.5)

CASES = (
    Case("text", (STARTED, *TEXT, finished())),
    Case("usage", (STARTED, *TEXT, finished()), {"stream_options": {"include_usage": True}}),
    Case("without_cost", (STARTED, *TEXT, Finished("end_turn", USAGE))),
    Case("empty", (STARTED, finished("empty"))),
    Case("length", (STARTED, *TEXT, finished("max_tokens"))),
    Case("stop_sequence", (STARTED, *TEXT, finished("stop_sequence", stop_sequence="END"))),
    Case("refusal", (STARTED, TextDelta("I can"), finished("refusal"))),
    Case("thinking", (STARTED, *THOUGHT, *TEXT, finished())),
    Case("call", (STARTED, *CALL, finished("tool_use")), TOOLS),
    Case("calls_after_text", (STARTED, *TEXT, *CALL, *SECOND_CALL, finished("tool_use")), TOOLS),
    Case(
        "legacy_function",
        (STARTED, *CALL, finished("tool_use")),
        {"functions": [FUNCTION]},
    ),
    Case("two_choices", (STARTED, *TEXT, finished()), {"n": 2}, choices=2),
    Case("dropped_parameter", (Started(MODEL, ("top_p",)), *TEXT, finished()), {"top_p": 0.5}),
    Case("work_as_reasoning", (STARTED, *TEXT, *USED, *TEXT, finished()), WORK, grant=GRANT),
    Case(
        "work_as_content",
        (STARTED, *TEXT, *USED, *TEXT, finished()),
        {**WORK, "tool_activity": "content"},
        grant=GRANT,
    ),
    Case("work_at_its_limit", (STARTED, *USED, finished("max_turns")), WORK, grant=GRANT),
    Case("error_in_text", (STARTED, *TEXT), error=Overloaded("Busy.", retry_after=1)),
    Case("error_in_call", (STARTED, *CALL[:2]), TOOLS, error=Overloaded("Busy.")),
)
