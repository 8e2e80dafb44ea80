"""`/v1/sessions`: make, list, read, clear, fork, export and delete the caller's own sessions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import accumulate
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from core import events
from core.conversation import JsonObject
from core.errors import InvalidRequest, NotFound, SessionConflict, SessionNotFound
from dialects.chat.history import wire_messages
from models import ErrorBody
from session_manager import check_id, new_id
from stores.protocols import NewSession, Session, Stats, StoredMessage
from stores.usage import UsageFilter, UsageSum
from web.dependencies import Catalogue, Engine, Principal, Sessions
from web.dependencies import Usage as Recorder
from web.session_models import (
    AgentTold,
    CreateSession,
    ForkSession,
    SessionDay,
    SessionDeleted,
    SessionDetail,
    SessionInterrupted,
    SessionList,
    SessionStats,
    SessionSummary,
    SessionUsage,
    TellAgent,
)

NO_AGENT = "No agent is at work in this session on this server."
ERRORS = (400, 401, 404, 409, 429, 503)

router = APIRouter(
    prefix="/v1/sessions",
    tags=["sessions"],
    responses={status: {"model": ErrorBody} for status in ERRORS},
)


@router.post("", summary="Make a session before its first turn")
async def create_session(
    principal: Principal, sessions: Sessions, body: CreateSession | None = None
) -> SessionSummary:
    asked = body or CreateSession()
    new = NewSession(
        owner=principal.name,
        id=new_id() if asked.id is None else check_id(asked.id, "id"),
        system=asked.system_prompt or None,
        metadata=asked.metadata or {},
        ttl_seconds=asked.ttl_seconds,
    )
    return summary(await sessions.store.create(new))


@router.get("", summary="The caller's sessions, newest first, without their texts")
async def list_sessions(
    principal: Principal,
    sessions: Sessions,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str | None, Query(description="The last id of the page before")] = None,
) -> SessionList:
    try:
        found = await sessions.store.page(principal.name, limit + 1, after)
    except SessionNotFound as error:
        raise InvalidRequest(error.message, param="after") from None
    data = [summary(session) for session in found[:limit]]
    return SessionList(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=len(found) > limit,
    )


@router.get("/stats", summary="How much is stored, and what was used by day")
async def session_stats(
    principal: Principal,
    sessions: Sessions,
    usage: Recorder,
    days: Annotated[int, Query(ge=1, le=366)] = 30,
) -> SessionStats:
    """The days are a view of the usage ledger: what was written to sessions."""
    await usage.flush()
    stats = await sessions.store.stats(principal.name)
    stored = UsageFilter(key=principal.name, stored=True)
    [(_, total)] = await usage.ledger.usage(stored)
    by_day = await usage.ledger.usage(stored, ["day"])
    days_back = reversed(by_day[-days:])
    return _stats(stats, total, [_day(day, sums) for (day,), sums in days_back])


def _stats(stats: Stats, total: UsageSum, days: list[SessionDay]) -> SessionStats:
    return SessionStats(
        active_sessions=stats.active,
        expired_sessions=stats.expired,
        messages=stats.messages,
        bytes=stats.bytes,
        turns=total.turns,
        usage=_usage_of(total),
        cost_usd=round(total.cost_usd, 10),
        days=days,
    )


@router.get("/{session_id}", summary="A session with its messages")
async def get_session(
    session_id: str, principal: Principal, sessions: Sessions, catalogue: Catalogue
) -> SessionDetail:
    session, stored = await sessions.store.read(principal.name, check_id(session_id))
    messages = [wire for kept in stored for wire in wire_messages(kept.message)]
    answers = [kept.answer for kept in stored if kept.answer is not None]
    return SessionDetail(
        **summary(session).model_dump(),
        system_prompt=session.system,
        context_window=catalogue.context_window(session.model) if session.model else None,
        context_used=_tokens(answers[-1].usage) if answers else None,
        messages=messages,
    )


def _tokens(usage: events.Usage) -> int:
    return usage.prompt_tokens + usage.output_tokens


@router.delete("/{session_id}", summary="Forget a session")
async def delete_session(
    session_id: str, principal: Principal, sessions: Sessions
) -> SessionDeleted:
    await sessions.delete(principal.name, check_id(session_id))
    return SessionDeleted(id=session_id)


@router.post("/{session_id}/clear", summary="Drop the messages, keep the rest")
async def clear_session(
    session_id: str, principal: Principal, sessions: Sessions
) -> SessionSummary:
    return summary(await sessions.clear(principal.name, check_id(session_id)))


@router.post("/{session_id}/interrupt", summary="Stop the agent that is at work, keep its work")
async def interrupt_session(
    session_id: str, principal: Principal, engine: Engine
) -> SessionInterrupted:
    """Its answer ends with what it said and did so far, and is stored as any other."""
    if not engine.interrupt(principal.name, check_id(session_id)):
        raise NotFound(NO_AGENT, param="session_id")
    return SessionInterrupted(id=session_id)


@router.post("/{session_id}/tell", summary="Tell the agent that is at work something")
async def tell_session(
    session_id: str, body: TellAgent, principal: Principal, engine: Engine
) -> AgentTold:
    """Answers when the model has it, which is before its next step: after the tools that run. It
    is stored with the message that the agent answers."""
    told = await engine.tell(principal.name, check_id(session_id), body.content)
    if told is None:
        raise NotFound(NO_AGENT, param="session_id")
    if not told:
        raise SessionConflict("The agent ended before it could take the message.")
    return AgentTold(id=session_id)


@router.post("/{session_id}/fork", summary="Go on from an earlier message in a new session")
async def fork_session(
    session_id: str, principal: Principal, sessions: Sessions, body: ForkSession | None = None
) -> SessionSummary:
    asked = body or ForkSession()
    new = NewSession(
        owner=principal.name,
        id=new_id() if asked.id is None else check_id(asked.id, "id"),
        metadata=asked.metadata or {},
        ttl_seconds=asked.ttl_seconds,
    )
    keep = None
    if asked.at is not None:
        _, stored = await sessions.store.read(principal.name, check_id(session_id))
        keep = _native_count(stored, asked.at)
    return summary(await sessions.store.fork(principal.name, check_id(session_id), new, keep))


@router.get(
    "/{session_id}/export",
    summary="The messages, one JSON object a line",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/jsonl": {}}}},
)
async def export_session(
    session_id: str, principal: Principal, sessions: Sessions
) -> StreamingResponse:
    session, stored = await sessions.store.read(principal.name, check_id(session_id))
    return StreamingResponse(
        _lines(session, stored),
        media_type="application/jsonl",
        headers={"content-disposition": f'attachment; filename="{session_id}.jsonl"'},
    )


def _lines(session: Session, stored: list[StoredMessage]) -> Iterator[str]:
    if session.system is not None:
        yield _line({"role": "system", "content": session.system})
    for kept in stored:
        for message in wire_messages(kept.message):
            yield _line({k: v for k, v in message.items() if k != "reasoning_content"})


def _line(message: JsonObject) -> str:
    return json.dumps(message) + "\n"


def _native_count(stored: list[StoredMessage], at: int) -> int:
    """How many stored messages the first `at` of those shown are: one that holds several tool
    results is shown as several."""
    places = [0, *accumulate(len(wire_messages(kept.message)) for kept in stored)]
    if at not in places:
        raise InvalidRequest(
            f"There is no place to fork at {at}: it is beyond the end, or between the results of "
            "one answer's calls.",
            param="at",
        )
    return places.index(at)


def summary(session: Session) -> SessionSummary:
    return SessionSummary(
        id=session.id,
        created_at=int(session.created_at),
        last_used_at=int(session.used_at),
        expires_at=None if session.expires_at is None else int(session.expires_at),
        ttl_seconds=session.ttl_seconds,
        model=session.model,
        message_count=session.message_count,
        turn_count=session.turn_count,
        bytes=session.bytes,
        usage=_usage(session.usage),
        cost_usd=round(session.cost_usd, 10),
        metadata=dict(session.metadata),
    )


def _usage(usage: events.Usage) -> SessionUsage:
    return SessionUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.prompt_tokens + usage.output_tokens,
    )


def _usage_of(sums: UsageSum) -> SessionUsage:
    return SessionUsage(
        prompt_tokens=sums.prompt_tokens,
        completion_tokens=sums.output_tokens,
        total_tokens=sums.tokens,
    )


def _day(date: str, sums: UsageSum) -> SessionDay:
    return SessionDay(
        date=date,
        turns=sums.turns,
        messages=sums.messages,
        usage=_usage_of(sums),
        cost_usd=round(sums.cost_usd, 10),
    )
