"""`/v1/usage`: what was used, by whom, and how much is left. Operators see all keys', others their
own."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from core import sse
from core.errors import NotFound, PermissionDenied
from models import ErrorBody
from stores.usage import Numbered, TurnFilter, TurnRecord, UsageFilter, UsageLedger, UsageSum
from turns.usage import UsageRecorder
from web.csv_text import csv_text
from web.dependencies import Bodies, Budgets, Engine, Operator, Principal, Usage, VisibleKey
from web.usage_models import (
    LimitWindow,
    PageQuery,
    RequestBody,
    RequestList,
    RequestQuery,
    RequestRecord,
    SubscriptionWindow,
    UsageLimits,
    UsageNumbers,
    UsageQuery,
    UsageReport,
    UsageRow,
)

ERRORS = (400, 401, 403, 404, 429, 503)
TEXT = {"schema": {"type": "string"}}
CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": TEXT}}}
NUMBERS = tuple(UsageNumbers.model_fields)
POLL_SECONDS = 1.0
OVERLAP = 200
"""Records that are looked at again: servers that write at once may commit out of order."""

router = APIRouter(
    prefix="/v1/usage",
    tags=["usage"],
    responses={status: {"model": ErrorBody} for status in ERRORS},
)


@router.get("", response_model=UsageReport, responses=CSV, summary="What was used, in sums")
async def usage(
    principal: Principal, visible: VisibleKey, usage: Usage, query: Annotated[UsageQuery, Query()]
) -> UsageReport | Response:
    """As JSON, or as CSV with `format=csv`. Another key's is for operators."""
    await usage.flush()
    by = query.dimensions
    wanted = _usage_filter(query, _key(query.key, visible))
    found = await usage.ledger.usage(wanted, by)
    if query.format == "csv":
        rows = [(*names, *numbers(sums).model_dump().values()) for names, sums in found]
        return _attachment(csv_text((*by, *NUMBERS), rows))
    data = [
        UsageRow(**dict(zip(by, names, strict=True)), **numbers(sums).model_dump())
        for names, sums in found
    ]
    return UsageReport(by=by, data=data, total=numbers(_total(found)))


@router.get("/requests", summary="The last requests, newest first")
async def list_requests(
    principal: Principal, visible: VisibleKey, usage: Usage, query: Annotated[PageQuery, Query()]
) -> RequestList:
    await usage.flush()
    wanted = _turn_filter(query, visible)
    found = await usage.ledger.recent(wanted, query.limit + 1, before=query.before)
    data = [record_of(*each) for each in found[: query.limit]]
    return RequestList(data=data, has_more=len(found) > query.limit)


@router.get(
    "/requests/live",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": TEXT}}},
    summary="Requests as they end, as server-sent events",
)
async def live_requests(
    principal: Principal, visible: VisibleKey, usage: Usage, query: Annotated[RequestQuery, Query()]
) -> StreamingResponse:
    """Each event's data is one request. Those of all servers on one database come, within about two
    seconds."""
    events = _live(usage, _turn_filter(query, visible))
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


@router.get("/requests/{request_id}", summary="One request, by its x-request-id")
async def get_request(
    request_id: str, principal: Principal, visible: VisibleKey, usage: Usage
) -> RequestRecord:
    await usage.flush()
    found = await usage.ledger.find(request_id)
    if found is None or visible not in (None, found[1].key):
        raise NotFound(f"There is no request {request_id[:64]!r}.")
    return record_of(*found)


@router.get("/requests/{request_id}/body", summary="What was asked and answered, with LOG_BODIES")
async def get_body(request_id: str, operator: Operator, bodies: Bodies) -> RequestBody:
    """For operators, of the last 200 requests to this server; long texts are cut."""
    found = bodies.find(request_id)
    if found is None:
        raise NotFound("This server has not kept that body (LOG_BODIES).")
    return RequestBody(path=found.path, request=found.request, answer=found.answer)


@router.get("/limits", summary="What is left: of the caller's key, and of the subscription")
async def limits(principal: Principal, budgets: Budgets, engine: Engine) -> UsageLimits:
    windows = await budgets.windows(principal) if principal.limits else []
    key = [
        LimitWindow(name=w.name, used=w.used, limit=w.limit, resets_at=w.resets_at) for w in windows
    ]
    return UsageLimits(key=key, subscription=subscription(engine))


