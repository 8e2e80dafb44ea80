"""Messages: events -> the stream and the body, against golden files and the official client.

`UPDATE_GOLDEN=1 pytest tests/test_messages_renderer.py` writes the files; what changed in them is
what a client would see change.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from anthropic.lib.streaming import _beta_messages, _messages
from anthropic.types import Message
from anthropic.types.beta import BetaMessage

from core.errors import GatewayError, Overloaded, UpstreamError
from core.events import ApiEvent, ChoiceEvent, Event, Finished, Started, TextDelta
from core.turn import ToolGrant, Turn
from dialects import messages
from dialects.base import Context
from dialects.messages.renderer import MessagesRenderer, frame
from dialects.messages.request import NOT_REPLAYABLE, MessagesCall, parse
from dialects.messages.wire import MessagesRequest
from tests.support.messages_cases import (
    CASES,
    COMPOSED,
    MODEL,
    NATIVE,
    Case,
    end,
    names,
    start,
    text,
)

GOLDEN = Path(__file__).parent / "golden"
Json = dict[str, Any]


def renderer(case: Case, *, stream: bool) -> MessagesRenderer:
    grant = ToolGrant(("Read",), directory="/w", max_turns=1) if case.activity else None
    turn = Turn(MODEL, (), builtin_tools=grant, api_events=grant is None)
    call = MessagesCall(turn, stream=stream, tool_activity=case.activity or "reasoning")
    return MessagesRenderer(call, id="msg_own")


def stream_of(case: Case) -> str:
    writer = renderer(case, stream=True)
    frames = [writer.feed(ChoiceEvent(0, event)) for event in case.events]
    return b"".join([*frames, writer.finish()]).decode()


def body_of(case: Case) -> Json:
    writer = renderer(case, stream=False)
    assert [writer.feed(ChoiceEvent(0, event)) for event in case.events] == [b""] * len(case.events)
    parsed: Json = json.loads(writer.body())
    return parsed


def parsed_stream(raw: str) -> list[Json]:
    """The events of a complete stream, each of which is named by its type."""
    assert raw.endswith("\n\n")
    events = []
    for part in raw[:-2].split("\n\n"):
        name, data = part.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def accumulated(events: list[Json], *, beta: bool) -> Json:
    """The message that the official client builds of a stream."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    module: Any = _beta_messages if beta else _messages
    more = {"request_headers": httpx.Headers()} if beta else {}
    for event in events:
        if event["type"] != "ping":
            snapshot = module.accumulate_event(
                event=event, current_snapshot=snapshot, json_bufs=buffers, **more
            )
    built: Json = snapshot.to_dict(mode="json", warnings=False)
    return built


def without(value: Any, names: tuple[str, ...]) -> Any:
    """Without these keys, wherever they are, and without nulls: the client fills some in."""
    if isinstance(value, dict):
        kept = {k: without(v, names) for k, v in value.items() if k not in names}
        return {k: v for k, v in kept.items() if v is not None}
    return [without(item, names) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", CASES, ids=names(CASES))
def test_the_stream_and_the_body_are_those_of_the_golden_files(case: Case) -> None:
    stream, body = stream_of(case), json.dumps(body_of(case), indent=1, ensure_ascii=False) + "\n"
    golden_stream, golden_body = GOLDEN / f"{case.name}.stream", GOLDEN / f"{case.name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden_stream.write_text(stream)
        golden_body.write_text(body)
    assert stream == golden_stream.read_text()
    assert body == golden_body.read_text()


def test_there_is_no_golden_file_of_no_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(names(CASES))


@pytest.mark.parametrize("case", NATIVE, ids=names(NATIVE))
def test_the_apis_own_events_are_the_stream(case: Case) -> None:
    assert parsed_stream(stream_of(case)) == case.api_events


@pytest.mark.parametrize("beta", [False, True], ids=["stable", "beta"])
@pytest.mark.parametrize("case", CASES, ids=names(CASES))
def test_the_official_client_builds_the_same_message_of_the_stream(case: Case, beta: bool) -> None:
    only_beta = {"context_management", "fallback", "server_tools"}
    if not beta and case.name in only_beta:
        pytest.skip("the stable types have no such block")
    built = accumulated(parsed_stream(stream_of(case)), beta=beta)
    assert without(built, case.loose) == without(body_of(case), case.loose)


TYPED = [case for case in CASES if case.name != "unknown_fields"]


@pytest.mark.parametrize("case", TYPED, ids=names(TYPED))
def test_a_body_is_of_the_official_type(case: Case) -> None:
    body = body_of(case)
    BetaMessage.model_validate_json(json.dumps(body), strict=True)
    if case in COMPOSED:
        Message.model_validate_json(json.dumps(body), strict=True)


@pytest.mark.parametrize("case", CASES, ids=names(CASES))
@pytest.mark.parametrize("after", [0, 1, 2, 3, 5])
def test_a_failure_closes_what_is_open_and_is_the_last_word(case: Case, after: int) -> None:
    writer = renderer(case, stream=True)
    sent = b"".join(writer.feed(ChoiceEvent(0, event)) for event in case.events[:after])
    if b"message_stop" in sent:
        assert writer.fail(Overloaded("busy")) == b""
        return
    events = parsed_stream((sent + writer.fail(Overloaded("busy"))).decode())
    assert events[-1] == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "busy"},
        "request_id": None,
    }
    assert opened(events) == set()
    assert writer.finish() == b""


