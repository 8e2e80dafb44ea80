"""A finished answer of the model, and its two forms: one JSON body, or a list of events.

Source: https://docs.anthropic.com/en/api/messages and …/messages-streaming
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from json.encoder import encode_basestring as quoted
from typing import Any, NamedTuple

from demo.blocks import AnswerBlock, Text, Thinking, ToolUse


class Event(NamedTuple):
    """One stream event; `data` is its JSON. Deltas are what rates and cuts count."""

    type: str
    data: str
    is_delta: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer. `cache_write_1h` is the part of `cache_write` kept for an hour,
    `thinking` the part of the output that was thought; `searches` were made in the web."""

    input: int
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    thinking: int = 0
    searches: int = 0
    service_tier: str = "standard"

    def start(self, output: int) -> dict[str, Any]:
        """The usage of a message, with the details that only appear there."""
        cache = {
            "ephemeral_5m_input_tokens": self.cache_write - self.cache_write_1h,
            "ephemeral_1h_input_tokens": self.cache_write_1h,
        }
        return {
            **self.total(output),
            "cache_creation": cache,
            "service_tier": self.service_tier,
        }

    def total(self, output: int) -> dict[str, Any]:
        """The usage of a `message_delta`."""
        total: dict[str, Any] = {
            "input_tokens": self.input,
            "cache_creation_input_tokens": self.cache_write,
            "cache_read_input_tokens": self.cached,
            "output_tokens": output,
        }
        if self.thinking:
            total["output_tokens_details"] = {"thinking_tokens": min(self.thinking, output)}
        if self.searches:
            counts = {"web_search_requests": self.searches, "web_fetch_requests": 0}
            total["server_tool_use"] = counts
        return total


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says; the stream's deltas concatenated are the body's content."""

    id: str
    model: str
    blocks: tuple[AnswerBlock, ...]
    stop_reason: str
    usage: Usage
    stop_sequence: str | None = None
    edits_context: bool = False
    pings: int = 0
    category: str | None = None
    explanation: str | None = None

    @property
    def delta_count(self) -> int:
        """The number of deltas, which is the number of output tokens."""
        return sum(len(block.pieces) for block in self.blocks)


def cut_at_stop(answer: Answer, stops: list[str]) -> Answer:
    """The answer up to the first stop sequence in its text."""
    for index, block in enumerate(answer.blocks):
        if not isinstance(block, Text):
            continue
        text = "".join(block.pieces)
        places = [(text.find(stop), stop) for stop in stops if stop in text]
        if places:
            end, stop = min(places, key=lambda place: place[0])
            kept = (*answer.blocks[:index], replace(block, pieces=_first_chars(block.pieces, end)))
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


def _shortened(block: AnswerBlock, count: int) -> AnswerBlock:
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


_PING = Event("ping", '{"type": "ping"}')


def events(answer: Answer) -> Iterator[Event]:
    """All events of the stream in order."""
    start = {"type": "message_start", "message": _message(answer, 1)}
    yield Event("message_start", json.dumps(start))
    for _ in range(answer.pings):
        yield _PING
    for index, block in enumerate(answer.blocks):
        yield from _block_events(index, block)
        if index == 0:
            yield _PING
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
    return {"type": "refusal", "category": answer.category, "explanation": answer.explanation}


def _block_events(index: int, block: AnswerBlock) -> Iterator[Event]:
    start = {"type": "content_block_start", "index": index, "content_block": block.opened()}
    yield Event("content_block_start", json.dumps(start))
    if isinstance(block, Text):
        for citation in block.citations:
            yield _small_delta(index, {"type": "citations_delta", "citation": citation})
    kind, key = block.delta
    head = f'{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{key}":'
    if isinstance(block, ToolUse):
        # the real API opens every call with an empty piece
        yield Event("content_block_delta", head + '""}}')
    if not isinstance(block, Thinking) or block.shown:
        for piece in block.pieces:
            yield Event("content_block_delta", f"{head}{quoted(piece)}}}}}", True)
    if isinstance(block, Thinking):
        yield _small_delta(index, {"type": "signature_delta", "signature": block.signature})
    yield Event("content_block_stop", f'{{"type":"content_block_stop","index":{index}}}')


def _small_delta(index: int, delta: dict[str, Any]) -> Event:
    """A delta that carries no token."""
    data = json.dumps({"type": "content_block_delta", "index": index, "delta": delta})
    return Event("content_block_delta", data)
