"""What only the page at `/` asks for, and `/docs`. Not part of the API."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from fastapi import APIRouter, Request, Response

from core.errors import GatewayError
from stores.usage import UsageFilter, day_of
from web.dashboard import DOCS_PATH, DOCS_POLICY, page
from web.dependencies import Principal, State, VisibleKey
from web.routes.health import cli_check, credentials_check
from web.routes.usage import numbers, subscription

SHOWN_RESPONSES = 100

router = APIRouter(include_in_schema=False)


@router.post("/sign-in", status_code=204)
async def sign_in(request: Request, principal: Principal) -> Response:
    """Takes the key from the header that every other request has it in, for a cookie: a form of
    another site cannot send that header."""
    headers = {"set-cookie": request.app.state.sign_in.cookie(principal, request.scope)}
    return Response(status_code=204, headers=headers)


@router.post("/sign-out", status_code=204)
async def sign_out(request: Request, principal: Principal) -> Response:
    headers = {"set-cookie": request.app.state.sign_in.no_cookie(request.scope)}
    return Response(status_code=204, headers=headers)


@router.get(DOCS_PATH)
async def docs() -> Response:
    """Swagger UI from this server alone."""
    return page("docs.html", policy=DOCS_POLICY)


@router.get("/page/overview")
async def overview(state: State, principal: Principal, visible: VisibleKey) -> dict[str, Any]:
    """All that the overview shows, in one answer: it asks every few seconds."""
    await state.usage.flush()
    return {
        "health": [
            cli_check(state.engine),
            credentials_check(state.credentials, state.engine.refusal),
        ],
        **(await _used(state, visible)),
        **(_server(state) if visible is None else NOTHING),
        "first_tokens": _first_tokens(state),
        "subscription": subscription(state.engine),
        "limits": await _limits(state, principal),
    }


@router.get("/page/responses")
async def latest_responses(state: State, principal: Principal) -> dict[str, Any]:
    """The newest responses that the key has stored: OpenAI's API has no list of them."""
    found = await state.background.store.latest(principal.name, SHOWN_RESPONSES)
    names = ("id", "created_at", "model", "status", "previous_response_id", "conversation", "usage")
    return {"data": [{name: each.body.get(name) for name in names} for each in found]}


NOTHING: dict[str, Any] = {"credentials": None, "running": None, "pool": None}


async def _used(state: State, visible: str | None) -> dict[str, Any]:
    now, ledger = time.time(), state.usage.ledger
    [(_, today)] = await ledger.usage(UsageFilter(key=visible, since=day_of(now)))
    lately = UsageFilter(key=visible, since=day_of(now - 86_400))
    hours = await ledger.usage(lately, ["hour"])
    return {
        "today": numbers(today),
        "hours": [{"hour": hour, **numbers(sums).model_dump()} for (hour,), sums in hours],
    }


def _server(state: State) -> dict[str, Any]:
    """For operators."""
    return {
        "credentials": _credentials(state),
        "running": state.usage.running.total(),
        "pool": state.engine.pool.snapshot(),
    }


def _credentials(state: State) -> dict[str, Any]:
    found = state.credentials
    return {"method": found.method, "detected_by": found.detected_by, "hint": found.hint}


def _first_tokens(state: State) -> dict[str, float | None]:
    """Medians of the last 100 turns, in milliseconds."""
    recent = list(state.engine.first_tokens)
    parts = ("queue", "process", "upstream")
    return {
        part: round(median(getattr(turn, part) for turn in recent) * 1000, 1) if recent else None
        for part in parts
    }


async def _limits(state: State, principal: Principal) -> list[dict[str, Any]]:
    if not principal.limits:
        return []
    try:
        windows = await state.budgets.windows(principal)
    except GatewayError:
        return []
    return [
        {"name": w.name, "used": w.used, "limit": w.limit, "resets_at": w.resets_at}
        for w in windows
    ]
