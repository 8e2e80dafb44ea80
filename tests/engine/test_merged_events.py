"""What waits for a slow client says the same in fewer pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from core.events import (
    ApiEvent,
    Event,
    Finished,
    Reply,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)
from engine.merged_events import MANY_EVENTS, PIECE_CHARACTERS, add_event


def waiting(events: Iterable[Event]) -> deque[Event]:
    found: deque[Event] = deque()
    for event in events:
        add_event(found, event)
    return found


def answer(count: int) -> list[Event]:
    thoughts = [ThinkingDelta(f"t{number} ") for number in range(count)]
    words = [TextDelta(f"w{number} ") for number in range(count)]
    calls: list[Event] = [ToolCallStart(0, "a", "f"), ToolCallStart(1, "b", "g")]
    arguments = [ToolCallDelta(number % 2, f"{number},") for number in range(count)]
    return [Started("m"), *thoughts, *words, *calls, *arguments, Finished("end_turn")]


def test_few_events_keep_their_frames() -> None:
    few = answer(MANY_EVENTS // 4)
    assert list(waiting(few)) == few


def test_many_become_few_that_say_the_same() -> None:
    words = [TextDelta(f"w{number} ") for number in range(100_000)]
    events: list[Event] = [Started("m"), *words, Finished("end_turn")]
    found = waiting(events)
    assert len(found) < MANY_EVENTS + 1_000
    assert Reply.of(found).text == Reply.of(events).text
    assert max(len(event.text) for event in found if isinstance(event, TextDelta)) < 5_000


def test_kinds_and_calls_stay_apart() -> None:
    events = answer(3 * MANY_EVENTS)
    found, whole = Reply.of(waiting(events)), Reply.of(events)
    assert (found.text, found.thinking) == (whole.text, whole.thinking)
    assert [c.arguments for c in found.tool_calls] == [c.arguments for c in whole.tool_calls]


def delta(index: int, kind: str, name: str, text: str) -> ApiEvent:
    event = {"type": "content_block_delta", "index": index, "delta": {"type": kind, name: text}}
    return ApiEvent(event)


def test_events_as_the_api_wrote_them_are_put_together_too() -> None:
    events: list[Event] = []
    for number in range(4 * MANY_EVENTS):
        events += [delta(0, "text_delta", "text", f"w{number} "), TextDelta(f"w{number} ")]
    events += [ApiEvent({"type": "ping"}), delta(1, "input_json_delta", "partial_json", "{}")]
    found = waiting(events)
    assert len(found) < MANY_EVENTS + 100
    raw = [event.event for event in found if isinstance(event, ApiEvent)]
    texts = [event["delta"].get("text", "") for event in raw if "delta" in event]
    assert "".join(texts) == Reply.of(events).text == Reply.of(found).text
    assert max(map(len, texts)) < PIECE_CHARACTERS + 20
    assert raw[-2:] == [{"type": "ping"}, raw[-1]]
    assert raw[-1]["delta"]["partial_json"] == "{}"
