"""What a worker is asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.approval import Approve
from core.conversation import JsonObject
from core.notes import TurnNotes


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: its model and its whole body. `answer_tool` and `api_events` are for the
    `AnswerReader`; `dropped` for its `Started`; what it takes is written to `notes`. One
    that `is_large` takes long to write down. `approve` asks a person, None is always a no.
    `headers` are lines of the upstream request's own headers, None for those of the process."""

    model: str
    body: JsonObject
    answer_tool: str | None = None
    dropped: tuple[str, ...] = ()
    api_events: bool = False
    is_large: bool = False
    headers: str | None = None
    approve: Approve | None = None
    notes: TurnNotes = field(default_factory=TurnNotes, compare=False)