def opened(events: list[Json]) -> set[int]:
    """The blocks that began and did not end."""
    begun = [event["index"] for event in events if event["type"] == "content_block_start"]
    ended = [event["index"] for event in events if event["type"] == "content_block_stop"]
    assert len(set(begun)) == len(begun)
    assert len(set(ended)) == len(ended)
    return set(begun) - set(ended)


@pytest.mark.parametrize("case", CASES, ids=names(CASES))
def test_every_block_ends_and_the_stream_ends_once(case: Case) -> None:
    events = parsed_stream(stream_of(case))
    assert opened(events) == set()
    assert [event["type"] for event in events].count("message_stop") == 1
    assert events[-1]["type"] == "message_stop"


def test_an_error_event_of_the_api_is_the_engines_to_tell() -> None:
    case = Case("x", (ApiEvent(start()), ApiEvent({"type": "error", "error": {}})))
    writer = renderer(case, stream=True)
    sent = b"".join(writer.feed(ChoiceEvent(0, event)) for event in case.events)
    assert [event["type"] for event in parsed_stream(sent.decode())] == ["message_start"]


def test_an_end_that_the_cli_made_up_for_a_broken_stream_is_not_told() -> None:
    """It closes the block, and writes a `message_delta` without a stop reason and a stop."""
    broken = [start(), *text(0, "a"), *end("x", {"stop_reason": None})]
    writer = renderer(Case("x", ()), stream=True)
    sent = b"".join(writer.feed(ChoiceEvent(0, ApiEvent(event))) for event in broken)
    events = parsed_stream((sent + writer.fail(Overloaded("busy"))).decode())
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "error",
    ]


def test_a_turn_that_the_engine_ends_itself_has_an_end_all_the_same() -> None:
    ended = [e for e in end("end_turn") if e["type"] != "message_stop"]
    events: list[Event] = [ApiEvent(event) for event in [start(), *text(0, "a"), *ended]]
    case = Case("x", (*events, Finished("end_turn")))
    assert parsed_stream(stream_of(case))[-1] == {"type": "message_stop"}


def test_a_body_without_an_end_is_an_error() -> None:
    cut = Case("x", (ApiEvent(start()), Started(MODEL), TextDelta("a")))
    with pytest.raises(UpstreamError):
        body_of(cut)


def test_the_cost_and_what_had_no_effect_are_in_headers() -> None:
    call = MessagesCall(Turn(MODEL, ()), ignored=("container",))
    writer = MessagesRenderer(call)
    for event in (Started(MODEL, dropped=("top_k",)), Finished("end_turn", cost_usd=0.25)):
        writer.feed(ChoiceEvent(0, event))
    assert writer.headers() == {
        "x-ignored-parameters": "container, top_k",
        "x-claude-cost-usd": "0.25",
    }


def test_shown_work_comes_back_and_is_left_out() -> None:
    work = next(case for case in COMPOSED if case.name == "work_as_thinking")
    content = body_of(work)["content"]
    assert NOT_REPLAYABLE in [block.get("signature") for block in content]
    request = MessagesRequest.model_validate(
        {
            "max_tokens": 1,
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": content},
                {"role": "user", "content": "Go on"},
            ],
        }
    )
    turn = parse(request, Context(MODEL)).turn
    answer = turn.messages[1]
    assert [block["type"] for block in answer.content] == ["text", "text"]
    assert turn.native is not None
    assert turn.native["messages"][1] == {"role": "assistant", "content": list(answer.content)}


def test_the_dialect_has_anthropics_envelope() -> None:
    assert messages.DIALECT.error(GatewayError("It broke.")) == {
        "type": "error",
        "error": {"type": "api_error", "message": "It broke."},
        "request_id": None,
    }
    assert frame({"type": "ping"}) == b'event: ping\ndata: {"type":"ping"}\n\n'
