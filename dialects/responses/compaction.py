"""A long conversation made short: what the model is asked for, and what takes its place.

Source: https://platform.openai.com/docs/api-reference/responses/compact. The users' messages stay
as they are; all else becomes one summary, an opaque item as with OpenAI.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.conversation import JsonObject
from core.errors import UpstreamError
from core.events import Reply
from dialects.responses import signed
from dialects.responses.signed import SignedThinking
from dialects.responses.wire import ResponsesRequest

ASKED = (
    "Summarize the conversation so far, so that it can be continued from the summary alone: what "
    "was asked for, what was done and found out, decisions and their reasons, exact names, paths "
    "and values that matter, and what is still to be done. Write only the summary."
)
TOLD = "Summary of the conversation so far:\n\n"


def request(asked: ResponsesRequest, items: Sequence[JsonObject]) -> ResponsesRequest:
    """The request that makes the summary of these items."""
    return ResponsesRequest(
        model=asked.model,
        instructions=asked.instructions,
        input=[*items, {"type": "message", "role": "user", "content": ASKED}],
        store=False,
    )


def summary_of(reply: Reply) -> str:
    """Raises UpstreamError where the model wrote none."""
    is_whole = reply.finished is not None and reply.finished.reason == "end_turn"
    if not is_whole or not reply.text.strip():
        raise UpstreamError("The model wrote no summary of the conversation.")
    return reply.text


def told(summary: str) -> str:
    """How a summary goes to the model in a later request."""
    return TOLD + summary


def output(items: Sequence[JsonObject], summary: str, model: str, id: str) -> list[JsonObject]:
    """The items that take the place of these."""
    block: JsonObject = {"type": "compaction", "text": summary}
    encrypted = signed.encode(SignedThinking(model, block))
    kept = [item for item in items if item.get("role") == "user"]
    return [*kept, {"id": id, "type": "compaction", "encrypted_content": encrypted}]
