"""What a CLI process is bound to for life: whoever asks for the same may have it again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass, field

from core.turn import FunctionTool, ToolGrant


@dataclass(frozen=True, slots=True)
class LaunchProfile:
    """What a process is bound to for life. Never shared between two principals.

    Two profiles are equal where the model sees the same bytes: `tools_json` tells schemas apart
    that Python takes for equal (`1`, `1.0` and `true`; keys in another order). Made by `of`.
    """

    principal: str
    system: str
    tools_json: str
    tools: tuple[FunctionTool, ...] = field(default=(), compare=False, repr=False)
    answers_by_tool: bool = False
    """Whether the process has the CLI's tool for structured answers, extra_body.ANSWER_TOOL."""

    own_tools: ToolGrant | None = None
    """What the process is started with of Claude Code's own tools."""

    @classmethod
    def of(
        cls,
        principal: str,
        system: str,
        tools: tuple[FunctionTool, ...] = (),
        *,
        answers_by_tool: bool = False,
        own_tools: ToolGrant | None = None,
    ) -> LaunchProfile:
        seen = [[tool.name, tool.description, tool.input_schema] for tool in tools]
        return cls(principal, system, json.dumps(seen), tools, answers_by_tool, own_tools)

    @property
    def digest(self) -> str:
        """A name for logs and operators, from which nothing can be read."""
        parts = [self.principal, self.system, self.tools_json, self.answers_by_tool]
        text = json.dumps([*parts, str(self.own_tools and astuple(self.own_tools))])
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


DEFAULT_PROFILE = LaunchProfile.of("local", "")
"""A client without a key, a system prompt and tools: the process that was asked for the models
serves it next."""
