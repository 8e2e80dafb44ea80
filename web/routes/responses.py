"""`/v1/responses`: OpenAI's Responses API (turns/responses.py has what it does)."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from core.conversation import JsonObject
from dialects.responses import DIALECT, ResponsesRequest
from dialects.responses.stored import page, shown
from dialects.responses.wire import (
    CompactedResponse,
    ItemList,
    ResponseBody,
    ResponseDeleted,
    TokenCount,
)
from models import TurnHeaders
from web.dependencies import Responses
from web.openapi import described

router = APIRouter(prefix="/v1/responses", tags=["responses"])

Headers = Annotated[TurnHeaders, Header()]
Include = Annotated[
    list[str] | None, Query(alias="include[]", description="`reasoning.encrypted_content`")
]
PlainInclude = Annotated[list[str] | None, Query(alias="include")]


@router.post("", response_model=ResponseBody, responses=described(DIALECT))
async def create_response(
    body: ResponsesRequest, responses: Responses, headers: Headers
) -> Response:
    """Answers items, as one JSON body or as server-sent events with `stream`."""
    return await responses.responses.answer(body, await responses.asker(headers))


@router.post("/compact", response_model=CompactedResponse, response_model_exclude_unset=True)
async def compact_response(
    body: ResponsesRequest, responses: Responses, headers: Headers
) -> JsonObject:
    """Makes a long conversation short: all but the users' messages becomes one opaque item."""
    return await responses.responses.compact(body, await responses.asker(headers))


@router.post("/input_tokens", response_model=TokenCount)
async def count_input_tokens(
    body: ResponsesRequest, responses: Responses, headers: Headers
) -> JsonObject:
    """Estimates how many tokens a request has."""
    return await responses.responses.count(body, await responses.asker(headers))


@router.get(
    "/{response_id}",
    response_model=ResponseBody,
    response_model_exclude_unset=True,
    responses=described(DIALECT),
)
async def get_response(
    response_id: str,
    responses: Responses,
    include: Include = None,
    plain_include: PlainInclude = None,
    stream: bool = False,
    starting_after: Annotated[int, Query(ge=-1)] = -1,
) -> JsonObject | Response:
    """A stored response; with `stream` the events of one that is worked on in the background."""
    if stream:
        return await responses.responses.resumed(responses.owner, response_id, starting_after)
    asked = [*(include or ()), *(plain_include or ())]
    return await responses.responses.get(responses.owner, response_id, asked)


@router.delete("/{response_id}", response_model=ResponseDeleted)
async def delete_response(response_id: str, responses: Responses) -> JsonObject:
    return await responses.responses.delete(responses.owner, response_id)


@router.post(
    "/{response_id}/cancel", response_model=ResponseBody, response_model_exclude_unset=True
)
async def cancel_response(response_id: str, responses: Responses) -> JsonObject:
    """Ends the work on a background response; one that is complete stays as it is."""
    return await responses.responses.cancel(responses.owner, response_id)


@router.get("/{response_id}/input_items", response_model=ItemList)
async def list_input_items(
    response_id: str,
    responses: Responses,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
    include: Include = None,
) -> JsonObject:
    """What the model got for a response, the responses before it included."""
    items = await responses.responses.input_items(responses.owner, response_id)
    return page(shown(items, include or ()), limit=limit, order=order, after=after)