def subscription(engine: Engine) -> list[SubscriptionWindow]:
    return [
        SubscriptionWindow(
            name=window.name,
            status=window.status,
            utilization=window.utilization,
            resets_at=window.resets_at,
            reported_at=window.reported_at,
        )
        for window in engine.windows.all()
    ]


async def _live(usage: UsageRecorder, wanted: TurnFilter) -> AsyncIterator[bytes]:
    seen: OrderedDict[int, None] = OrderedDict()
    newest = await usage.ledger.recent(wanted, OVERLAP)
    seen.update((number, None) for number, _ in reversed(newest))
    yield sse.HEARTBEAT
    sent_at = time.monotonic()
    while True:
        await asyncio.sleep(POLL_SECONDS)
        for number, record in await _unseen(usage.ledger, wanted, seen):
            sent_at = time.monotonic()
            yield sse.data_frame(record_of(number, record).model_dump_json().encode())
        if time.monotonic() - sent_at > 15:
            sent_at = time.monotonic()
            yield sse.HEARTBEAT


async def _unseen(
    ledger: UsageLedger, wanted: TurnFilter, seen: OrderedDict[int, None]
) -> list[Numbered]:
    """The oldest first."""
    lowest = next(iter(seen), 1) - 1
    found = [n for n in await ledger.recent(wanted, OVERLAP, after=lowest) if n[0] not in seen]
    for number, _ in reversed(found):
        seen[number] = None
    while len(seen) > OVERLAP:
        seen.popitem(last=False)
    return found[::-1]


def record_of(number: int, record: TurnRecord) -> RequestRecord:
    fields = {name: getattr(record, name) for name in RECORD_FIELDS}
    spent = record.usage
    return RequestRecord(
        number=number,
        prompt_tokens=spent.prompt_tokens,
        input_tokens=spent.input_tokens,
        cache_read_tokens=spent.cache_read_tokens,
        cache_write_tokens=spent.cache_write_tokens,
        output_tokens=spent.output_tokens,
        reasoning_tokens=spent.reasoning_tokens,
        **fields,
    )


RECORD_FIELDS = tuple(
    name for name in RequestRecord.model_fields if name in TurnRecord.__dataclass_fields__
)


def numbers(sums: UsageSum) -> UsageNumbers:
    return UsageNumbers(
        turns=sums.turns,
        errors=sums.errors,
        prompt_tokens=sums.prompt_tokens,
        input_tokens=sums.input_tokens,
        cache_read_tokens=sums.cache_read_tokens,
        cache_write_tokens=sums.cache_write_tokens,
        output_tokens=sums.output_tokens,
        reasoning_tokens=sums.reasoning_tokens,
        total_tokens=sums.tokens,
        cost_usd=round(sums.cost_usd, 10),
        mean_first_token_ms=_mean(sums.first_token_ms, sums.first_tokens),
        mean_duration_ms=_mean(sums.duration_ms, sums.turns),
    )


def _mean(total: float, count: int) -> float | None:
    return round(total / count, 1) if count else None


def _total(found: list[tuple[tuple[str, ...], UsageSum]]) -> UsageSum:
    total = UsageSum()
    for _, sums in found:
        total.add(sums)
    return total


def _key(asked: str | None, visible: str | None) -> str | None:
    """Raises PermissionDenied for another's."""
    if visible is not None and asked not in (None, visible):
        raise PermissionDenied(
            "Only an operator's API key may see other keys' usage.", code="not_the_operator"
        )
    return asked if visible is None else visible


def _usage_filter(query: UsageQuery, key: str | None) -> UsageFilter:
    return UsageFilter(
        key=key, model=query.model, dialect=query.dialect, since=query.since, until=query.until
    )


def _turn_filter(query: RequestQuery, visible: str | None) -> TurnFilter:
    return TurnFilter(
        key=_key(query.key, visible),
        model=query.model,
        dialect=query.dialect,
        status=query.status,
        session_id=query.session_id,
    )


def _attachment(text: str) -> Response:
    headers = {"content-disposition": 'attachment; filename="usage.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
