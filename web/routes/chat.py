"""`POST /v1/chat/completions`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response

from dialects.chat import messages
from dialects.chat import renderer as chat_renderer
from dialects.chat import request as chat_request
from models import ChatCompletion, ChatRequest, ErrorBody, OwnToolHeaders
from session_manager import SessionCall, requested_id
from turns.choices import choices
from turns.images import fetch_images
from turns.response import TurnResponse
from web.dependencies import (
    Catalogue,
    Engine,
    GrantTools,
    Images,
    Principal,
    ResolveModel,
    Seeds,
    Sessions,
    Settings,
    ToolStats,
)
from web.openapi import EVENT_STREAM

router = APIRouter(prefix="/v1", tags=["chat"])
ERRORS = (400, 401, 403, 404, 408, 409, 413, 415, 429, 431, 500, 502, 503, 504)


@router.post(
    "/chat/completions",
    response_model=ChatCompletion,
    responses={200: EVENT_STREAM, **{status: {"model": ErrorBody} for status in ERRORS}},
)
async def create_chat_completion(
    body: ChatRequest,
    principal: Principal,
    resolve_model: ResolveModel,
    catalogue: Catalogue,
    engine: Engine,
    grant_tools: GrantTools,
    seeds: Seeds,
    sessions: Sessions,
    settings: Settings,
    tool_stats: ToolStats,
    images: Images,
    own_tools: Annotated[OwnToolHeaders, Header()],
    x_session_id: Annotated[str | None, Header()] = None,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Response:
    """Answers a conversation, as one JSON body or as server-sent events with `stream`."""
    session_id = requested_id(body.session_id, x_session_id)
    model = await resolve_model(body.model)
    await fetch_images(body, images)
    card = catalogue.card(model)
    call = chat_request.parse(body, model, principal.name, card, session_id, own_tools)
    if settings.strict_parameters:
        chat_request.refuse_ignored(call)
    if call.tool_wish is not None:
        call = chat_request.grant(call, await grant_tools(call.tool_wish, session_id))
    session = None
    if session_id is not None:
        session = SessionCall(call.turn, session_id, messages.complete, idempotency_key)
    run = tool_stats.watched(engine.run) if session is None else sessions.runner(session)
    events = choices(run, call.turn, call.n)
    if call.seed is not None and session is None:
        events = seeds.answer(call.turn, call.seed, call.n, events)
    return TurnResponse(
        events,
        chat_renderer.ChatRenderer(call),
        stream=bool(body.stream),
        heartbeat_seconds=settings.heartbeat_seconds,
        extra_headers=session.headers if session else dict,
    )
