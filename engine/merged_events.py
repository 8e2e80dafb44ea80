"""What waits for a client that reads more slowly than the model writes takes little memory."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from core.conversation import JsonObject
from core.events import ApiEvent, Event, TextDelta, ThinkingDelta, ToolCallDelta

MANY_EVENTS = 1_000
"""Up to so many keep their own frames."""

PIECE_CHARACTERS = 4_096
DELTA_TEXTS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}
"""Where a delta of the Messages API has its text."""


def add_event(waiting: deque[Event], event: Event) -> None:
    """Appends the event; where many wait, its text goes to the end of the last one's, if that is of
    the same kind and not long yet. A client sees the same texts in fewer pieces."""
    if len(waiting) >= MANY_EVENTS:
        # an event as the API wrote it stands before the one that says what it means
        at = -2 if isinstance(event, ApiEvent) and not isinstance(waiting[-1], ApiEvent) else -1
        merged = _merged(waiting[at], event)
        if merged is not None:
            waiting[at] = merged
            return
    waiting.append(event)


def _merged(last: Event, event: Event) -> Event | None:
    match last, event:
        case (TextDelta(before), TextDelta(text)) if len(before) < PIECE_CHARACTERS:
            return TextDelta(before + text)
        case (ThinkingDelta(before), ThinkingDelta(text)) if len(before) < PIECE_CHARACTERS:
            return ThinkingDelta(before + text)
        case (ToolCallDelta(index, before), ToolCallDelta(other, text)) if (
            index == other and len(before) < PIECE_CHARACTERS
        ):
            return replace(last, json=before + text)
        case (ApiEvent(before), ApiEvent(after)):
            return _merged_deltas(before, after)
    return None


def _merged_deltas(before: JsonObject, after: JsonObject) -> ApiEvent | None:
    if not before["type"] == after["type"] == "content_block_delta":
        return None
    kind, name = after["delta"]["type"], DELTA_TEXTS.get(after["delta"]["type"])
    if name is None or before["delta"]["type"] != kind or before["index"] != after["index"]:
        return None
    text = before["delta"][name]
    if len(text) >= PIECE_CHARACTERS:
        return None
    return ApiEvent({**after, "delta": {**after["delta"], name: text + after["delta"][name]}})
