"""Which parameters a model refuses, learnt from its own words.

Models differ, and no list says how. A 400 of the API that names a parameter of ours is answered
by asking again without it; from then on that model is not sent it (`docs/claude-cli.md`, "Native
parameters"). The API has no field for the name, so its message must do.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace

from core.errors import InvalidRequest
from core.turn import Turn
from engine.extra_body import answers_by_tool, asked_parameters

KEPT_MODES = 1_000

ORDER = (
    "top_p",
    "temperature",
    "stop_sequences",
    "effort",
    "tools",
    "tool_choice",
    "output_config",
    "thinking",
)
"""What may be left out; the first of these that a message names is the one that is in the way.
Never `max_tokens`, nor a choice of tools that the caller made: without them an answer would
betray the request."""

UNREPORTED = frozenset({"stop_sequences", "tool_choice"})
"""Refused or not, these are done: we watch for the stops, and a choice of tools is only left out
where it was ours."""


class Refusals:
    """What each model has refused so far; the models least recently used are forgotten."""

    def __init__(self) -> None:
        self._refused: OrderedDict[Hashable, set[str]] = OrderedDict()

    def adapted(self, turn: Turn) -> Turn:
        """The turn as its model takes it: an output schema that it refuses is asked for as a tool,
        a function's is not strict."""
        refused = self.without(turn)
        if "tools" in refused:
            turn = replace(turn, tools=tuple(replace(tool, strict=False) for tool in turn.tools))
        if "output_config" in refused:
            turn = replace(turn, native_output=False)
        return turn

    def without(self, turn: Turn) -> frozenset[str]:
        """The parameters that are not to be sent with this turn."""
        known = [self._refused[key] for key in _keys(turn) if key in self._refused]
        return frozenset().union(*known) & asked(turn)

    def dropped(self, turn: Turn) -> tuple[str, ...]:
        """Those of them that the caller has to be told of."""
        return tuple(sorted(self.without(turn) - UNREPORTED))

    def learn(self, turn: Turn, error: InvalidRequest) -> bool:
        """Notes what this error refuses; False where it names nothing that can be left out."""
        candidates = asked(turn) - self.without(turn)
        name = next((n for n in ORDER if n in candidates and _names(error.message, n)), None)
        if name is None:
            return False
        key = _keys(turn)[1 if _is_about_a_schema(name, error.message) else 0]
        self._refused.setdefault(key, set()).add(name)
        self._refused.move_to_end(key)
        if len(self._refused) > KEPT_MODES:
            self._refused.popitem(last=False)
        return True


def asked(turn: Turn) -> frozenset[str]:
    """What this turn sends and could do without, by the names of the Messages API."""
    names = set(asked_parameters(turn))
    if not any(tool.strict for tool in turn.tools):
        names.discard("tools")  # the CLI would send much the same
    if not answers_by_tool(turn):
        names.discard("tool_choice")
    return frozenset(names & set(ORDER))


def blamed(turn: Turn, message: str) -> str | None:
    """The one parameter that this turn sets and the API's message names, if it is just one."""
    named = [name for name in asked_parameters(turn) if _names(message, name)]
    return named[0] if len(named) == 1 else None


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
