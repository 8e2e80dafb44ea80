"""Bodies compared byte for byte: the parts of a recorded one, and JSON as Claude Code writes it."""

from __future__ import annotations

import json
import re
from typing import Any, Final

_DECODER: Final = json.JSONDecoder()
_SPACE: Final = re.compile(r"\s*")
_MARK: Final = re.compile(rb',"cache_control":\{"type":"ephemeral"(?:,"ttl":"1h")?\}')


def pieces(raw: bytes) -> dict[str, bytes]:
    """The bytes of each top-level field of a JSON object. AssertionError for a double key."""
    text = raw.decode()
    found: dict[str, bytes] = {}
    at = _after_space(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        begin = _after_space(text, _after_space(text, at) + 1)  # behind the colon
        _, end = _DECODER.raw_decode(text, begin)
        assert name not in found, f"{name} stands twice"
        found[name] = text[begin:end].encode()
        at = _after_space(text, end)
        at = _after_space(text, at + 1) if text[at] == "," else at
    return found


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def javascript(value: Any) -> bytes:
    """The value as JavaScript's `JSON.stringify` writes it: the CLI is the one who sends it."""
    return _written(value).encode()


def _written(value: Any) -> str:
    match value:
        case dict():
            inner = ",".join(f"{_written(key)}:{_written(each)}" for key, each in value.items())
            return f"{{{inner}}}"
        case list() | tuple():
            return f"[{','.join(map(_written, value))}]"
        case float():
            return _number(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """ECMAScript's Number::toString: https://tc39.es/ecma262/#sec-numeric-types-number-tostring"""
    if value == 0:
        return "0"  # also of -0
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    significant = digits.strip("0")
    leading = len(digits) - len(digits.lstrip("0"))
    point = len(whole) - leading + int(power or 0)
    sign = "-" if value < 0 else ""
    if len(significant) <= point <= 21:
        return sign + significant + "0" * (point - len(significant))
    if 0 < point <= 21:
        return f"{sign}{significant[:point]}.{significant[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{significant}"
    tail = f".{significant[1:]}" if significant[1:] else ""
    return f"{sign}{significant[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def unmarked(raw: bytes) -> bytes:
    """Without the cache marks that the server sets. Nothing that a caller says can look like one:
    inside of a JSON string its quotes are escaped."""
    return _MARK.sub(b"", raw)


def marks_in(raw: bytes) -> int:
    """How many blocks are marked for caching; the API takes four."""
    return len(_MARK.findall(raw))
