"""`!demo key=value …` lines: what a conversation asks of the demo model."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from demo.errors import invalid

_LINE: Final = re.compile(r"^[ \t]*!demo\b[ \t]*(.*)$\n?", re.MULTILINE)
_KEY: Final = re.compile(r"\s*([a-z_][a-z_0-9]*)(=?)")
_BARE: Final = re.compile(r"\S*")
_DECODER: Final = json.JSONDecoder()

Call = tuple[str, Any]
"""A tool's name and its input; an input of None means: make one from the tool's schema."""


@dataclass(frozen=True, slots=True)
class Directive:
    """All that can be asked; README.md has the table. Times are seconds, rates deltas a second."""

    text: str | None = None
    json: str | None = None
    tokens: int | None = None
    recall: bool = False
    empty: bool = False
    thinking: str | None = None
    thinking_force: bool = False
    chars: int = 0
    call: tuple[str, ...] = ()
    args: Any = None
    calls: tuple[Call, ...] = ()
    say: str | None = None
    steps: tuple[tuple[Call, ...], ...] = ()
    redacted: str | None = None
    bad_args: str | None = None
    search: str | None = None
    results: int = 2
    search_error: str | None = None
    cite: bool = False
    pause: bool = False
    stop: str | None = None
    category: str | None = None
    explanation: str | None = None
    pings: int = 0
    rate: float = 0.0
    first_delay: float = 0.0
    delay_after: tuple[tuple[int, float], ...] = ()
    hang: bool = False
    silent: bool = False
    cut: int | None = None
    error: int | None = None
    error_times: int | None = None
    retry_after: float | None = None
    message: str | None = None
    reject: tuple[str, ...] = ()
    error_midstream: str | None = None
    error_after: int = 3
    round: int = 0
    input: int | None = None
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    service_tier: str = "standard"


def strip(text: str) -> str:
    """The text without its directive lines."""
    return _LINE.sub("", text) if "!demo" in text else text


def pairs(text: str) -> dict[str, str]:
    """The keys and raw values of all directive lines of a text, the last one winning.

    Raises `ApiError` 400 for what is no `key=value`.
    """
    if "!demo" not in text:
        return {}
    return {key: value for line in _LINE.findall(text) for key, value in _tokens(line.strip())}


def read(raw: Mapping[str, str]) -> Directive:
    """Raw pairs to a directive; raises `ApiError` 400 for an unknown key or an unusable value."""
    if not raw:
        return _NOTHING
    return Directive(**{key: _convert(key, value) for key, value in raw.items()})


def _tokens(line: str) -> list[tuple[str, str]]:
    found, position = [], 0
    while position < len(line):
        key = _KEY.match(line, position)
        if key is None:
            raise invalid(f"!demo: cannot read {line[position:]!r}")
        value, position = _value(line, key.end()) if key[2] else ("true", key.end())
        found.append((key[1], value))
        position += len(line[position:]) - len(line[position:].lstrip())
    return found


def _value(line: str, start: int) -> tuple[str, int]:
    opening = line[start : start + 1]
    if opening in ("{", "[", '"'):
        try:
            value, end = _DECODER.raw_decode(line, start)
        except ValueError as error:
            raise invalid(f"!demo: cannot read {line[start:]!r}: {error}") from None
        return (value if opening == '"' else line[start:end]), end
    if opening == "'" and (end := line.find("'", start + 1)) > 0:
        return line[start + 1 : end], end + 1
    bare = _BARE.match(line, start)
    return (bare[0], bare.end()) if bare else ("", start)


def _convert(key: str, value: str) -> Any:
    converter = _CONVERTERS.get(key)
    if converter is None:
        raise invalid(f"!demo: unknown key {key!r}")
    try:
        return converter(value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise invalid(f"!demo: {key}={value!r}: {error}") from None


def _flag(value: str) -> bool:
    if value.lower() not in ("true", "1", "yes", "false", "0", "no"):
        raise ValueError("expected true or false")
    return value.lower() in ("true", "1", "yes")


def _names(value: str) -> tuple[str, ...]:
    return tuple(name for name in re.split(r"[,\s]+", value) if name)


def _json_text(value: str) -> str:
    return json.dumps(json.loads(value), ensure_ascii=False)


def _call(item: Any) -> Call:
    return (item, None) if isinstance(item, str) else (item["name"], item.get("input"))


def _calls(value: str) -> tuple[Call, ...]:
    return tuple(_call(item) for item in json.loads(value))


def _steps(value: str) -> tuple[tuple[Call, ...], ...]:
    return tuple(tuple(_call(item) for item in step) for step in json.loads(value))


def _pauses(value: str) -> tuple[tuple[int, float], ...]:
    parts = [part.split(":") for part in _names(value)]
    return tuple((int(after), float(seconds)) for after, seconds in parts)


_BY_TYPE: Final[dict[object, Callable[[str], Any]]] = {
    str: str,
    str | None: str,
    int | None: int,
    float | None: float,
    bool: _flag,
    int: int,
    float: float,
    tuple[str, ...]: _names,
}
_BY_KEY: Final[dict[str, Callable[[str], Any]]] = {
    "json": _json_text,
    "args": json.loads,
    "calls": _calls,
    "steps": _steps,
    "delay_after": _pauses,
}
_CONVERTERS: Final = {
    field.name: _BY_KEY.get(field.name) or _BY_TYPE[field.type] for field in fields(Directive)
}
_NOTHING: Final = Directive()

FAULTS: Final = (
    *("first_delay", "delay_after", "hang", "silent", "cut"),
    *("error", "reject", "error_midstream", "stop", "empty"),
)
"""What happens in one round only, the one that `round` names."""


def without_faults(asks: Directive) -> Directive:
    """The directive without delays, errors and injected faults: these belong to one round only."""
    return replace(asks, **{name: getattr(_NOTHING, name) for name in FAULTS})
