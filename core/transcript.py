"""What a conversation is: for the API, for a client, and for telling whether two are the same.

A turn in which Claude Code used built-in tools is several answers of the model with results in
between, but one answer to the client. It is stored as one assistant message whose content holds the
results too, each after its use:

    text, tool_use, tool_result, text

For the model it is unfolded into the native messages; what a client can know of it is its text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from core.conversation import Block, Message, merged, text_block
from core.events import PARAGRAPH


def builtin_use_ids(message: Message) -> frozenset[str]:
    """The ids of the uses whose results are in the same answer."""
    if message.role != "assistant":
        return frozenset()
    return frozenset(b["tool_use_id"] for b in message.content if b["type"] == "tool_result")


def to_api(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation as the API knows it: roles alternate, results are the user's."""
    return merged([part for message in messages for part in _unfolded(message)])


def to_client(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation as a client can know it: without built-in uses and their results."""
    parts = [client_message(message) for message in messages]
    return merged([message for message in parts if message.content])


def _unfolded(message: Message) -> Iterator[Message]:
    if not builtin_use_ids(message):
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


def client_message(message: Message) -> Message:
    """Its texts as one, as the client was shown them, then its calls of the client's functions."""
    builtin = builtin_use_ids(message)
    if not builtin:
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
            case "tool_use" if block["id"] in builtin:
                apart = True
            case _:
                others.append(block)
    texts: list[Block] = [text_block(text)] if text else []
    return Message("assistant", (*texts, *others), message.model)


def comparable(message: Message) -> str:
    """Equal for two messages that a client means the same by: role, text, media, calls, results.

    What clients commonly change on the way is left out: thinking, how text is cut into parts, white
    space around an answer, the order of parallel calls and of keys in their arguments.
    """
    blocks = _joined_texts(client_message(message).content)
    if message.role == "assistant":
        blocks = _normalized_answer(blocks)
    return json.dumps([message.role, blocks], sort_keys=True)


def _joined_texts(content: Sequence[Block]) -> list[Block]:
    kept: list[Block] = []
    for block in content:
        if block["type"] in ("thinking", "redacted_thinking"):
            continue
        if block["type"] == "text" and kept and kept[-1]["type"] == "text":
            kept[-1] = text_block(kept[-1]["text"] + block["text"])
        else:
            kept.append(block)
    return kept


def _normalized_answer(blocks: Sequence[Block]) -> list[Block]:
    """Clients trim answers and show the calls after the text, in an order of their own."""
    text = "".join(block["text"] for block in blocks if block["type"] == "text").strip()
    calls = [block for block in blocks if block["type"] == "tool_use"]
    return [text_block(text), *sorted(calls, key=lambda call: call["id"])]
