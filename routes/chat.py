"""`POST /v1/chat/completions`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response

from choices import choices
from dependencies import (
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
from dialects import chat, chat_messages
from media import fetch_images
from models import ChatCompletion, ChatRequest, ErrorBody, OwnToolHeaders
from openapi import EVENT_STREAM
from session_manager import SessionCall, requested_id
from streaming import TurnResponse

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
    call = chat.parse(body, model, principal.name, card, session_id, own_tools)
    if settings.strict_parameters:
        chat.refuse_ignored(call)
    if call.tool_wish is not None:
        call = chat.grant(call, await grant_tools(call.tool_wish, session_id))
    session = None
    if session_id is not None:
        session = SessionCall(call.turn, session_id, chat_messages.complete, idempotency_key)
    run = tool_stats.watched(engine.run) if session is None else sessions.runner(session)
    events = choices(run, call.turn, call.n)
    if call.seed is not None and session is None:
        events = seeds.answer(call.turn, call.seed, call.n, events)
    return TurnResponse(
        events,
        chat.ChatRenderer(call),
        stream=bool(body.stream),
        heartbeat_seconds=settings.heartbeat_seconds,
        extra_headers=session.headers if session else dict,
    )
