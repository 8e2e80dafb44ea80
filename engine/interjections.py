"""What the user says while an agent works.

The CLI takes a message that comes during a turn into the conversation before it asks the model
again; one that comes too late begins a turn of its own. It tells of each, by its id, when it is
`queued`, `started` and `completed`. Source: `docs/claude-cli.md`, "Messages during a turn".
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field

from core.errors import SessionBusy

MOST_WAITING = 16


@dataclass(slots=True)
class Interjection:
    """One message; `delivered` is True when the model has it, False when it never will."""

    text: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    delivered: asyncio.Future[bool] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Interjections:
    """Those of one turn after the other. They are taken between `open` and `end`; `heard` are the
    texts that reached the model, in their order."""

    def __init__(self) -> None:
        self._is_open = False
        self._waiting: dict[str, Interjection] = {}
        self.heard: tuple[str, ...] = ()

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    def open(self) -> None:
        self._is_open, self.heard = True, ()

    def begin(self, text: str) -> Interjection | None:
        """None where no turn takes it any more. Raises SessionBusy."""
        if not self._is_open:
            return None
        if len(self._waiting) >= MOST_WAITING:
            raise SessionBusy(f"{MOST_WAITING} messages wait for the agent already.")
        told = Interjection(text)
        self._waiting[told.id] = told
        return told

    def follow(self, id: str, state: str) -> None:
        """What the CLI says of a line that it was sent."""
        if state == "started" and (told := self._waiting.pop(id, None)) is not None:
            self.heard += (told.text,)
            told.delivered.set_result(True)

    def end(self) -> list[str]:
        """The turn is over, and what still waits is lost: the ids of that."""
        self._is_open = False
        for told in self._waiting.values():
            told.delivered.set_result(False)
        lost = [*self._waiting]
        self._waiting.clear()
        return lost
