"""`/v1/conversations`: items that requests to `/v1/responses` share."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from core.conversation import JsonObject
from dialects.responses.stored import page, shown
from dialects.responses.wire import (
    ConversationBody,
    ConversationDeleted,
    ConversationItem,
    CreateConversation,
    ItemList,
    NewItems,
    UpdateConversation,
)
from models import ErrorBody
from web.dependencies import Responses

ERRORS = (400, 401, 404, 413, 429, 503)
Include = Annotated[
    list[str] | None, Query(alias="include[]", description="`reasoning.encrypted_content`")
]

router = APIRouter(
    prefix="/v1/conversations",
    tags=["responses"],
    responses={status: {"model": ErrorBody} for status in ERRORS},
)


@router.post("", response_model=ConversationBody)
async def create_conversation(
    responses: Responses, body: CreateConversation | None = None
) -> JsonObject:
    asked = body or CreateConversation()
    return await responses.conversations.create(responses.owner, asked.metadata, asked.items)


@router.get("/{conversation_id}", response_model=ConversationBody)
async def get_conversation(conversation_id: str, responses: Responses) -> JsonObject:
    return await responses.conversations.get(responses.owner, conversation_id)


@router.post("/{conversation_id}", response_model=ConversationBody)
async def update_conversation(
    conversation_id: str, body: UpdateConversation, responses: Responses
) -> JsonObject:
    """Replaces the metadata."""
    conversations = responses.conversations
    return await conversations.update(responses.owner, conversation_id, body.metadata)


@router.delete("/{conversation_id}", response_model=ConversationDeleted)
async def delete_conversation(conversation_id: str, responses: Responses) -> JsonObject:
    """Deletes the conversation with its items; responses that were made in it stay."""
    return await responses.conversations.delete(responses.owner, conversation_id)


@router.get("/{conversation_id}/items", response_model=ItemList)
async def list_items(
    conversation_id: str,
    responses: Responses,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
    include: Include = None,
) -> JsonObject:
    items = await responses.conversations.items(responses.owner, conversation_id)
    return page(shown(items, include or ()), limit=limit, order=order, after=after)


@router.post("/{conversation_id}/items", response_model=ItemList)
async def add_items(conversation_id: str, body: NewItems, responses: Responses) -> JsonObject:
    """Adds items to the end."""
    return await responses.conversations.add(responses.owner, conversation_id, body.items)


@router.get("/{conversation_id}/items/{item_id}", response_model=ConversationItem)
async def get_item(
    conversation_id: str, item_id: str, responses: Responses, include: Include = None
) -> JsonObject:
    conversations = responses.conversations
    return await conversations.item(responses.owner, conversation_id, item_id, include or ())


@router.delete("/{conversation_id}/items/{item_id}", response_model=ConversationBody)
async def delete_item(conversation_id: str, item_id: str, responses: Responses) -> JsonObject:
    return await responses.conversations.delete_item(responses.owner, conversation_id, item_id)
