"""A finished answer of the model, and its two forms: one JSON body, or a list of events.

Source: https://docs.anthropic.com/en/api/messages and …/messages-streaming
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from json.encoder import encode_basestring as quoted
from typing import Any, Final, NamedTuple

_WORDS: Final = re.compile(r"\S+\s*|\s+")
ARGUMENT_CHARS: Final = 16
SIGNATURE_PREFIX: Final = "ZGVtbyBzaWduYXR1cmUg"
"""Base64 of "demo signature ", so that this demo's signatures can be told from others."""


class Event(NamedTuple):
    """One stream event; `data` is its JSON. Deltas are what rates and cuts count."""

    type: str
    data: str
    is_delta: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Text in the pieces it is streamed in."""

    pieces: tuple[str, ...]

    def content(self) -> dict[str, Any]:
        """The block of a JSON body."""
        return {"type": "text", "text": "".join(self.pieces)}


@dataclass(frozen=True, slots=True)
class Thinking:
    """Thoughts; `shown` is false when the request asked for `display: omitted`."""

    pieces: tuple[str, ...]
    signature: str
    shown: bool = True

    def content(self) -> dict[str, Any]:
        """The block of a JSON body."""
        text = "".join(self.pieces) if self.shown else ""
        return {"type": "thinking", "thinking": text, "signature": self.signature}


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool call; `pieces` concatenated are the JSON of `input`, unless cut by max_tokens."""

    id: str
    name: str
    input: Any
    pieces: tuple[str, ...]

    def content(self) -> dict[str, Any]:
        """The block of a JSON body."""
        return {"type": "tool_use", "id": self.id, "name": self.name, "input": self.input}


Block = Text | Thinking | ToolUse


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer."""

    input: int
    output: int = 0
    cached: int = 0
    cache_write: int = 0

    def start(self, output: int) -> dict[str, Any]:
        """The usage of a message, with the details that only appear there."""
        cache = {"ephemeral_5m_input_tokens": self.cache_write, "ephemeral_1h_input_tokens": 0}
        return {
            **self.total(output),
            "cache_creation": cache,
            "service_tier": "standard",
        }

    def total(self, output: int) -> dict[str, Any]:
        """The usage of a `message_delta`."""
        return {
            "input_tokens": self.input,
            "cache_creation_input_tokens": self.cache_write,
            "cache_read_input_tokens": self.cached,
            "output_tokens": output,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says; the stream's deltas concatenated are the body's content."""

    id: str
    model: str
    blocks: tuple[Block, ...]
    stop_reason: str
    usage: Usage
    stop_sequence: str | None = None
    edits_context: bool = False

    @property
    def delta_count(self) -> int:
        """The number of deltas, which is the number of output tokens."""
        return sum(len(block.pieces) for block in self.blocks)


def words(text: str, chars: int = 0) -> tuple[str, ...]:
    """Cut a text into words with their white space, or into pieces of `chars` characters."""
    if chars > 0:
        return tuple(text[i : i + chars] for i in range(0, len(text), chars))
    return tuple(_WORDS.findall(text))


def thinking(text: str, chars: int, shown: bool) -> Thinking:
    """A thinking block with its signature."""
    return Thinking(words(text, chars), signature_of(text), shown)


def signature_of(text: str) -> str:
    """The signature of a thought, which a later request has to bring back unchanged."""
    return SIGNATURE_PREFIX + hashlib.sha256(text.encode()).hexdigest()


def tool_use(call_id: str, name: str, arguments: Any, chars: int) -> ToolUse:
    """A tool call whose arguments are streamed in pieces."""
    pieces = words(json.dumps(arguments, ensure_ascii=False), chars or ARGUMENT_CHARS)
    return ToolUse(call_id, name, arguments, pieces)


def cut_at_stop(answer: Answer, stops: list[str]) -> Answer:
    """The answer up to the first stop sequence in its text."""
    for index, block in enumerate(answer.blocks):
        if not isinstance(block, Text):
            continue
        text = "".join(block.pieces)
        places = [(text.find(stop), stop) for stop in stops if stop in text]
        if places:
            end, stop = min(places, key=lambda place: place[0])
            kept = (*answer.blocks[:index], Text(_first_chars(block.pieces, end)))
            blocks = kept if end else kept[:-1]
            return replace(answer, blocks=blocks, stop_reason="stop_sequence", stop_sequence=stop)
    return answer


