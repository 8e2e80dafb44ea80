"""The free text of a custom tool's call, out of the JSON that the model writes.

Claude calls every tool with a JSON object, so a custom tool is a function with one text,
`{"input": "…"}`. The text is decoded piece by piece, so that it streams as the model writes it.
"""

from __future__ import annotations

import json
import re

from core.conversation import JsonObject

INPUT = "input"
OPENING = re.compile(r'\s*\{\s*"input"\s*:\s*"')
OPENING_MAX_CHARACTERS = 200
SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}
ESCAPE_CHARACTERS = 6
"""`\\uXXXX`; two of them make one character beyond the basic plane."""


def input_schema(description: str | None) -> JsonObject:
    text: JsonObject = {"type": "string"}
    if description:
        text["description"] = description
    return {
        "type": "object",
        "properties": {INPUT: text},
        "required": [INPUT],
        "additionalProperties": False,
    }


class FreeText:
    """Feed the pieces of the JSON; what comes back, joined, is the text.

    JSON of another form gives nothing until `end`, which then returns the whole: the `input` of an
    object that has more, else the JSON as the model wrote it.
    """

    def __init__(self) -> None:
        self._written: list[str] = []
        self._waiting = ""
        self._is_open = False
        self._is_closed = False

    def feed(self, piece: str) -> str:
        if self._is_closed:
            return ""
        self._waiting += piece
        if not self._is_open:
            self._written.append(piece)
            opening = OPENING.match(self._waiting[:OPENING_MAX_CHARACTERS])
            if opening is None:
                self._waiting = self._waiting[:OPENING_MAX_CHARACTERS]
                return ""
            self._is_open = True
            self._waiting = self._waiting[opening.end() :]
        return self._decoded()

    def end(self) -> str:
        """What `feed` did not return yet."""
        if self._is_open:
            return ""
        whole = "".join(self._written)
        try:
            value = json.loads(whole or "{}")
        except ValueError:
            return whole
        if isinstance(value, dict) and isinstance(value.get(INPUT), str):
            return str(value[INPUT])
        return "" if value == {} else whole

    def _decoded(self) -> str:
        """The characters that are complete; the rest of an escape waits for the next piece."""
        text, found, place = self._waiting, [], 0
        while place < len(text):
            stop = _next_special(text, place)
            found.append(text[place:stop])
            place = stop
            if place == len(text):
                break
            if text[place] == '"':
                self._is_closed = True
                break
            character, length = _escape(text[place : place + 2 * ESCAPE_CHARACTERS])
            if not length:
                break
            found.append(character)
            place += length
        self._waiting = text[place:]
        return "".join(found)


def _next_special(text: str, start: int) -> int:
    places = [place for place in (text.find('"', start), text.find("\\", start)) if place >= 0]
    return min(places, default=len(text))


def _escape(text: str) -> tuple[str, int]:
    """The character of the escape that the text begins with, and how long that is; 0 where more is
    to come."""
    if len(text) < 2:
        return "", 0
    if text[1] != "u":
        return SIMPLE.get(text[1], text[1]), 2
    if len(text) < ESCAPE_CHARACTERS:
        return "", 0
    first = _unit(text[:ESCAPE_CHARACTERS])
    if not 0xD800 <= first < 0xDC00:
        return _character(first), ESCAPE_CHARACTERS
    return _pair(first, text[ESCAPE_CHARACTERS:])


def _pair(first: int, rest: str) -> tuple[str, int]:
    """A high surrogate and what follows it: the low one, more to come, or neither."""
    if rest and not rest.startswith("\\u"[: len(rest)]):
        return "\ufffd", ESCAPE_CHARACTERS
    if len(rest) < ESCAPE_CHARACTERS:
        return "", 0
    second = _unit(rest)
    if not 0xDC00 <= second < 0xE000:
        return "\ufffd", ESCAPE_CHARACTERS
    return chr(0x10000 + (first - 0xD800) * 0x400 + second - 0xDC00), 2 * ESCAPE_CHARACTERS


def _unit(escape: str) -> int:
    try:
        return int(escape[2:6], 16)
    except ValueError:
        return 0xFFFD


def _character(unit: int) -> str:
    return "\ufffd" if 0xD800 <= unit < 0xE000 else chr(unit)
