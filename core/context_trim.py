"""Help at the end of a model's context window: the oldest of a conversation is left out.

For sessions that ask for it (`context: "trim"`) and for Responses' `truncation: "auto"`. How long a
conversation is only the API knows; so it is asked first, and what it says decides how much is left
out.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeAlias

from core.conversation import Message
from core.errors import ContextTooLong
from core.events import Event
from core.turn import Turn

RunTurn: TypeAlias = Callable[[Turn], AsyncGenerator[Event, None]]

TRIES = 5
SPARE = 0.1
"""Of the conversation is left out beyond what is too much: so the next turns fit, too."""

COUNTS = re.compile(r"(\d{4,}) tokens? > (\d{4,})")
"""The API's words: `prompt is too long: 208310 tokens > 200000 maximum`."""


async def run_trimmed(
    run: RunTurn, turn: Turn, note: Callable[[int], None], left_out: int = 0
) -> AsyncGenerator[Event, None]:
    """The events of the turn, with as many of its oldest messages left out as the model's context
    needs, `left_out` of them from the start. `note` gets their number before the first event.
    Raises ContextTooLong where the last exchange alone is too long, or nothing helps."""
    for attempt in range(TRIES):
        has_begun = False
        note(left_out)
        shorter = replace(turn, messages=turn.messages[left_out:])
        try:
            async with aclosing(run(shorter)) as events:
                async for event in events:
                    has_begun = True
                    yield event
            return
        except ContextTooLong as error:
            more = exchanges_to_drop(shorter.messages, _excess(error.message))
            if has_begun or not more or attempt + 1 == TRIES:
                raise
            left_out += more


def exchanges_to_drop(messages: Sequence[Message], share: float) -> int:
    """How many of the oldest messages weigh at least this share of all. What remains begins with a
    user's message that answers no tool call; 0 where nothing would remain."""
    weights = [_weight(message.content) for message in messages]
    wanted, dropped = share * sum(weights), 0.0
    for position, message in enumerate(messages):
        if position and dropped >= wanted and begins_exchange(message):
            return position
        dropped += weights[position]
    starts = [at for at, message in enumerate(messages) if at and begins_exchange(message)]
    return starts[-1] if starts else 0


def begins_exchange(message: Message) -> bool:
    """Whether a conversation may begin with it: a user's message that answers no tool call."""
    kinds = {block["type"] for block in message.content}
    return message.role == "user" and "tool_result" not in kinds


def _excess(words: str) -> float:
    """The share of the conversation that is too much; half of it where the API names no numbers."""
    if found := COUNTS.search(words):
        tokens, most = int(found[1]), int(found[2])
        if tokens > most:
            return min(0.9, 1 - most / tokens + SPARE)
    return 0.5


def _weight(value: Any) -> float:
    match value:
        case str():
            return len(value)
        case {"type": "image" | "document"}:
            return 6_000  # about what the API counts for one, in characters
        case dict():
            return sum(map(_weight, value.values()))
        case list() | tuple():
            return sum(map(_weight, value))
        case _:
            return 4
