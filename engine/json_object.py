"""An answer that is one JSON object, asked for in words (`request.JSON_INSTRUCTION`).

The API has no such mode: a schema without properties is refused or answered with `{}`. Models
follow the instruction nearly always; what else they write is put right here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from core.events import Event, Finished, TextDelta

WRAPPER = "response"
"""The one field of an object around an answer that is not one."""


class JsonObjectText:
    """Passes a text that begins with `{` on as it comes. Any other is held back to its end: the
    object in it (a code fence or a comment may stand around it), or an object around it."""

    def __init__(self) -> None:
        self._is_on = True
        self._held = ""

    def feed(self, event: Event) -> Iterator[Event]:
        if not self._is_on:
            yield event
        elif isinstance(event, TextDelta):
            yield from self._text(event.text)
        else:
            if isinstance(event, Finished) and self._held.strip():
                yield TextDelta(self._whole(event))
            yield event

    def _text(self, text: str) -> Iterator[Event]:
        self._held += text
        if self._held.lstrip().startswith("{"):
            yield TextDelta(self._held.lstrip())
            self._is_on = False

    def _whole(self, finished: Finished) -> str:
        text, self._held = self._held, ""
        inner = text[text.find("{") : text.rfind("}") + 1]
        if _is_object(inner):
            return inner
        is_complete = finished.reason in ("end_turn", "stop_sequence")
        return json.dumps({WRAPPER: text.strip()}, ensure_ascii=False) if is_complete else text


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
