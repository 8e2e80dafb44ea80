"""The request of `POST /v1/messages`: only what this server itself must know has a type.

Everything else is taken as it was written, unknown fields included: the API decides. Source:
https://docs.anthropic.com/en/api/messages.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models import Names, Short, ToolActivity


class MessagesRequest(BaseModel):
    """The body. The fields from `session_id` on are this server's own, and none of Anthropic's has
    such a name; they may stand in headers instead (`TurnHeaders`). MCP servers of this server are
    asked for by header only, since `mcp_servers` is a field of the API."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str = ""
    messages: list[Any]
    system: Any = None
    stream: bool | None = None
    session_id: str | None = None
    enable_tools: bool | None = None
    claude_tools: Names | None = None
    disallowed_tools: Names | None = None
    max_turns: int | None = Field(None, ge=1)
    max_budget_usd: float | None = Field(None, gt=0, allow_inf_nan=False)
    permission_mode: str | None = None
    cwd: Short | None = None
    tool_activity: ToolActivity | None = None

    def others(self) -> dict[str, Any]:
        """The fields of the API beside `model`, `messages`, `system` and `stream`, as they are."""
        return dict(self.model_extra or {})


class CountTokensRequest(MessagesRequest):
    """The body of `POST /v1/messages/count_tokens`, which is the same without an answer."""
