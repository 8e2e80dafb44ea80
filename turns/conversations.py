"""Conversations: items that several requests to the Responses API share."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from core.conversation import JsonObject
from core.errors import InvalidRequest
from dialects.responses.items import check
from dialects.responses.renderer import new_id
from dialects.responses.stored import is_reference, new_items, page, shown
from stores.response_store import (
    Conversation,
    ResponseStore,
    conversation_locked,
    item_not_found,
    size_of,
)
from turns.stored_bytes import StoredBytes

MAX_ITEMS = 100
"""Of one request."""


@dataclass(frozen=True, slots=True)
class Conversations:
    """What the routes of conversations ask for. Methods raise ConversationNotFound, and StoreFull
    where they add items."""

    store: ResponseStore
    stored_bytes: StoredBytes

    async def create(
        self, owner: str, metadata: Mapping[str, str] | None, items: Sequence[JsonObject] | None
    ) -> JsonObject:
        """Raises InvalidRequest for items that no request could use."""
        kept = _kept(items or ())
        await self.stored_bytes.check(owner, size_of(kept))
        made = await self.store.create_conversation(owner, new_id("conv"), metadata or {}, kept)
        return wire(made)

    async def get(self, owner: str, id: str) -> JsonObject:
        return wire(await self.store.conversation(owner, id))

    async def update(self, owner: str, id: str, metadata: Mapping[str, str]) -> JsonObject:
        return wire(await self.store.set_metadata(owner, id, metadata))

    async def delete(self, owner: str, id: str) -> JsonObject:
        await self.store.delete_conversation(owner, id)
        return {"id": id, "object": "conversation.deleted", "deleted": True}

    async def items(self, owner: str, id: str) -> list[JsonObject]:
        return await self.store.conversation_items(owner, id)

    async def add(self, owner: str, id: str, items: Sequence[JsonObject]) -> JsonObject:
        """The items as they are kept. Raises InvalidRequest."""
        kept = _kept(items)
        await self.stored_bytes.check(owner, size_of(kept))
        await self.store.add_items(owner, id, kept)
        return page(shown(kept, ()), limit=MAX_ITEMS, order="asc", after=None)

    async def item(self, owner: str, id: str, item_id: str, include: Collection[str]) -> JsonObject:
        """Raises ItemNotFound."""
        for item in await self.store.conversation_items(owner, id):
            if item["id"] == item_id:
                return shown([item], include)[0]
        raise item_not_found(item_id)

    async def delete_item(self, owner: str, id: str, item_id: str) -> JsonObject:
        """Raises ItemNotFound."""
        return wire(await self.store.delete_item(owner, id, item_id))


class ConversationsAtWork:
    """The conversations in which this server works on an answer. Where another server does, the
    store finds out when the second answer ends."""

    def __init__(self) -> None:
        self._at_work: set[tuple[str, str]] = set()

    @contextmanager
    def claimed(self, owner: str, id: str) -> Iterator[None]:
        """Raises ConversationLocked where another answer is on its way."""
        place = (owner, id)
        if place in self._at_work:
            raise conversation_locked(id)
        self._at_work.add(place)
        try:
            yield
        finally:
            self._at_work.discard(place)


def wire(conversation: Conversation) -> JsonObject:
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": conversation.created_at,
        "metadata": dict(conversation.metadata),
    }


def _kept(items: Sequence[JsonObject]) -> list[JsonObject]:
    if len(items) > MAX_ITEMS:
        raise InvalidRequest(f"At most {MAX_ITEMS} items may be added at once.", param="items")
    for index, item in enumerate(items):
        if is_reference(item):
            message = "Items of a conversation cannot be references."
            raise InvalidRequest(message, param=f"items[{index}]")
    kept = new_items(items, new_id)
    check(kept)
    return kept
