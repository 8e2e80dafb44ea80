"""The bodies of the last requests and their answers, where LOG_BODIES asks for them: in memory
only, bounded, for operators."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from core.conversation import JsonObject

MOST_BODIES = 200
MOST_CHARACTERS = 200_000
MOST_TEXT = 20_000
"""Of one string in a request: an image is not kept."""


@dataclass(slots=True)
class Body:
    """What was asked of a path, and the text of the answer so far."""

    path: str
    request: JsonObject
    answer: str = ""

    def add(self, text: str) -> None:
        if len(self.answer) < MOST_CHARACTERS:
            self.answer += text[: MOST_CHARACTERS - len(self.answer)]


class Bodies:
    """By request id; the oldest go first. Keeps none unless `enabled`."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self._bodies: OrderedDict[str, Body] = OrderedDict()

    def keep(self, request_id: str, path: str, request: JsonObject) -> Body | None:
        if not self.enabled:
            return None
        body = self._bodies[request_id] = Body(path, _shortened(request))
        if len(self._bodies) > MOST_BODIES:
            self._bodies.popitem(last=False)
        return body

    def find(self, request_id: str) -> Body | None:
        return self._bodies.get(request_id)


def _shortened(value: Any) -> Any:
    match value:
        case str() if len(value) > MOST_TEXT:
            return f"{value[:MOST_TEXT]}… ({len(value)} characters)"
        case dict():
            return {key: _shortened(item) for key, item in value.items()}
        case list():
            return [_shortened(item) for item in value]
        case _:
            return value
