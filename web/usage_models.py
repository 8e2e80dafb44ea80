"""Wire models of /v1/usage: shapes only. Times are Unix seconds, days are UTC's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from stores.usage import Dimension

Day = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$", examples=["2026-11-20"])]
DIMENSIONS: tuple[Dimension, ...] = ("hour", "day", "key", "model", "dialect")


class UsageQuery(BaseModel):
    """`from` and `to` are days, both included. `by` lists the dimensions of the sums: `hour`
    (for the last 92 days), `day`, `key`, `model`, `dialect`."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    since: Annotated[Day | None, Field(alias="from")] = None
    until: Annotated[Day | None, Field(alias="to")] = None
    by: str = "day"
    key: str | None = None
    model: str | None = None
    dialect: str | None = None
    format: Literal["json", "csv"] = "json"

    @field_validator("by")
    @classmethod
    def _known(cls, by: str) -> str:
        if unknown := {name for name in by.split(",") if name} - {*DIMENSIONS}:
            raise ValueError(f"must be some of {', '.join(DIMENSIONS)}, not {min(unknown)[:32]!r}")
        return by

    @property
    def dimensions(self) -> list[Dimension]:
        return [name for name in DIMENSIONS if name in self.by.split(",")]


class UsageNumbers(BaseModel):
    """`prompt_tokens` are all that the model read: fresh, from the cache, and written to it. Means
    are over the turns that had a first token, and over all turns."""

    turns: int
    errors: int
    prompt_tokens: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    total_tokens: int
    cost_usd: float
    mean_first_token_ms: float | None
    mean_duration_ms: float | None


class UsageRow(UsageNumbers):
    """Those of `hour`, `day`, `key`, `model` and `dialect` that `by` asked for."""

    hour: str | None = None
    day: str | None = None
    key: str | None = None
    model: str | None = None
    dialect: str | None = None


class UsageReport(BaseModel):
    object: Literal["usage"] = "usage"
    by: list[Dimension]
    data: list[UsageRow]
    total: UsageNumbers


class RequestQuery(BaseModel):
    """`status` is an HTTP status, or the first digit of one: 4 is 400 to 499."""

    model_config = ConfigDict(extra="forbid")

    key: str | None = None
    model: str | None = None
    dialect: str | None = None
    status: Annotated[int | None, Field(ge=1, le=599)] = None
    session_id: str | None = None


class PageQuery(RequestQuery):
    """`before` is the `number` of the last record of the page before."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50
    before: int | None = None


class RequestApproval(BaseModel):
    """A use of a tool that waited for a person; `by` is the key that answered."""

    tool: str
    decision: Literal["approved", "denied", "expired"]
    by: str


class RequestRecord(BaseModel):
    """One request, without a word of what was asked or answered. The times to the first token are
    the wait for a process, what the process did before it asked the API, and the API's."""

    object: Literal["usage.request"] = "usage.request"
    number: int
    id: str
    at: float
    key: str
    key_id: str | None
    session_id: str | None
    response_id: str | None
    dialect: str
    model_asked: str
    model: str
    stream: bool
    answers: int
    prompt_tokens: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: float | None
    first_token_ms: float | None
    queue_ms: float | None
    process_ms: float | None
    upstream_ms: float | None
    duration_ms: float
    status: int
    error: str | None
    tools: dict[str, int]
    approvals: list[RequestApproval]


class RequestBody(BaseModel):
    """`answer` is the text so far."""

    object: Literal["usage.request.body"] = "usage.request.body"
    path: str
    request: dict[str, Any]
    answer: str


class RequestList(BaseModel):
    object: Literal["list"] = "list"
    data: list[RequestRecord]
    has_more: bool


class LimitWindow(BaseModel):
    """One limit of the caller's key."""

    name: str
    used: float
    limit: float
    resets_at: float


class SubscriptionWindow(BaseModel):
    """A window of the Claude subscription, as Claude Code reported it last. `utilization` is a
    share of 1, None where it was not reported."""

    name: str
    status: str
    utilization: float | None
    resets_at: float | None
    reported_at: float


class UsageLimits(BaseModel):
    """`key` are the limits of the caller's key, `subscription` the windows of Claude's."""

    object: Literal["usage.limits"] = "usage.limits"
    key: list[LimitWindow]
    subscription: list[SubscriptionWindow]
