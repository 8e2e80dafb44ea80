"""What a CLI process is bound to for life: requests for the same may use it again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass, field
from typing import Any

from core.turn import FunctionTool, ToolGrant


@dataclass(frozen=True, slots=True)
class LaunchProfile:
    """What a process is bound to. Plain turns have the empty one in common; under a login they are
    bound to the system prompt, which the CLI writes itself there.

    A turn with built-in tools has a process that was started for its `grant`, bound to the system
    prompt and the caller's functions. It is never shared: `owner` names whose traces are in it.
    Two profiles are equal where the model sees the same bytes: `functions_json` tells schemas apart
    that Python takes for equal (`1`, `1.0` and `true`; keys in another order).
    """

    system: str = ""
    grant: ToolGrant | None = None
    functions: tuple[FunctionTool, ...] = field(default=(), compare=False, repr=False)
    functions_json: str = "[]"
    owner: str = ""

    @classmethod
    def of_grant(
        cls, grant: ToolGrant, system: str, functions: tuple[FunctionTool, ...], owner: str
    ) -> LaunchProfile:
        seen = [[tool.name, tool.description, tool.input_schema] for tool in functions]
        return cls(system, grant, functions, json.dumps(seen), owner)

    def instructions(self) -> dict[str, Any]:
        """The fields of `initialize` with the model's instructions and the servers it may call."""
        grant = self.grant
        if grant is None:
            return {"systemPrompt": self.system}
        system = "\n\n".join(text for text in (grant.prompt, self.system) if text)
        key = "appendSystemPrompt" if grant.claude_code else "systemPrompt"
        agents = {"agents": json.loads(grant.sub_agents)} if grant.sub_agents else {}
        return {key: system, **agents}

    @property
    def digest(self) -> str:
        """A name for logs and operators, from which nothing can be read."""
        parts = [self.system, self.functions_json, self.owner]
        text = json.dumps([*parts, str(self.grant and astuple(self.grant))])
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


PLAIN = LaunchProfile()
