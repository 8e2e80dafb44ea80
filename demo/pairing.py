"""Refuses tool calls without results and results without calls, as the real API does."""

from typing import Any

from demo.errors import ApiError, invalid
from demo.server_blocks import RESULT_OF

Block = dict[str, Any]
Placed = tuple[int, int, Block]
"""Index of the message, index of the block in it, the block."""

Turn = tuple[int, str, list[Placed]]
"""Index of the first message, role, and the blocks of messages of one role in a row."""

_THINKING = ("thinking", "redacted_thinking")


def check_pairs(messages: list[Block]) -> None:
    """Raise `ApiError` unless each call's result stands first in the next user turn."""
    turns = _turns(messages)
    seen: set[str] = set()
    for place, (index, role, blocks) in enumerate(turns):
        calls = [block["id"] for _, _, block in blocks if block["type"] == "tool_use"]
        if calls:
            if len(set(calls)) < len(calls) or seen & set(calls):
                raise invalid("messages: `tool_use` ids must be unique")
            seen.update(calls)
        if role == "user":
            before = turns[place - 1][2] if place else []
            _check_results(blocks, before)
        else:
            _check_server_tools(index, blocks, place + 1 == len(turns))
        if calls and place + 1 < len(turns):
            _check_answered(index, calls, turns[place + 1][2])
        elif calls:
            raise _unanswered(index, calls)


def check_thinking_in_rounds(messages: list[Block], manual: str) -> None:
    """Raise `ApiError` where the round of tools that is to go on lacks its thinking.

    This concerns thinking with a budget only: with adaptive thinking the API takes such rounds.
    """
    turns = _turns(messages)
    is_continued = turns[-1][1] == "assistant" or any(
        block["type"] == "tool_result" for _, _, block in turns[-1][2]
    )
    last = next((turn for turn in reversed(turns) if turn[1] == "assistant"), None)
    if not is_continued or last is None or not last[2]:
        return
    number, index, block = last[2][0]
    if block["type"] not in _THINKING:
        raise invalid(
            f"messages.{number}.content.{index}.type: Expected `thinking` or `redacted_thinking`, "
            f"but found `{block['type']}`. When `thinking` is enabled, a final `assistant` message "
            "must start with a thinking block (preceeding the lastmost set of `tool_use` and "
            "`tool_result` blocks). We recommend you include thinking blocks from previous turns. "
            f"To avoid this requirement, disable `thinking`. {manual}"
        )


def _turns(messages: list[Block]) -> list[Turn]:
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "system":
            continue
        content = message.get("content") or []
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        placed = [(index, at, block) for at, block in enumerate(blocks)]
        if turns and turns[-1][1] == role:
            turns[-1][2].extend(placed)
        else:
            turns.append((index, role, placed))
    return turns


def _check_results(blocks: list[Placed], before: list[Placed]) -> None:
    called: set[str] | None = None
    for number, at, block in blocks:
        if block["type"] != "tool_result":
            continue
        if called is None:
            called = {b["id"] for _, _, b in before if b["type"] == "tool_use"}
        if block["tool_use_id"] not in called:
            raise invalid(
                f"messages.{number}.content.{at}: unexpected `tool_use_id` found in `tool_result` "
                f"blocks: {block['tool_use_id']}. Each `tool_result` block must have a "
                "corresponding `tool_use` block in the previous message."
            )


def _check_server_tools(index: int, blocks: list[Placed], last: bool) -> None:
    """The last use of the last message may be open: it is resumed after a `pause_turn`."""
    waiting: dict[str, str] = {}
    for number, at, block in blocks:
        kind = block["type"]
        if kind == "server_tool_use":
            waiting[block["id"]] = block["name"]
        elif kind.endswith("_tool_result") and kind != "mcp_tool_result":
            if block["tool_use_id"] not in waiting:
                raise invalid(
                    f"messages.{number}.content.{at}: unexpected `tool_use_id` found in `{kind}` "
                    f"blocks: {block['tool_use_id']}. Each `{kind}` block must have a "
                    "corresponding `server_tool_use` block before it."
                )
            waiting.pop(block["tool_use_id"])
    if last and blocks[-1:] and blocks[-1][2].get("id") in waiting:
        waiting.pop(blocks[-1][2]["id"])
    for call_id, name in waiting.items():
        raise invalid(
            f"messages.{index}: `{name}` tool use with id `{call_id}` was found without a "
            f"corresponding `{RESULT_OF[name]}` block"
        )


def _check_answered(index: int, calls: list[str], blocks: list[Placed]) -> None:
    answered: list[str] = []
    for _, _, block in blocks:
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
