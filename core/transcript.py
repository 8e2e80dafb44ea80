"""Turns in which Claude Code used tools of its own, as one message.

Such a turn is several answers of the model with results in between, but one answer to the client.
It is kept as one assistant message whose content holds the results too, each after its use:

    text, tool_use, tool_result, text

For the model it is unfolded into the native messages; what a client can know of it is its text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.conversation import Block, Message, merged, text_block
from core.events import PARAGRAPH


def own_ids(message: Message) -> frozenset[str]:
    """The ids of the uses whose results stand in the same answer."""
    if message.role != "assistant":
        return frozenset()
    return frozenset(b["tool_use_id"] for b in message.content if b["type"] == "tool_result")


def native(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation as the API knows it: roles alternate, results are the user's."""
    return merged([part for message in messages for part in _unfolded(message)])


def shown(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation as a client can know it: without own uses and their results."""
    parts = [shown_message(message) for message in messages]
    return merged([message for message in parts if message.content])


def _unfolded(message: Message) -> Iterator[Message]:
    if not own_ids(message):
        yield message
        return
    blocks: list[Block] = []
    is_result = False
    for block in message.content:
        if (block["type"] == "tool_result") != is_result:
            yield _part(blocks, message, is_result=is_result)
            blocks, is_result = [], not is_result
        blocks.append(block)
    yield _part(blocks, message, is_result=is_result)


def _part(blocks: list[Block], whole: Message, *, is_result: bool) -> Message:
    if is_result:
        return Message("user", tuple(blocks))
    return Message("assistant", tuple(blocks), whole.model)


def shown_message(message: Message) -> Message:
    """Its texts as one, as the client was shown them, then its calls of the client's functions."""
    own = own_ids(message)
    if not own:
        return message
    text, others = "", list[Block]()
    apart = False
    for block in message.content:
        match block["type"]:
            case "text":
                text += (PARAGRAPH if apart and text else "") + block["text"]
                apart = False
            case "tool_result":
                apart = True
            case "tool_use" if block["id"] in own:
                apart = True
            case _:
                others.append(block)
    texts: list[Block] = [text_block(text)] if text else []
    return Message("assistant", (*texts, *others), message.model)
