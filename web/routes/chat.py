"""`POST /v1/chat/completions`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response

from dialects import chat
from models import ChatCompletion, ChatRequest, TurnHeaders
from web.dependencies import Answer
from web.openapi import described

router = APIRouter(prefix="/v1", tags=["chat"])


@router.post("/chat/completions", response_model=ChatCompletion, responses=described(chat.DIALECT))
async def create_chat_completion(
    body: ChatRequest, answer: Answer, headers: Annotated[TurnHeaders, Header()]
) -> Response:
    """Answers a conversation, as one JSON body or as server-sent events with `stream`."""
    return await answer(chat.DIALECT, body, headers)
