"""An answer's events -> legacy completion chunks or a body."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import dataclass, field

from core import sse
from core.errors import GatewayError, UpstreamError
from core.events import ChoiceEvent, Finished, Reply, Started, StopReason, TextDelta, Usage
from dialects.chat.renderer import wire_usage
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

    def feed(self, item: ChoiceEvent) -> bytes:
        reply = self._replies.setdefault(item.choice, Reply())
        reply.feed(item.event)
        match item.event:
            case Started():
                text = self.call.prompt_of(item.choice) if self.call.echo else ""
                return self._chunk(item.choice, text)
            case TextDelta(text):
                return self._chunk(item.choice, text)
            case Finished(reason):
                return self._chunk(item.choice, "", FINISH[reason])
        return b""

    def _chunk(self, index: int, text: str, finish: FinishReason | None = None) -> bytes:
        choice = {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
        return self._frame([choice], None)

    def _frame(self, choices: list[dict[str, object]], usage: CompletionUsage | None) -> bytes:
        chunk: dict[str, object] = {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self._model,
            "choices": choices,
            "system_fingerprint": self._fingerprint,
        }
        if self.call.include_usage:
            chunk["usage"] = usage.model_dump(exclude_none=True) if usage else None
        return sse.data_frame(json.dumps(chunk, separators=(",", ":")).encode())

    @property
    def _model(self) -> str:
        return next((r.model for r in self._replies.values() if r.model), self.call.turn.model)

    @property
    def _fingerprint(self) -> str | None:
        reply = next((reply for reply in self._replies.values() if reply.model), None)
        if reply is None:
            return None
        digest = hashlib.blake2b(f"{reply.model} {reply.version}".encode(), digest_size=5)
        return f"fp_{digest.hexdigest()}"

    def fail(self, error: GatewayError) -> bytes:
        """An error after the first chunk: a frame of its own, and the stream ends."""
        return sse.data_frame(json.dumps(error.openai_body()).encode()) + sse.DONE

    def finish(self) -> bytes:
        return (self._frame([], self._usage()) if self.call.include_usage else b"") + sse.DONE

    def _usage(self) -> CompletionUsage:
        """Summed over the answers; a cost is only given where it is known for each."""
        finished = [reply.finished for reply in self._replies.values() if reply.finished]
        costs = [done.cost_usd for done in finished if done.cost_usd is not None]
        known = costs and len(costs) == len(finished)
        usage = sum((done.usage for done in finished), Usage())
        return wire_usage(usage, round(sum(costs), 10) if known else None)

    def body(self) -> bytes:
        answer = Completion(
            id=self.id,
            created=self.created,
            model=self._model,
            choices=[self._choice(index, reply) for index, reply in sorted(self._replies.items())],
            usage=self._usage(),
            system_fingerprint=self._fingerprint,
        )
        wire = answer.model_dump()
        if wire["usage"]["cost_usd"] is None:
            del wire["usage"]["cost_usd"]
        return json.dumps(wire, separators=(",", ":")).encode()

    def _choice(self, index: int, reply: Reply) -> CompletionChoice:
        if reply.finished is None:
            raise UpstreamError("The response ended prematurely.")
        prompt = self.call.prompt_of(index) if self.call.echo else ""
        finish = FINISH[reply.finished.reason]
        return CompletionChoice(text=prompt + reply.text, index=index, finish_reason=finish)

    def headers(self) -> dict[str, str]:
        dropped = {name for reply in self._replies.values() for name in reply.dropped}
        headers = {}
        if ignored := sorted({*self.call.ignored, *dropped}):
            headers["x-ignored-parameters"] = ", ".join(ignored)
        cost = self._usage().cost_usd
        if cost is not None and all(reply.finished for reply in self._replies.values()):
            headers["x-claude-cost-usd"] = f"{cost:.10f}".rstrip("0").rstrip(".")
        return headers
