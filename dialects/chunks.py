"""The chunks of one stream of chat or legacy completions. What they have in common is written once:
per token only the choices differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from core import sse
from core.compact_json import compact
from core.errors import GatewayError
from core.events import Reply, Started, Usage
from models import CompletionTokensDetails, CompletionUsage, PromptTokensDetails


class ChunkWriter:
    """`object_type` is the chunks' `object`; `created` in Unix seconds; `model` holds until the
    answer names its own."""

    def __init__(
        self, object_type: str, id_: str, created: int, model: str, *, include_usage: bool
    ) -> None:
        self.model = model
        self.fingerprint: str | None = None
        self._common = {"id": id_, "object": object_type, "created": created}
        self._include_usage = include_usage
        self._has_started = False
        self._write_frame()

    def _write_frame(self) -> None:
        before = compact({**self._common, "model": self.model})
        after = compact({"system_fingerprint": self.fingerprint})
        self._before = f'data: {before[:-1]},"choices":'
        self._usage_at = f",{after[1:-1]}" + (',"usage":' if self._include_usage else "}\n\n")
        self._after = self._usage_at + ("null}\n\n" if self._include_usage else "")

    def start(self, started: Started) -> None:
        """The first choice to start names the model, and what answers: its fingerprint is of the
        model and the CLI's version."""
        if self._has_started or not started.model:
            return
        self._has_started, self.model = True, started.model
        digest = hashlib.blake2b(f"{started.model} {started.version}".encode(), digest_size=5)
        self.fingerprint = f"fp_{digest.hexdigest()}"
        self._write_frame()

    def chunk(self, choices: str) -> bytes:
        """One frame; `choices` is a JSON array."""
        return f"{self._before}{choices}{self._after}".encode()

    def end(self, usage: CompletionUsage) -> bytes:
        """The last frames of a whole answer."""
        if not self._include_usage:
            return sse.DONE
        text = compact(usage.model_dump(exclude_none=True))
        return f"{self._before}[]{self._usage_at}{text}}}\n\n".encode() + sse.DONE


def fail(error: GatewayError) -> bytes:
    """An error after the first chunk: a frame of its own, and the stream ends."""
    return sse.data_frame(compact(error.openai_body()).encode()) + sse.DONE


def total_usage(replies: Iterable[Reply]) -> CompletionUsage:
    """Summed over the choices; a cost is only given where it is known for each."""
    finished = [reply.finished for reply in replies if reply.finished]
    usage = sum((done.usage for done in finished), Usage())
    costs = [done.cost_usd for done in finished if done.cost_usd is not None]
    is_known = costs and len(costs) == len(finished)
    return wire_usage(usage, round(sum(costs), 10) if is_known else None)


def wire_usage(usage: Usage, cost_usd: float | None) -> CompletionUsage:
    return CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.prompt_tokens + usage.output_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cache_read_tokens),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=usage.reasoning_tokens),
        cost_usd=cost_usd,
    )
