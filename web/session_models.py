"""Wire models of /v1/sessions: shapes only, no logic. Times are Unix seconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MetadataKey = Annotated[str, StringConstraints(max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)]
Ttl = Annotated[float, Field(ge=0, le=10 * 365 * 86_400, allow_inf_nan=False)]


class Strict(BaseModel):
    """Only this server defines these bodies: an unknown field is a mistake."""

    model_config = ConfigDict(extra="forbid")


class CreateSession(Strict):
    """`ttl_seconds` 0 is never; without it the server's default holds."""

    id: str | None = None
    system_prompt: str | None = None
    metadata: Metadata | None = None
    ttl_seconds: Ttl | None = None


class ForkSession(Strict):
    """The new session begins with the first `at` of the source's `messages`; without, with all."""

    id: str | None = None
    at: int | None = Field(None, ge=0)
    metadata: Metadata | None = None
    ttl_seconds: Ttl | None = None


class SessionUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class SessionSummary(BaseModel):
    """A session without a word of what was said in it. Usage and cost are of all that was ever
    asked; the counts are of what is stored."""

    id: str
    object: Literal["session"] = "session"
    created_at: int
    last_used_at: int
    expires_at: int | None
    ttl_seconds: float | None
    model: str | None
    message_count: int
    turn_count: int
    bytes: int
    usage: SessionUsage
    cost_usd: float
    metadata: dict[str, str]


class SessionDetail(SessionSummary):
    """A session with its messages, in the shape of chat completions. `context_used` is what the
    last turn took of the model's `context_window`, its answer included, in tokens."""

    context_window: int | None
    context_used: int | None
    system_prompt: str | None
    messages: list[dict[str, Any]]


class SessionList(BaseModel):
    object: Literal["list"] = "list"
    data: list[SessionSummary]
    first_id: str | None
    last_id: str | None
    has_more: bool


class SessionInterrupted(BaseModel):
    id: str
    object: Literal["session.interrupted"] = "session.interrupted"


class TellAgent(Strict):
    """What the agent is told, as the user's words."""

    content: Annotated[str, StringConstraints(min_length=1, max_length=100_000)]


class AgentTold(BaseModel):
    id: str
    object: Literal["session.told"] = "session.told"


class SessionDeleted(BaseModel):
    id: str
    object: Literal["session.deleted"] = "session.deleted"
    deleted: Literal[True] = True


class SessionDay(BaseModel):
    """One day, in UTC: what was asked then."""

    date: str
    turns: int
    messages: int
    usage: SessionUsage
    cost_usd: float


class SessionStats(BaseModel):
    """`active_sessions`, `messages` and `bytes` are of what is stored now; `expired_sessions` of
    the last 30 days; the rest sums all turns that ever were, deleted sessions' too."""

    object: Literal["session.stats"] = "session.stats"
    active_sessions: int
    expired_sessions: int
    messages: int
    bytes: int
    turns: int
    usage: SessionUsage
    cost_usd: float
    days: list[SessionDay]
