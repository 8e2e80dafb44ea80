"""Refuses tool calls without results and results without calls, as the real API does."""

from typing import Any

from demo.errors import ApiError, invalid

Block = dict[str, Any]
Turn = tuple[int, str, list[tuple[str, Block]]]
"""Index of the first message, role, and (place, block) of messages of one role in a row."""


def check_pairs(messages: list[Block]) -> None:
    """Raise `ApiError` unless each call's result stands first in the next user turn."""
    turns = _turns(messages)
    seen: set[str] = set()
    for place, (index, role, blocks) in enumerate(turns):
        calls = [block["id"] for _, block in blocks if block["type"] == "tool_use"]
        if len(set(calls)) < len(calls) or seen & set(calls):
            raise invalid("messages: `tool_use` ids must be unique")
        seen.update(calls)
        if role == "user":
            before = turns[place - 1][2] if place else []
            _check_results(blocks, {b["id"] for _, b in before if b["type"] == "tool_use"})
        if calls and place + 1 < len(turns):
            _check_answered(index, calls, turns[place + 1][2])
        elif calls:
            raise _unanswered(index, calls)


def _turns(messages: list[Block]) -> list[Turn]:
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        content = message.get("content") or []
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        placed = [(f"messages.{index}.content.{at}", block) for at, block in enumerate(blocks)]
        if message["role"] == "system":
            continue
        if turns and turns[-1][1] == message["role"]:
            turns[-1][2].extend(placed)
        else:
            turns.append((index, message["role"], placed))
    return turns


def _check_results(blocks: list[tuple[str, Block]], called: set[str]) -> None:
    for place, block in blocks:
        if block["type"] == "tool_result" and block["tool_use_id"] not in called:
            raise invalid(
                f"{place}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{block['tool_use_id']}. Each `tool_result` block must have a corresponding "
                "`tool_use` block in the previous message."
            )


def _check_answered(index: int, calls: list[str], blocks: list[tuple[str, Block]]) -> None:
    answered: list[str] = []
    for _, block in blocks:
        if block["type"] != "tool_result":
            break
        answered.append(block["tool_use_id"])
    if missing := [call for call in calls if call not in answered]:
        raise _unanswered(index, missing)
    for call in calls:
        if answered.count(call) > 1:
            raise invalid(
                f"messages.{index + 1}: each tool_use must have a single result. Found multiple "
                f"`tool_result` blocks with id: {call}"
            )


def _unanswered(index: int, calls: list[str]) -> ApiError:
    return invalid(
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately "
        f"after: {', '.join(calls)}. Each `tool_use` block must have a corresponding `tool_result` "
        "block in the next message."
    )
