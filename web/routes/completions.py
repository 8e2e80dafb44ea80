"""`POST /v1/completions`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response

from dialects import completions
from dialects.completions.wire import Completion, CompletionsRequest
from models import TurnHeaders
from web.dependencies import Answer
from web.openapi import described

router = APIRouter(prefix="/v1", tags=["completions"])


@router.post("/completions", response_model=Completion, responses=described(completions.DIALECT))
async def create_completion(
    body: CompletionsRequest, answer: Answer, headers: Annotated[TurnHeaders, Header()]
) -> Response:
    """Answers prompts in OpenAI's legacy format, as one JSON body or as server-sent events."""
    return await answer(completions.DIALECT, body, headers)
