"""Native content blocks and messages: what was said so far.

Blocks are those of the Anthropic Messages API (https://docs.anthropic.com/en/api/messages), as
plain JSON, so that what a client wrote can be stored, replayed and sent without being changed. The
typed ones are those that this server makes itself; a block may have any other `type` and any
further key (`cache_control`, `citations`), which travel as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

JsonObject: TypeAlias = dict[str, Any]

BLOCK_CHARACTERS = 128
"""What a block weighs beside its text: keys, quotes, and the time that it takes."""

Role = Literal["user", "assistant"]


class TextBlock(TypedDict):
    type: Literal["text"]
    text: str


class Base64Source(TypedDict):
    type: Literal["base64"]
    media_type: str
    data: str


class TextSource(TypedDict):
    type: Literal["text"]
    media_type: Literal["text/plain"]
    data: str


class ImageBlock(TypedDict):
    type: Literal["image"]
    source: Base64Source


class DocumentBlock(TypedDict):
    type: Literal["document"]
    source: Base64Source | TextSource
    title: NotRequired[str]


ResultPart: TypeAlias = TextBlock | ImageBlock | DocumentBlock
"""What a tool's result may hold; of the caller's functions no documents."""


class ToolUseBlock(TypedDict):
    type: Literal["tool_use"]
    id: str
    name: str
    input: JsonObject


class ToolResultBlock(TypedDict):
    type: Literal["tool_result"]
    tool_use_id: str
    content: list[ResultPart]
    is_error: NotRequired[bool]


class ThinkingBlock(TypedDict):
    type: Literal["thinking"]
    thinking: str
    signature: str


class RedactedThinkingBlock(TypedDict):
    type: Literal["redacted_thinking"]
    data: str


Block: TypeAlias = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | ToolUseBlock
    | ToolResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
)


@dataclass(frozen=True, slots=True)
class Message:
    """One native message: a role and its blocks, in order. `model` is the one that wrote it, where
    that is known: only then can its thinking be replayed."""

    role: Role
    content: tuple[Block, ...]
    model: str | None = None


def text_block(text: str) -> TextBlock:
    return {"type": "text", "text": text}


SystemPrompt: TypeAlias = str | tuple[TextBlock, ...] | None


def system_text(system: SystemPrompt) -> str | None:
    """The system prompt as one text, blocks joined by an empty line; None where there is none."""
    if system is None or isinstance(system, str):
        return system
    return "\n\n".join(block["text"] for block in system) or None


def merged(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same conversation with consecutive messages of one role joined, as the API reads it."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            before = joined.pop()
            model = message.model or before.model
            message = Message(message.role, before.content + message.content, model)
        joined.append(message)
    return tuple(joined)


def weighs_more(messages: Iterable[Message], characters: int) -> bool:
    """Whether texts and data of the messages have more characters; each block counts for some."""
    weight = 0
    for message in messages:
        for block in message.content:
            weight += BLOCK_CHARACTERS + _characters(block)
            if weight > characters:
                return True
    return False


def _characters(block: Mapping[str, Any]) -> int:
    source = block.get("source")
    data = source.get("data") if isinstance(source, dict) else None
    content = block.get("content")
    texts = (block.get("text"), data, content)
    return sum(len(text) for text in texts if isinstance(text, str | list))
