"""Answers in events, as the engine gives them: the table of the golden files of Messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.conversation import text_block
from core.events import (
    ApiEvent,
    BuiltinToolResult,
    BuiltinToolUse,
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
from models import ToolActivity

Json = dict[str, Any]
MODEL = "claude-sonnet-5-5"


@dataclass(frozen=True, slots=True)
class Case:
    """`activity` is set where Claude Code used built-in tools. `loose` names what the official
    accumulators leave out of the message they build."""

    name: str
    events: tuple[Event, ...]
    activity: ToolActivity | None = None
    loose: tuple[str, ...] = ()

    @property
    def api_events(self) -> list[Json]:
        return [event.event for event in self.events if isinstance(event, ApiEvent)]


def start(**fields: Any) -> Json:
    usage = {
        "input_tokens": 12,
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 40,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 1,
        "service_tier": "standard",
        "inference_geo": "global",
    }
    message = {
        "model": MODEL,
        "id": "msg_01ABC",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": usage,
        **fields,
    }
    return {"type": "message_start", "message": message}


def block(index: int, begun: Json, *deltas: Json) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": begun},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[Json]:
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return block(index, {"type": "text", "text": ""}, *deltas)


def call(index: int, kind: str, id_: str, name: str, *pieces: str, **fields: Any) -> list[Json]:
    begun = {"type": kind, "id": id_, "name": name, "input": {}, **fields}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return block(index, begun, *deltas)


def end(
    reason: str, delta: Json | None = None, usage: Json | None = None, **top: Any
) -> list[Json]:
    stop = {"stop_reason": reason, "stop_sequence": None, "stop_details": None, **(delta or {})}
    counts = {"output_tokens": 33, **(usage or {})}
    return [
        {"type": "message_delta", "delta": stop, "usage": counts, **top},
        {"type": "message_stop"},
    ]


def native(name: str, *parts: Json | list[Json], loose: tuple[str, ...] = ()) -> Case:
    """The API's events, with the neutral ones that the engine gives of the first and the last."""
    events: list[Event] = []
    for part in parts:
        for event in part if isinstance(part, list) else [part]:
            events.append(ApiEvent(event))
            if event["type"] == "message_start":
                events.append(Started(MODEL))
            if event["type"] == "content_block_delta" and "text" in event["delta"]:
                events.append(TextDelta(event["delta"]["text"]))
    events.append(Finished("end_turn", Usage(12, output_tokens=33), cost_usd=0.0125))
    return Case(name, tuple(events), loose=loose)


PING: Json = {"type": "ping"}
CHAR = {"type": "char_location", "cited_text": "sky", "document_index": 0, "document_title": "A"}
PLACE = {**CHAR, "file_id": None, "start_char_index": 0, "end_char_index": 3}
FOUND = {
    "type": "web_search_result",
    "url": "https://example.org/a",
    "title": "A",
    "encrypted_content": "abc",
    "page_age": None,
}
SEARCH = {
    "type": "server_tool_use",
    "id": "srvtoolu_2",
    "name": "web_search",
    "input": {"query": "sky"},
}
USAGE = Usage(10, 20, 5, 7, 2)

