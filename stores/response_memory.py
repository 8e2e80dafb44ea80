"""Responses and conversations in this process's memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.conversation import JsonObject
from stores.response_store import (
    OPEN,
    Conversation,
    ResponseLimits,
    ResponseStore,
    StoredResponse,
    abandoned,
    conversation_locked,
    conversation_not_found,
    item_not_found,
    response_not_found,
    size_of,
)


@dataclass(slots=True)
class _Kept:
    response: StoredResponse
    expires_at: float | None
    token: str | None = None
    until: float = 0.0
    frames: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _KeptConversation:
    conversation: Conversation
    expires_at: float | None
    items: list[JsonObject] = field(default_factory=list)


class MemoryResponseStore(ResponseStore):
    """No method waits, so each is one transaction."""

    def __init__(self, limits: ResponseLimits, *, clock: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._clock = clock
        self._responses: dict[tuple[str, str], _Kept] = {}
        self._conversations: dict[tuple[str, str], _KeptConversation] = {}

    def _expiry(self) -> float | None:
        return self._clock() + self._limits.ttl_seconds if self._limits.ttl_seconds else None

    def _is_over(self, kept: _Kept | _KeptConversation) -> bool:
        return kept.expires_at is not None and kept.expires_at <= self._clock()

    def _find(self, owner: str, id: str) -> _Kept:
        kept = self._responses.get((owner, id))
        if kept is None or self._is_over(kept):
            raise response_not_found(id)
        return kept

    def _find_conversation(self, owner: str, id: str) -> _KeptConversation:
        kept = self._conversations.get((owner, id))
        if kept is None or self._is_over(kept):
            raise conversation_not_found(id)
        return kept

    def _seen(self, kept: _Kept) -> StoredResponse:
        response = kept.response
        if response.status not in OPEN or kept.until > self._clock():
            return response
        return replace(response, status="failed", body=abandoned(response.body))

    def _append(self, owner: str, id: str, items: Sequence[JsonObject]) -> None:
        kept = self._find_conversation(owner, id)
        kept.items += items
        kept.expires_at = self._expiry()

    def _complete(self, response: StoredResponse) -> None:
        if response.conversation_id is not None and response.status in ("completed", "incomplete"):
            new = [*response.input, *response.output]
            kept = self._find_conversation(response.owner, response.conversation_id)
            if len(kept.items) != response.seen_items:
                raise conversation_locked(response.conversation_id)
            self._append(response.owner, response.conversation_id, new)

    async def add(self, response: StoredResponse, token: str | None = None) -> None:
        if token is None:
            self._complete(response)
        kept = _Kept(response, self._expiry(), token, self._clock() + self._limits.lease_seconds)
        self._responses[response.owner, response.id] = kept

    async def get(self, owner: str, id: str) -> StoredResponse:
        return self._seen(self._find(owner, id))

    async def chain(self, owner: str, id: str) -> list[StoredResponse]:
        found: list[_Kept] = []
        before: str | None = id
        while before is not None:
            found.append(self._find(owner, before))
            before = found[-1].response.previous_id
        for kept in found:
            kept.expires_at = self._expiry()
        return [self._seen(kept) for kept in reversed(found)]

    async def latest(self, owner: str, limit: int) -> list[StoredResponse]:
        mine = [k for (theirs, _), k in self._responses.items() if theirs == owner]
        found = [self._seen(kept) for kept in reversed(mine) if not self._is_over(kept)]
        return [replace(response, input=(), output=()) for response in found[:limit]]

    async def items(self, owner: str, ids: Collection[str]) -> dict[str, JsonObject]:
        found: dict[str, JsonObject] = {}
        for (theirs, _), kept in self._conversations.items():
            if theirs == owner:
                found |= {item["id"]: item for item in kept.items if item["id"] in ids}
        for (theirs, _), response in self._responses.items():
            if theirs == owner:
                items = (*response.response.input, *response.response.output)
                found |= {item["id"]: item for item in items if item["id"] in ids}
        return found

    async def delete(self, owner: str, id: str) -> None:
        self._find(owner, id)
        del self._responses[owner, id]

    def _held(self, owner: str, id: str, token: str) -> _Kept | None:
        kept = self._responses.get((owner, id))
        return kept if kept is not None and kept.token == token else None

    async def renew(self, owner: str, id: str, token: str) -> bool:
        kept = self._held(owner, id, token)
        if kept is not None:
            kept.until = self._clock() + self._limits.lease_seconds
        return kept is not None

    async def finish(
        self, response: StoredResponse, token: str, first: int = 0, frames: Sequence[str] = ()
    ) -> bool:
        kept = self._held(response.owner, response.id, token)
        if kept is None:
            return False
        self._complete(response)
        kept.frames[first:] = frames or kept.frames[first:]
        kept.response, kept.token = response, None
        return True

    async def cancel(self, owner: str, id: str) -> StoredResponse:
        kept = self._find(owner, id)
        response = self._seen(kept)
        if response.status in OPEN:
            body = {**response.body, "status": "cancelled"}
            kept.response, kept.token = replace(response, status="cancelled", body=body), None
        return self._seen(kept)

    async def add_events(
        self, owner: str, id: str, token: str, first: int, frames: Sequence[str]
    ) -> None:
        kept = self._held(owner, id, token)
        if kept is not None:
            kept.frames[first:] = frames

    async def events(self, owner: str, id: str, after: int) -> list[str]:
        return self._find(owner, id).frames[after + 1 :]

    async def create_conversation(
        self, owner: str, id: str, metadata: Mapping[str, str], items: Sequence[JsonObject]
    ) -> Conversation:
        made = Conversation(owner, id, int(self._clock()), dict(metadata))
        self._conversations[owner, id] = _KeptConversation(made, self._expiry(), [*items])
        return made

    async def conversation(self, owner: str, id: str) -> Conversation:
        return self._find_conversation(owner, id).conversation

    async def set_metadata(self, owner: str, id: str, metadata: Mapping[str, str]) -> Conversation:
        kept = self._find_conversation(owner, id)
        kept.conversation = replace(kept.conversation, metadata=dict(metadata))
        return kept.conversation

    async def delete_conversation(self, owner: str, id: str) -> None:
        self._find_conversation(owner, id)
        del self._conversations[owner, id]

    async def conversation_items(self, owner: str, id: str) -> list[JsonObject]:
        kept = self._find_conversation(owner, id)
        kept.expires_at = self._expiry()
        return [*kept.items]

    async def add_items(self, owner: str, id: str, items: Sequence[JsonObject]) -> None:
        self._append(owner, id, items)

    async def delete_item(self, owner: str, id: str, item_id: str) -> Conversation:
        kept = self._find_conversation(owner, id)
        left = [item for item in kept.items if item["id"] != item_id]
        if len(left) == len(kept.items):
            raise item_not_found(item_id)
        kept.items, kept.expires_at = left, self._expiry()
        return kept.conversation

    async def stored_bytes(self, owner: str) -> int:
        responses = [k.response for (theirs, _), k in self._responses.items() if theirs == owner]
        lists = [list(items) for each in responses for items in (each.input, each.output)]
        lists += [k.items for (theirs, _), k in self._conversations.items() if theirs == owner]
        return sum(map(size_of, lists))

    async def sweep_responses(self) -> int:
        over = [place for place, kept in self._responses.items() if self._is_over(kept)]
        for place in over:
            del self._responses[place]
        lost = [k for k in self._responses.values() if self._seen(k) is not k.response]
        for kept in lost:
            kept.response, kept.token = self._seen(kept), None
        gone = [place for place, kept in self._conversations.items() if self._is_over(kept)]
        for conversation in gone:
            del self._conversations[conversation]
        return len(over) + len(lost)
