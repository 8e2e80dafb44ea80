"""Items as they are kept and listed: each with an id, in the one form that the API answers with.

Source: https://platform.openai.com/docs/api-reference/responses/input-items.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from core.conversation import JsonObject
from core.errors import InvalidRequest
from dialects.responses.output import NewId

PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "compaction": "cmp",
    "mcp_approval_response": "mcprs",
}
MAX_ID_CHARACTERS = 128
WITH_STATUS = frozenset(
    {"message", "function_call", "function_call_output", "custom_tool_call_output"}
)


def new_items(given: str | Sequence[JsonObject] | None, new_id: NewId) -> list[JsonObject]:
    """The input of a request as items to keep; references stay what they are."""
    if given is None:
        return []
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [item if is_reference(item) else _kept(item, new_id) for item in items]


def _kept(item: JsonObject, new_id: NewId) -> JsonObject:
    kind = item.get("type") or "message"
    id = item.get("id")
    if not (isinstance(id, str) and 0 < len(id) <= MAX_ID_CHARACTERS):
        id = new_id(PREFIXES.get(str(kind), "item"))
    kept = {**item, "id": id, "type": kind}
    if kind == "message":
        kept["content"] = _parts(item.get("role"), item.get("content"))
    if kind in WITH_STATUS and kept.get("status") is None:
        kept["status"] = "completed"
    return kept


def _parts(role: Any, content: Any) -> Any:
    """A text as the one part that it stands for; what is no text or list is refused later."""
    if not isinstance(content, str):
        return content
    if role == "assistant":
        return [{"type": "output_text", "text": content, "annotations": [], "logprobs": []}]
    return [{"type": "input_text", "text": content}]


def is_reference(item: Mapping[str, Any]) -> bool:
    """`{"type": "item_reference", "id"}`, also without the type."""
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and "role" not in item and "id" in item)


def wanted_ids(items: Sequence[JsonObject]) -> set[str]:
    """The ids of items that are referred to, and of reasoning that only the store has whole."""
    return {
        item["id"]
        for item in items
        if isinstance(item.get("id"), str) and (is_reference(item) or _is_bare_reasoning(item))
    }


def _is_bare_reasoning(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "reasoning" and item.get("encrypted_content") is None


def resolved(items: Sequence[JsonObject], found: Mapping[str, JsonObject]) -> list[JsonObject]:
    """The items with what the store has in the place of references and bare reasoning."""
    return [found.get(str(item.get("id")), item) if _is_wanted(item) else item for item in items]


def _is_wanted(item: Mapping[str, Any]) -> bool:
    return is_reference(item) or _is_bare_reasoning(item)


def shown(items: Sequence[JsonObject], include: Collection[str]) -> list[JsonObject]:
    """The items as a client sees them: encrypted reasoning only where it is asked for."""
    if "reasoning.encrypted_content" in include:
        return [*items]
    return [_without_encrypted(item) for item in items]


def _without_encrypted(item: JsonObject) -> JsonObject:
    if item.get("type") != "reasoning":
        return item
    return {key: value for key, value in item.items() if key != "encrypted_content"}


def page(items: Sequence[JsonObject], *, limit: int, order: str, after: str | None) -> JsonObject:
    """A list of items, `desc` the newest first. Raises InvalidRequest where `after` is unknown."""
    listed = list(reversed(items)) if order == "desc" else list(items)
    if after is not None:
        ids = [item["id"] for item in listed]
        if after not in ids:
            raise InvalidRequest(f"There is no item {after[:128]!r} here.", param="after")
        listed = listed[ids.index(after) + 1 :]
    data = listed[:limit]
    ids = [item["id"] for item in data] or [""]
    return {
        "object": "list",
        "data": data,
        "first_id": ids[0],
        "last_id": ids[-1],
        "has_more": len(listed) > limit,
    }


def frames_of(raw: bytes) -> Iterator[str]:
    """The frames that stand in a piece of a stream, one for each event; without the `[DONE]`."""
    for frame in raw.decode().split("\n\n"):
        if frame and not frame.startswith("data: [DONE]"):
            yield f"{frame}\n\n"