NATIVE = (
    native("text", start(), text(0, "Hel", "lo ", "ünïcode 🙂"), PING, end("end_turn")),
    native("empty", start(), end("end_turn")),
    native(
        "thinking",
        start(),
        block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Let me "},
            {"type": "thinking_delta", "thinking": "see."},
            {"type": "signature_delta", "signature": "c2ln"},
        ),
        PING,
        block(1, {"type": "redacted_thinking", "data": "ZGF0YQ=="}),
        text(2, "Yes."),
        end("end_turn", usage={"output_tokens_details": {"thinking_tokens": 9}}),
    ),
    native(
        "tools",
        start(),
        text(0, "Looking."),
        call(1, "tool_use", "toolu_1", "f", '{"a"', ": 12345678901234567890}", caller=None),
        call(2, "tool_use", "toolu_2", "g", ""),
        end("tool_use"),
    ),
    native(
        "cut_call",
        start(),
        call(0, "tool_use", "toolu_1", "f", '{"a": 1, "b": "hal'),
        end("max_tokens"),
    ),
    native(
        "citations",
        start(),
        block(
            0,
            {"type": "text", "text": "", "citations": []},
            {"type": "text_delta", "text": "The sky"},
            {"type": "citations_delta", "citation": PLACE},
            {"type": "citations_delta", "citation": {**PLACE, "start_char_index": 4}},
        ),
        end("end_turn"),
    ),
    native(
        "server_tools",
        start(container={"id": "container_1", "expires_at": "2026-11-26T00:00:00Z"}),
        call(0, "server_tool_use", "srvtoolu_1", "web_search", '{"query": "sky"}'),
        block(
            1,
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [FOUND]},
        ),
        call(2, "mcp_tool_use", "mcptoolu_1", "echo", '{"x":', " 1}", server_name="s"),
        block(
            3,
            {
                "type": "mcp_tool_result",
                "tool_use_id": "mcptoolu_1",
                "is_error": False,
                "content": [{"type": "text", "text": "1"}],
            },
        ),
        text(4, "Found."),
        end(
            "pause_turn",
            {"container": {"id": "container_2", "expires_at": "2026-11-27T00:00:00Z"}},
            {
                "input_tokens": 99,
                "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
            },
        ),
    ),
    native(
        "refusal",
        start(),
        text(0, "I"),
        end("refusal", {"stop_details": {"type": "refusal", "category": "cyber"}}),
    ),
    native(
        "stop_sequence",
        start(),
        text(0, "one "),
        end("stop_sequence", {"stop_sequence": "two"}),
    ),
    native(
        "context_management",
        start(context_management=None),
        block(
            0,
            {"type": "compaction", "content": None},
            {"type": "compaction_delta", "content": "Summary", "encrypted_content": "eA=="},
        ),
        text(1, "Hi"),
        end("end_turn", context_management={"applied_edits": []}),
    ),
    native(
        "fallback",
        start(),
        text(0, "I ca"),
        block(
            1,
            {
                "type": "fallback",
                "from": {"model": MODEL},
                "to": {"model": "claude-opus-5"},
                "trigger": {"type": "refusal", "category": None},
            },
        ),
        text(2, "Here."),
        end("end_turn"),
    ),
    native(
        "unknown_fields",
        start(novelty={"a": 1}),
        block(
            0,
            {"type": "hologram", "frames": 1, "note": "x"},
            {"type": "hologram_delta", "frames": 2},
        ),
        end("end_turn", {"mood": "calm"}, {"photon_tokens": 5}, receipt="r"),
        loose=("mood", "receipt", "photon_tokens", "frames"),
    ),
)

READ = BuiltinToolUse("toolu_9", "Read", {"file_path": "/w/a.txt"})
RESULT = BuiltinToolResult("toolu_9", (text_block("1\n2"),))
DENIED = BuiltinToolResult("toolu_9", (text_block("No such file"),), is_error=True)
WORK: tuple[Event, ...] = (
    Started(MODEL, usage=Usage(10)),
    ThinkingDelta("I shall read."),
    ThinkingEnd("c2ln"),
    TextDelta("Reading."),
    READ,
    RESULT,
    TextDelta("It has "),
    TextDelta("two lines."),
    Finished("end_turn", USAGE, 0.5),
)

COMPOSED = (
    Case(
        "repeated_text",
        (Started(MODEL), TextDelta("Hel"), TextDelta("lo"), Finished("end_turn", USAGE)),
    ),
    Case(
        "repeated_everything",
        (
            Started(MODEL, usage=Usage(10)),
            ThinkingDelta("Hm."),
            ThinkingEnd("c2ln"),
            ThinkingEnd("b21pdHRlZA=="),
            OtherBlock({"type": "redacted_thinking", "data": "ZGF0YQ=="}),
            TextDelta("The sky"),
            Citation(PLACE),
            OtherBlock(SEARCH),
            TextDelta("Now."),
            ToolCallStart(0, "toolu_1", "f"),
            ToolCallDelta(0, '{"a":'),
            ToolCallDelta(0, "1}"),
            ToolCallEnd(0),
            ToolCallStart(1, "toolu_2", "g"),
            ToolCallEnd(1),
            Finished("tool_use", USAGE),
        ),
    ),
    Case("repeated_nothing", (Started(MODEL), Finished("empty", USAGE))),
    Case(
        "repeated_refusal",
        (
            Started(MODEL),
            Finished("refusal", USAGE, details={"type": "refusal", "category": "bio"}),
        ),
    ),
    Case("work_as_thinking", WORK, "reasoning"),
    Case("work_as_text", WORK, "content"),
    Case("work_unseen", WORK, "none"),
    Case(
        "work_at_its_limit",
        (Started(MODEL), READ, DENIED, Finished("max_turns", USAGE)),
        "reasoning",
    ),
)
CASES = (*NATIVE, *COMPOSED)


def names(cases: Iterable[Case]) -> list[str]:
    return [case.name for case in cases]
