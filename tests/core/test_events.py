"""The fold of a turn's events: as texts for a body, as native blocks for what is stored."""

from __future__ import annotations

import pytest

from core.conversation import Block, text_block
from core.events import (
    BuiltinToolResult,
    BuiltinToolUse,
    Event,
    Finished,
    OtherBlock,
    Reply,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)

THOUGHT: Block = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
CALL: Block = {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}
USE: Block = {"type": "tool_use", "id": "u1", "name": "Read", "input": {}}
RESULT: Block = {"type": "tool_result", "tool_use_id": "u1", "content": [text_block("found")]}
FOUND = BuiltinToolResult("u1", (text_block("found"),))

CASES: dict[str, tuple[list[Event], list[Block]]] = {
    "nothing": ([Started("m"), Finished("empty")], []),
    "pieces of a text are one block": ([TextDelta("a"), TextDelta("b")], [text_block("ab")]),
    "signed thoughts stay": (
        [ThinkingDelta("H"), ThinkingDelta("m."), ThinkingEnd("sig"), TextDelta("a")],
        [THOUGHT, text_block("a")],
    ),
    "unsigned ones do not": (
        [ThinkingDelta("Hm."), ThinkingEnd(""), TextDelta("a")],
        [text_block("a")],
    ),
    "nor those that were cut off": ([ThinkingDelta("Hm.")], []),
    "two thoughts are two blocks": (
        [ThinkingDelta("Hm."), ThinkingEnd("sig"), ThinkingDelta("Hm."), ThinkingEnd("sig")],
        [THOUGHT, THOUGHT],
    ),
    "a call": (
        [
            ToolCallStart(0, "c1", "f"),
            ToolCallDelta(0, '{"a"'),
            ToolCallDelta(0, ": 1}"),
            ToolCallEnd(0),
        ],
        [CALL],
    ),
    "a call that was cut off": ([ToolCallStart(0, "c1", "f"), ToolCallDelta(0, '{"a"')], []),
    "a call whose arguments are no object": (
        [ToolCallStart(0, "c1", "f"), ToolCallDelta(0, "[1]"), ToolCallEnd(0)],
        [],
    ),
    "a built-in use between texts": (
        [TextDelta("a"), BuiltinToolUse("u1", "Read", {}), FOUND, TextDelta("b")],
        [text_block("a"), USE, RESULT, text_block("b")],
    ),
    "a use without its result": (
        [BuiltinToolUse("u1", "Read", {}), TextDelta("b")],
        [text_block("b")],
    ),
    "a result of an earlier turn's use": ([FOUND, TextDelta("b")], [text_block("b")]),
}


@pytest.mark.parametrize("name", CASES)
def test_events_are_folded_into_blocks(name: str) -> None:
    events, blocks = CASES[name]
    assert Reply.of(events).blocks() == blocks


def test_a_paragraph_stands_where_built_in_tools_were_used() -> None:
    use = BuiltinToolUse("u1", "Read", {})
    reply = Reply.of([use, FOUND, TextDelta("a"), TextDelta("b"), use, FOUND, TextDelta("c")])
    assert reply.text == "ab\n\nc"


def test_blocks_of_other_kinds_are_kept_as_they_are() -> None:
    block = {"type": "web_search_tool_result", "content": []}
    reply = Reply.of([TextDelta("a"), OtherBlock(block)])
    assert reply.blocks()[1] is block
    assert reply.other_blocks == [block]


def test_what_is_known_of_the_answer_comes_with_its_first_and_last_event() -> None:
    reply = Reply.of([Started("m", ("top_p",), version="2.1"), Finished("refusal")])
    assert (reply.model, reply.dropped, reply.version) == ("m", ("top_p",), "2.1")
    assert reply.finished == Finished("refusal")
