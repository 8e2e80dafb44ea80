"""How often each tool was used since the server started: by principal, bounded, nothing of what it
was used for."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from core.events import BuiltinToolResult, BuiltinToolUse, Event
from core.turn import Turn
from turns.choices import Run

MOST_PRINCIPALS = 1_000
MOST_TOOLS = 200
DENIED = re.compile(r"Permission to use \S+ .*has been denied", re.DOTALL)
"""The CLI's message to the model that no rule allows a use; there is no field for it."""


@dataclass(slots=True)
class Counts:
    """`errors` counts uses that failed, `denials` those of them that no rule allowed."""

    uses: int = 0
    errors: int = 0
    denials: int = 0


class ToolStats:
    """Counts by principal and tool. The principal that was seen longest ago is forgotten first;
    the tools of a principal that has too many are not counted any more."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, dict[str, Counts]] = OrderedDict()

    def of(self, principal: str) -> dict[str, Counts]:
        return self._counts.get(principal, {})

    def watched(self, run: Run) -> Run:
        """Runs turns as `run` does, and counts what is used in them. What a session gives again is
        not run, so it does not count."""

        def watch(turn: Turn) -> AsyncGenerator[Event, None]:
            events = run(turn)
            return events if turn.builtin_tools is None else self._watch(turn.principal, events)

        return watch

    async def _watch(
        self, principal: str, events: AsyncGenerator[Event, None]
    ) -> AsyncGenerator[Event, None]:
        """The same events. Closing it closes them."""
        names: dict[str, str] = {}
        async with aclosing(events):
            async for event in events:
                self._count(principal, event, names)
                yield event

    def _count(self, principal: str, event: Event, names: dict[str, str]) -> None:
        match event:
            case BuiltinToolUse(id, name):
                names[id] = name
                self._of_tool(principal, name).uses += 1
            case BuiltinToolResult(id, content, True) if id in names:
                counts = self._of_tool(principal, names[id])
                counts.errors += 1
                counts.denials += any(
                    part["type"] == "text" and DENIED.match(part["text"]) is not None
                    for part in content
                )

    def _of_tool(self, principal: str, name: str) -> Counts:
        theirs = self._counts.setdefault(principal, {})
        self._counts.move_to_end(principal)
        if len(self._counts) > MOST_PRINCIPALS:
            self._counts.popitem(last=False)
        if name not in theirs and len(theirs) >= MOST_TOOLS:
            return Counts()
        return theirs.setdefault(name, Counts())
