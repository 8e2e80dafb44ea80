"""Tracks which request parameters each model rejects, inferred from the API's 400 messages.

Models differ, and no list says how. A 400 that names a parameter as unsupported is answered by
asking once more without it, and that model is not sent it again for an hour. The API has no field
for the name, so its message must do (`docs/claude-cli.md`, "Refused parameters").
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from core.conversation import JsonObject
from core.errors import InvalidRequest
from core.turn import Turn

MAX_ENTRIES = 1_000
MEMORY_SECONDS = 3600.0

UNSUPPORTED = re.compile(
    r"not supported|unsupported|does not support|doesn't support|deprecated|not available"
    r"|not permitted|not allowed|cannot both be|cannot be (?:used|specified|set)|not compatible"
    r"|for this model|must be unset|or unset|only be set"
)
TOO_COMPLEX = re.compile(
    r"(?:schema|grammar|strict|structured output|optional parameters|union)[^.]*?"
    r"(?:too (?:large|complex|many|deep)|exceed|limit|maximum|timed out)"
    r"|too (?:large|complex|many|deep)[^.]*?(?:schema|grammar|strict|optional|union)",
    re.IGNORECASE | re.DOTALL,
)
LACKS_THINKING = re.compile(
    r"[Ee]xpected `thinking`[^.]*found `(?:tool_use|text)`"
    r"|must start with a thinking block|missing thinking block"
)
OPTIONAL = (
    "top_p",
    "top_k",
    "temperature",
    "stop_sequences",
    "effort",
    "tools",
    "output_config",
    "thinking",
)
"""What may be left out; the first of these that a message names is the one that is in the way.
Never `max_tokens` nor `tool_choice`: without them an answer would betray the request."""

UNREPORTED = frozenset({"stop_sequences"})
"""Done in any case: stop sequences that the API does not take are watched for."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One rejection: `dropped` goes where all of `together` is asked for."""

    dropped: frozenset[str]
    together: frozenset[str]
    until: float


class ParameterSupport:
    """What each model has rejected so far; the entries least recently used are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rejected: OrderedDict[Hashable, list[_Entry]] = OrderedDict()

    def unsupported(self, turn: Turn) -> frozenset[str]:
        """The parameters that are not to be sent with this turn."""
        asked, now = asked_parameters(turn), self._clock()
        entries = [entry for key in _keys(turn) for entry in self._rejected.get(key, ())]
        current = (entry for entry in entries if entry.until > now and entry.together <= asked)
        return frozenset().union(*(entry.dropped for entry in current)) & asked

    def record(self, turn: Turn, without: frozenset[str], error: InvalidRequest) -> frozenset[str]:
        """What to leave out beside `without` on a second try; empty where the message names nothing
        that this turn could do without."""
        asked = asked_parameters(turn) - without
        if turn.thinking and "thinking" in asked and LACKS_THINKING.search(error.message):
            return frozenset({"thinking"})  # true of this conversation, not of the model
        if TOO_COMPLEX.search(error.message) and (schemas := asked & {"tools", "output_config"}):
            self._keep(_keys(turn)[1], schemas, schemas)
            return schemas
        return self._learn(turn, asked, error.message)

    def _learn(self, turn: Turn, asked: frozenset[str], message: str) -> frozenset[str]:
        named = [name for name in OPTIONAL if name in asked and _names(message, name)]
        if not named or not UNSUPPORTED.search(message):
            return frozenset()
        dropped = frozenset(named[:1])
        is_combination = len(named) > 1 and re.search(r"\bboth\b|\btogether\b", message)
        together = frozenset(named) if is_combination else dropped
        key = _keys(turn)[1 if _is_about_a_schema(named[0], message) else 0]
        self._keep(key, dropped, together)
        return dropped

    def _keep(self, key: Hashable, dropped: frozenset[str], together: frozenset[str]) -> None:
        until = self._clock() + MEMORY_SECONDS
        entries = [e for e in self._rejected.pop(key, []) if e.dropped != dropped]
        self._rejected[key] = [*entries, _Entry(dropped, together, until)]
        if len(self._rejected) > MAX_ENTRIES:
            self._rejected.popitem(last=False)


def applied(turn: Turn, without: frozenset[str]) -> Turn:
    """The turn as its model takes it: an output schema that it refuses is asked for as a tool, a
    function's is not strict. What else is in `without` is left out of the body."""
    if "tools" in without:
        turn = replace(turn, tools=tuple(replace(tool, strict=False) for tool in turn.tools))
    if "output_config" in without:
        turn = replace(turn, native_output=False)
    return turn


def reported(turn: Turn, without: frozenset[str]) -> tuple[str, ...]:
    """Those that the caller has to know of."""
    quiet = UNREPORTED if turn.thinking else UNREPORTED | {"thinking"}
    return tuple(sorted(without - quiet))


def asked_parameters(turn: Turn) -> frozenset[str]:
    """What this turn sends and could do without, by the names of the Messages API. Nothing of what
    a client of that API wrote itself."""
    if turn.native is not None:
        return frozenset()
    sampling = turn.sampling
    asked: JsonObject = {
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "temperature": sampling.temperature,
        "stop_sequences": sampling.stop or None,
        "effort": turn.effort,
        "tools": True if any(tool.strict for tool in turn.tools) else None,
        "output_config": turn.output_schema if turn.native_output else None,
        "thinking": True,  # on or off: the body says which
    }
    return frozenset(name for name, value in asked.items() if value is not None)


def _names(message: str, parameter: str) -> bool:
    return re.search(rf"\b{parameter}\b", message) is not None


def _is_about_a_schema(name: str, message: str) -> bool:
    """Whether this schema was refused rather than schemas as such."""
    return name == "tools" or (name == "output_config" and "schema" in message)


def _keys(turn: Turn) -> tuple[Hashable, Hashable]:
    """The model and whether it thinks; and with that, the schemas."""
    mode = (turn.model, turn.thinking)
    schemas = [turn.output_schema, [tool.input_schema for tool in turn.tools if tool.strict]]
    return mode, (*mode, hashlib.blake2b(json.dumps(schemas).encode(), digest_size=16).digest())
