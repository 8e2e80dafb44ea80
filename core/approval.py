"""What a person is asked before an agent uses a tool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from core.conversation import JsonObject


@dataclass(frozen=True, slots=True)
class ToolApproval:
    """One use of a tool that waits for a person. `use_id` is the model's id of the use."""

    use_id: str
    tool: str
    input: JsonObject = field(hash=False)


Approve = Callable[[ToolApproval], Awaitable[bool]]
"""Whether the tool may be used. Waits for the answer; may be cancelled, which means no."""
