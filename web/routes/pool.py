"""`GET /v1/pool`: what the processes do, for the operator. No content, hashes only."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import get_args

from fastapi import APIRouter
from pydantic import BaseModel

from claude_cli import FirstToken, LeaseKind, State
from web.dependencies import Engine, Principal, ToolPolicy

router = APIRouter(prefix="/v1", tags=["pool"])


class Process(BaseModel):
    """`profile` is a hash of what the process is bound to; null while it is blank."""

    number: int
    pid: int | None
    state: State
    profile: str | None
    model: str | None
    age_seconds: float
    in_state_seconds: float
    uses: int
    memory_bytes: int


class Queue(BaseModel):
    """`wait_*` are of the last 100 requests; most of them waited for nothing."""

    length: int
    size: int
    wait_p50_seconds: float
    wait_max_seconds: float


class FirstTokens(BaseModel):
    """Medians of recent turns of one kind, in milliseconds: the wait for a process, what the
    process did before it called the API, and what the API took."""

    kind: LeaseKind
    turns: int
    queue_ms: float
    process_ms: float
    upstream_ms: float


class PoolState(BaseModel):
    """`counts`: turns by kind (`continue`, `reuse`, `blank`) and processes that were `started`,
    `failed` to start, `retired`, `evicted` for others; requests `refused`."""

    max_processes: int
    processes: int
    states: dict[str, int]
    counts: dict[str, int]
    queue: Queue
    first_tokens: list[FirstTokens]
    workers: list[Process]


@router.get("/pool", summary="What the Claude Code processes do")
async def pool(principal: Principal, engine: Engine, tools: ToolPolicy) -> PoolState:
    """An operator's key sees all processes, any other those that work for it now."""
    seen = None if tools.is_operator(principal) else principal.name
    splits = [_split(kind, engine.first_tokens) for kind in get_args(LeaseKind)]
    first_tokens = [split for split in splits if split is not None]
    return PoolState.model_validate({**engine.pool.snapshot(seen), "first_tokens": first_tokens})


def _split(kind: LeaseKind, recent: Iterable[FirstToken]) -> FirstTokens | None:
    turns = [turn for turn in recent if turn.kind == kind]
    if not turns:
        return None
    return FirstTokens(
        kind=kind,
        turns=len(turns),
        queue_ms=_median_ms(turn.queue for turn in turns),
        process_ms=_median_ms(turn.process for turn in turns),
        upstream_ms=_median_ms(turn.upstream for turn in turns),
    )


def _median_ms(seconds: Iterable[float]) -> float:
    return round(median(seconds) * 1000, 1)
