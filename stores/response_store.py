"""What a store of responses and conversations promises, and the plain data in and out of it.

A response is kept with the items that its request brought and those that the model answered with;
the response before it in the chain is referred to, not copied. One that is worked on in the
background has a *lease* that its server renews: where that ends, the server is gone and the
response has failed. Times are Unix seconds by the store's own clock.
`tests/stores/test_response_stores.py` holds every implementation to this module.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.compact_json import compact
from core.conversation import JsonObject
from core.errors import ConversationLocked, ConversationNotFound, ItemNotFound, ResponseNotFound

OPEN = frozenset({"queued", "in_progress"})
"""The statuses of a response that is still worked on."""

ABANDONED: JsonObject = {
    "code": "server_error",
    "message": "The server that worked on this response was stopped.",
}


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response. `body` is its JSON without items (`output` is empty there); `input` are the items
    that its own request brought, `output` the answer's, with all that makes them replayable.
    `streamed`: its events are kept too. `seen_items` is how many items its conversation had when
    the model was asked."""

    owner: str
    id: str
    status: str
    body: JsonObject = field(hash=False)
    input: Sequence[JsonObject] = field(default=(), hash=False)
    output: Sequence[JsonObject] = field(default=(), hash=False)
    previous_id: str | None = None
    conversation_id: str | None = None
    seen_items: int = field(default=0, compare=False)
    background: bool = False
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    owner: str
    id: str
    created_at: int
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResponseLimits:
    """`ttl_seconds` 0 is never. Using a response or conversation makes its time run anew."""

    ttl_seconds: float = 30 * 86_400.0
    lease_seconds: float = 15.0


class ResponseStore(Protocol):
    """Responses and conversations by owner and id; an owner never sees another's.

    Methods that get `owner` and `id` raise ResponseNotFound or ConversationNotFound where there is
    none, unless they say otherwise. Every method is one transaction. StoreUnavailable is raised
    where the database cannot be reached.
    """

    async def add(self, response: StoredResponse, token: str | None = None) -> None:
        """Keeps a new response. With `token` it is leased by that, and still worked on; without,
        it is complete, and where it is of a conversation, its items are added to that. Raises
        ConversationLocked, and keeps nothing, where that has other items than the model saw."""
        ...

    async def get(self, owner: str, id: str) -> StoredResponse: ...

    async def chain(self, owner: str, id: str) -> list[StoredResponse]:
        """The response and all before it, the oldest first. Makes the time of all of them run
        anew. Raises ResponseNotFound where one of them is gone."""
        ...

    async def latest(self, owner: str, limit: int) -> list[StoredResponse]:
        """The newest responses first, without their items."""
        ...

    async def items(self, owner: str, ids: Collection[str]) -> dict[str, JsonObject]:
        """Those of these items that are kept, in responses or conversations, by their id."""
        ...

    async def delete(self, owner: str, id: str) -> None:
        """Also while it is worked on, which then ends. Those after it cannot be continued."""
        ...

    async def renew(self, owner: str, id: str, token: str) -> bool:
        """Makes the lease run anew; False where the response is no longer worked on."""
        ...

    async def finish(
        self, response: StoredResponse, token: str, first: int = 0, frames: Sequence[str] = ()
    ) -> bool:
        """Stores the end of a leased response with the last frames of its stream, numbered from
        `first` on, and adds its items to its conversation; False, and nothing is changed, where it
        is no longer worked on. Raises as `add`."""
        ...

    async def cancel(self, owner: str, id: str) -> StoredResponse:
        """The response, cancelled where it was still worked on."""
        ...

    async def add_events(
        self, owner: str, id: str, token: str, first: int, frames: Sequence[str]
    ) -> None:
        """Keeps frames of the stream, numbered from `first` on. Does nothing without the lease."""
        ...

    async def events(self, owner: str, id: str, after: int) -> list[str]:
        """The frames kept so far with a number greater than `after`, in their order."""
        ...

    async def create_conversation(
        self, owner: str, id: str, metadata: Mapping[str, str], items: Sequence[JsonObject]
    ) -> Conversation: ...

    async def conversation(self, owner: str, id: str) -> Conversation: ...

    async def set_metadata(
        self, owner: str, id: str, metadata: Mapping[str, str]
    ) -> Conversation: ...

    async def delete_conversation(self, owner: str, id: str) -> None:
        """With its items; responses that were made in it stay."""
        ...

    async def conversation_items(self, owner: str, id: str) -> list[JsonObject]:
        """All items in their order. Makes the conversation's time run anew."""
        ...

    async def add_items(self, owner: str, id: str, items: Sequence[JsonObject]) -> None: ...

    async def delete_item(self, owner: str, id: str, item_id: str) -> Conversation:
        """Raises ItemNotFound."""
        ...

    async def stored_bytes(self, owner: str) -> int:
        """What all responses and conversations of an owner take."""
        ...

    async def sweep_responses(self) -> int:
        """Deletes what has expired, and marks abandoned responses as failed. How many responses
        that were; safe to run anywhere, any number of times at once."""
        ...


def abandoned(body: JsonObject) -> JsonObject:
    """The body of a response whose server is gone."""
    return {**body, "status": "failed", "error": ABANDONED}


def response_not_found(id: str) -> ResponseNotFound:
    return ResponseNotFound(f"Response with id {id[:128]!r} not found.")


def conversation_not_found(id: str) -> ConversationNotFound:
    return ConversationNotFound(f"Conversation with id {id[:128]!r} not found.")


def item_not_found(id: str) -> ItemNotFound:
    return ItemNotFound(f"Item with id {id[:128]!r} not found.")


def conversation_locked(id: str) -> ConversationLocked:
    return ConversationLocked(
        f"Another request is changing the conversation {id[:128]!r}. Retry in a few seconds.",
        param="conversation",
        retry_after=2.0,
    )


def size_of(items: Sequence[JsonObject]) -> int:
    """In bytes, as JSON."""
    return sum(len(compact(item)) for item in items)


def ids_of(items: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(item["id"]) for item in items]
