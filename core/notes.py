"""What the engine writes down of a turn beside its events."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.events import Usage


@dataclass(slots=True)
class TurnNotes:
    """Filled while a turn runs, and complete once its events are closed: also for a turn that fails
    or whose client leaves, which has no `Finished`.

    `usage` is what the API reported so far, `cost_usd` None where the CLI reported none. The
    seconds until the first token are those in the queue, in the process, and at the API; None
    before it. `approvals` are the uses of tools that a person was asked for, with the answers.
    """

    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    queue_seconds: float | None = None
    process_seconds: float | None = None
    upstream_seconds: float | None = None
    approvals: list[dict[str, str]] = field(default_factory=list)

    def spend(self, usage: Usage, cost_usd: float | None) -> None:
        """Adds one question to the model: a turn may take several."""
        self.usage = self.usage + usage
        if cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + cost_usd

    def take(self, other: TurnNotes) -> None:
        """Moves here what `other` has."""
        self.spend(other.usage, other.cost_usd)
        self.queue_seconds, other.queue_seconds = other.queue_seconds, None
        self.process_seconds, other.process_seconds = other.process_seconds, None
        self.upstream_seconds, other.upstream_seconds = other.upstream_seconds, None
        other.usage, other.cost_usd = Usage(), None
        self.approvals += other.approvals
        other.approvals = []