def cut_at_limit(answer: Answer, max_tokens: int) -> Answer:
    """The answer's first `max_tokens` deltas; a tool call that was cut has an empty input."""
    if answer.delta_count <= max_tokens:
        return answer
    left, blocks = max_tokens, []
    for block in answer.blocks:
        if left <= 0:
            break
        kept = block if len(block.pieces) <= left else _shortened(block, left)
        blocks.append(kept)
        left -= len(kept.pieces)
    return replace(answer, blocks=tuple(blocks), stop_reason="max_tokens")


def _shortened(block: Block, count: int) -> Block:
    if isinstance(block, ToolUse):
        return replace(block, pieces=block.pieces[:count], input={})
    return replace(block, pieces=block.pieces[:count])


def _first_chars(pieces: tuple[str, ...], count: int) -> tuple[str, ...]:
    kept = []
    for piece in pieces:
        if count <= 0:
            break
        kept.append(piece[:count])
        count -= len(piece)
    return tuple(kept)


def body(answer: Answer) -> bytes:
    """The JSON body of the answer."""
    message = _message(answer, answer.delta_count)
    message["content"] = [block.content() for block in answer.blocks]
    message |= {"stop_reason": answer.stop_reason, "stop_sequence": answer.stop_sequence}
    if answer.edits_context:
        message["context_management"] = {"applied_edits": []}
    if details := _stop_details(answer):
        message["stop_details"] = details
    return json.dumps(message, ensure_ascii=False).encode()


def events(answer: Answer) -> Iterator[Event]:
    """All events of the stream in order."""
    start = {"type": "message_start", "message": _message(answer, 1)}
    yield Event("message_start", json.dumps(start))
    for index, block in enumerate(answer.blocks):
        yield from _block_events(index, block)
        if index == 0:
            yield Event("ping", '{"type": "ping"}')
    delta = {"stop_reason": answer.stop_reason, "stop_sequence": answer.stop_sequence}
    if details := _stop_details(answer):
        delta["stop_details"] = details
    end = {"type": "message_delta", "delta": delta}
    end["usage"] = answer.usage.total(max(1, answer.delta_count))
    if answer.edits_context:
        end["context_management"] = {"applied_edits": []}
    yield Event("message_delta", json.dumps(end))
    yield Event("message_stop", '{"type":"message_stop"}')


def _message(answer: Answer, output_tokens: int) -> dict[str, Any]:
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": answer.usage.start(max(1, output_tokens)),
    }


def _stop_details(answer: Answer) -> Any:
    if answer.stop_reason != "refusal":
        return None
    return {"type": "refusal", "category": None, "explanation": None}


def _block_events(index: int, block: Block) -> Iterator[Event]:
    match block:
        case Text():
            opened, kind, key = {"type": "text", "text": ""}, "text_delta", "text"
        case Thinking():
            opened = {"type": "thinking", "thinking": "", "signature": ""}
            kind, key = "thinking_delta", "thinking"
        case ToolUse():
            opened, kind, key = block.content() | {"input": {}}, "input_json_delta", "partial_json"
    start = {"type": "content_block_start", "index": index, "content_block": opened}
    yield Event("content_block_start", json.dumps(start))
    head = f'{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{key}":'
    if isinstance(block, ToolUse):
        # the real API opens every call with an empty piece
        yield Event("content_block_delta", head + '""}}')
    if not isinstance(block, Thinking) or block.shown:
        for piece in block.pieces:
            yield Event("content_block_delta", f"{head}{quoted(piece)}}}}}", True)
    if isinstance(block, Thinking):
        yield _signature(index, block)
    yield Event("content_block_stop", f'{{"type":"content_block_stop","index":{index}}}')


def _signature(index: int, block: Thinking) -> Event:
    delta = {"type": "signature_delta", "signature": block.signature}
    data = json.dumps({"type": "content_block_delta", "index": index, "delta": delta})
    return Event("content_block_delta", data)
