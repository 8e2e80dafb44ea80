"""The request of `POST /v1/messages`: only what this server itself must know has a type.

Everything else is taken as it was written, unknown fields included: the API decides. Source:
https://docs.anthropic.com/en/api/messages.
"""

from __future__ import annotations

from typing import Any, Literal

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


class TokenCount(BaseModel):
    """The answer of `POST /v1/messages/count_tokens`."""

    input_tokens: int


class Open(BaseModel):
    """May hold what the API adds."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class AnthropicMessage(Open):
    """The answer without `stream`. Blocks and usage are the API's own, as it wrote them."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[dict[str, Any]]
    stop_reason: str
    stop_sequence: str | None
    usage: dict[str, Any]


class ErrorCause(BaseModel):
    type: str
    message: str


class AnthropicError(BaseModel):
    """Every error of this API, and the event that ends a stream which failed."""

    type: Literal["error"]
    error: ErrorCause
    request_id: str | None


class MessagesEvent(Open):
    """One event of a stream, which its SSE frame is named by."""

    type: Literal[
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    ]
