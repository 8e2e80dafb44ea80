"""A request as the demo model reads it."""

from dataclasses import dataclass
from typing import Any, Final

Block = dict[str, Any]

# what Claude Code puts beside the caller's words
_ADDED: Final = ("<system-reminder>", "[Image: ")


def blocks_of(message: dict[str, Any]) -> list[Block]:
    """A message's content as a list of blocks."""
    content = message.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def text_of(content: object) -> str:
    """The text of a string or of text blocks, anything else as `[type]`."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(block.get("text", f"[{block.get('type')}]") for block in blocks)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the rules look at.

    `asked` is the last text block of the last user message that has one (reminders that Claude
    Code adds are passed over). `rounds` counts the user messages with tool results after it,
    `results` are the newest of these as (tool name, text), `called` the tools called since.
    `resumed`: the last message is the assistant's, a turn that was paused or a prefill.
    """

    body: dict[str, Any]
    model: str
    system: str
    asked: str
    rounds: int
    results: tuple[tuple[str, str], ...]
    called: frozenset[str]
    resumed: bool = False

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The tools on offer."""
        return self.body.get("tools") or []

    @property
    def tool_choice(self) -> dict[str, Any]:
        """The request's tool choice, `auto` when it has none."""
        return self.body.get("tool_choice") or {"type": "auto"}

    @property
    def output_schema(self) -> dict[str, Any] | None:
        """The JSON Schema that the answer has to follow, if any."""
        output_format = (self.body.get("output_config") or {}).get("format") or {}
        return output_format.get("schema")


def read(body: dict[str, Any], model: str) -> Conversation:
    """Look at a valid request body."""
    messages = body["messages"]
    start, asked = _last_asked(messages)
    since = messages[start + 1 :]
    calls = [b for m in since for b in blocks_of(m) if b.get("type") == "tool_use"]
    rounds = [m for m in since if any(b.get("type") == "tool_result" for b in blocks_of(m))]
    newest = blocks_of(rounds[-1]) if rounds else []
    return Conversation(
        body=body,
        model=model,
        system=text_of(body.get("system") or ""),
        asked=asked,
        rounds=len(rounds),
        results=_results(newest, {call["id"]: call["name"] for call in calls}),
        called=frozenset(call["name"] for call in calls),
        resumed=messages[-1]["role"] == "assistant",
    )


def _last_asked(messages: list[dict[str, Any]]) -> tuple[int, str]:
    for index in range(len(messages) - 1, -1, -1):
        if messages[index]["role"] == "user":
            texts = [b["text"] for b in blocks_of(messages[index]) if b.get("type") == "text"]
            asked = [text for text in texts if not text.lstrip().startswith(_ADDED)]
            if asked:
                return index, asked[-1]
    return -1, ""


def _results(blocks: list[Block], names: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (names.get(block["tool_use_id"], "?"), text_of(block.get("content")))
        for block in blocks
        if block.get("type") == "tool_result"
    )
