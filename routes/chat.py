"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter
from starlette.responses import Response

from claude_cli import ClaudeEngine
from dependencies import Catalogue, Engine, Settings
from dialects import chat
from events import ChoiceEvent, Turn
from models import ChatCompletion, ChatRequest, ErrorBody
from streaming import TurnResponse

router = APIRouter(prefix="/v1", tags=["chat"])
ERRORS = (400, 401, 404, 413, 429, 500, 502, 503, 504)


@router.post(
    "/chat/completions",
    response_model=ChatCompletion,
    responses={status: {"model": ErrorBody} for status in ERRORS},
)
async def create_chat_completion(
    body: ChatRequest, engine: Engine, catalogue: Catalogue, settings: Settings
) -> Response:
    """Answers a conversation, as one JSON body or as server-sent events with `stream`."""
    call = chat.parse(body, await catalogue.resolve(body.model), principal="local")
    return TurnResponse(
        one_choice(engine, call.turn),
        chat.ChatRenderer(call),
        stream=bool(body.stream),
        heartbeat_seconds=settings.heartbeat_seconds,
    )


async def one_choice(engine: ClaudeEngine, turn: Turn) -> AsyncGenerator[ChoiceEvent, None]:
    async with aclosing(engine.run(turn)) as events:
        async for event in events:
            yield ChoiceEvent(0, event)
