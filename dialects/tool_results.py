"""Calls and their results: each call is answered once, in the very next message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from core.conversation import Block, Message, ToolUseBlock, text_block
from core.errors import InvalidRequest
from core.transcript import builtin_use_ids

PLACEHOLDER = text_block(".")
"""Stands before an answer that begins a conversation: the API wants a user's message there, and
this is the least that it takes."""


def complete(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """A whole conversation as the API takes it: it begins with the user, and calls and results
    match. Raises InvalidRequest."""
    native = tuple(results_first(message) for message in messages)
    if native and native[0].role == "assistant":
        native = (Message("user", (PLACEHOLDER,)), *native)
    check(native)
    return unique_ids(native)


def results_first(message: Message) -> Message:
    """The API requires results before anything else the user says after a call."""
    if message.role == "assistant":
        return message
    blocks = sorted(message.content, key=lambda block: block["type"] != "tool_result")
    return replace(message, content=tuple(blocks))


def unique_ids(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Ids that come again in a later answer, renamed with their results: some servers count the
    calls of each answer from the start, and the API requires unique ids."""
    seen: set[str] = set()
    renamed: dict[str, str] = {}
    result = []
    for message in messages:
        if message.role == "assistant":
            renamed = {call["id"]: _fresh(call["id"], seen) for call in calls_of(message)}
            seen.update(renamed.values())
        content = tuple(_renamed(block, renamed) for block in message.content)
        result.append(replace(message, content=content))
    return tuple(result)


def _fresh(call_id: str, seen: set[str]) -> str:
    count, name = 2, call_id
    while name in seen:
        name, count = f"{call_id[:50]}-{count}", count + 1
    return name


def _renamed(block: Block, names: dict[str, str]) -> Block:
    if block["type"] == "tool_use" and names[block["id"]] != block["id"]:
        return {**block, "id": names[block["id"]]}
    if block["type"] == "tool_result":
        call_id = block["tool_use_id"]
        return {**block, "tool_use_id": names.get(call_id, call_id)}
    return block


def calls_of(message: Message) -> Iterator[ToolUseBlock]:
    return (block for block in message.content if block["type"] == "tool_use")


def _open_calls(message: Message) -> Iterator[str]:
    """Those that the next message has to answer."""
    own = builtin_use_ids(message)
    return (call["id"] for call in calls_of(message) if call["id"] not in own)


def _brought_results(message: Message) -> Iterator[str]:
    blocks = message.content if message.role == "user" else ()
    return (block["tool_use_id"] for block in blocks if block["type"] == "tool_result")


def check(messages: tuple[Message, ...]) -> None:
    """Raises InvalidRequest that names the id: doubled, unasked or missing."""
    waiting: list[str] = []
    for message in messages:
        _check_results([*_brought_results(message)], waiting)
        waiting = [*_open_calls(message)]
        if doubled := _first_doubled(waiting):
            raise _bad(f"Duplicate tool call id in one assistant message: {doubled!r}.")
    _check_results([], waiting)


def _check_results(answered: list[str], waiting: list[str]) -> None:
    if doubled := _first_doubled(answered):
        raise _bad(f"Duplicate result for tool call {doubled!r}.")
    for call_id in answered:
        if call_id not in waiting:
            raise _bad(
                f"Tool result {call_id!r} has no matching tool call in the preceding assistant "
                "message."
            )
    if missing := [call_id for call_id in waiting if call_id not in answered]:
        raise _bad(f"Missing tool results in the next messages for: {', '.join(missing)}.")


def _first_doubled(ids: list[str]) -> str | None:
    return next((call_id for call_id in ids if ids.count(call_id) > 1), None)


def _bad(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="messages", code="invalid_tool_results")
