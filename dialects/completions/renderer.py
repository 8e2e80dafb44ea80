"""An answer's events -> legacy completion chunks or a body."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

from core.compact_json import compact
from core.errors import GatewayError, UpstreamError
from core.events import ChoiceEvent, Finished, Reply, Started, StopReason, TextDelta
from dialects import chunks
from dialects.answer_headers import answer_headers
from dialects.chunks import ChunkWriter
from dialects.completions.request import CompletionsCall
from dialects.completions.wire import Completion, CompletionChoice, FinishReason
from models import CompletionUsage

FINISH: dict[StopReason, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "stop",
    "refusal": "content_filter",
    "empty": "stop",
    "pause_turn": "stop",
    "max_turns": "length",
    "max_budget": "length",
}


@dataclass(slots=True)
class CompletionsRenderer:
    """The answers to one call: chunks from `feed`, `fail` and `finish`, or one `body`."""

    call: CompletionsCall
    id: str = field(default_factory=lambda: f"cmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    _replies: dict[int, Reply] = field(default_factory=dict)
    _chunks: ChunkWriter = field(init=False)

    def __post_init__(self) -> None:
        self._chunks = ChunkWriter(
            "text_completion",
            self.id,
            self.created,
            self.call.turn.model,
            include_usage=self.call.include_usage,
        )

    def feed(self, item: ChoiceEvent) -> bytes:
        reply = self._replies.setdefault(item.choice, Reply())
        reply.feed(item.event)
        match item.event:
            case Started():
                self._chunks.start(item.event)
                text = self.call.prompt_of(item.choice) if self.call.echo else ""
                return self._chunk(item.choice, text)
            case TextDelta(text):
                return self._chunk(item.choice, text)
            case Finished(reason):
                return self._chunk(item.choice, "", FINISH[reason])
        return b""

    def _chunk(self, index: int, text: str, finish: FinishReason | None = None) -> bytes:
        choice = {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
        return self._chunks.chunk(compact([choice]))

    def fail(self, error: GatewayError) -> bytes:
        return chunks.fail(error)

    def finish(self) -> bytes:
        return self._chunks.end(self._usage())

    def _usage(self) -> CompletionUsage:
        return chunks.total_usage(self._replies.values())

    def body(self) -> bytes:
        answer = Completion(
            id=self.id,
            created=self.created,
            model=self._chunks.model,
            choices=[self._choice(index, reply) for index, reply in sorted(self._replies.items())],
            usage=self._usage(),
            system_fingerprint=self._chunks.fingerprint,
        )
        wire = answer.model_dump()
        if wire["usage"]["cost_usd"] is None:
            del wire["usage"]["cost_usd"]
        return compact(wire).encode()

    def _choice(self, index: int, reply: Reply) -> CompletionChoice:
        if reply.finished is None:
            raise UpstreamError("The response ended prematurely.")
        prompt = self.call.prompt_of(index) if self.call.echo else ""
        finish = FINISH[reply.finished.reason]
        return CompletionChoice(text=prompt + reply.text, index=index, finish_reason=finish)

    def headers(self) -> dict[str, str]:
        dropped = {name for reply in self._replies.values() for name in reply.dropped}
        is_whole = all(reply.finished for reply in self._replies.values())
        cost_usd = self._usage().cost_usd if is_whole else None
        return answer_headers({*self.call.ignored, *dropped}, cost_usd)
