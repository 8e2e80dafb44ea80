"""`POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi import Response as Headers
from starlette.responses import Response

from dialects import messages
from dialects.messages.request import read_messages, read_system
from dialects.messages.wire import AnthropicMessage, MessagesRequest, TokenCount
from dialects.token_count import estimate
from models import TurnHeaders
from web.dependencies import Answer, Principal, ResolveModel
from web.openapi import described, failures

router = APIRouter(prefix="/v1", tags=["messages"])

HOW = "x-token-count"


@router.post("/messages", response_model=AnthropicMessage, responses=described(messages.DIALECT))
async def create_message(
    body: MessagesRequest, answer: Answer, headers: Annotated[TurnHeaders, Header()]
) -> Response:
    """Answers a conversation in Anthropic's format, as one JSON body or as server-sent events."""
    return await answer(messages.DIALECT, body, headers)


@router.post("/messages/count_tokens", responses=failures(messages.DIALECT))
async def count_tokens(
    body: MessagesRequest, principal: Principal, resolve_model: ResolveModel, headers: Headers
) -> TokenCount:
    """Estimates the input tokens of a Messages request, as the header `x-token-count` says: within
    a tenth, as a rule (docs/token-counting.md)."""
    model = await resolve_model(body.model)
    read_messages(body.messages)
    request = {"system": read_system(body.system), "messages": body.messages, **body.others()}
    headers.headers[HOW] = "estimate"
    # a large conversation takes longer than other requests may wait
    return TokenCount(input_tokens=await asyncio.to_thread(estimate, request, model))
