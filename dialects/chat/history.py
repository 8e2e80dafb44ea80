"""Native messages -> OpenAI chat messages: what a client shows, or sends back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from core.conversation import Block, ImageBlock, JsonObject, Message, TextBlock, ToolResultBlock
from core.transcript import client_message


def wire_messages(message: Message) -> list[JsonObject]:
    """One message, or several: each tool result is one of its own. None has `reasoning_content`
    but an answer that was thought about."""
    if message.role == "assistant":
        return [_answer(client_message(message).content)]
    results = [_result(block) for block in message.content if block["type"] == "tool_result"]
    said = [block for block in message.content if block["type"] != "tool_result"]
    return [*results, *([{"role": "user", "content": _content(said)}] if said else [])]


def _answer(content: Sequence[Block]) -> JsonObject:
    calls = [
        {
            "id": block["id"],
            "type": "function",
            "function": {"name": block["name"], "arguments": json.dumps(block["input"])},
        }
        for block in content
        if block["type"] == "tool_use"
    ]
    text = "".join(block["text"] for block in content if block["type"] == "text")
    thinking = "".join(block["thinking"] for block in content if block["type"] == "thinking")
    answer: JsonObject = {"role": "assistant", "content": text or None}
    answer |= {"reasoning_content": thinking} if thinking else {}
    return answer | ({"tool_calls": calls} if calls else {})


def _result(block: ToolResultBlock) -> JsonObject:
    return {
        "role": "tool",
        "tool_call_id": block["tool_use_id"],
        "content": _content(block["content"]),
    }


def _content(blocks: Sequence[Block | TextBlock | ImageBlock]) -> str | list[JsonObject]:
    """A string if there is only one text, else parts."""
    if not blocks:
        return ""
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        return blocks[0]["text"]
    return list(_parts(blocks))


def _parts(blocks: Iterable[Block | TextBlock | ImageBlock]) -> Iterable[JsonObject]:
    for block in blocks:
        match block:
            case {"type": "text", "text": text}:
                yield {"type": "text", "text": text}
            case {"type": "image", "source": {"media_type": media_type, "data": data}}:
                url = f"data:{media_type};base64,{data}"
                yield {"type": "image_url", "image_url": {"url": url}}
            case {"type": "document", "source": dict(source), **rest}:
                yield _file(source, str(rest.get("title") or "document.pdf"))


def _file(source: JsonObject, name: str) -> JsonObject:
    if source["type"] == "text":
        return {"type": "text", "text": source["data"]}
    data = f"data:{source['media_type']};base64,{source['data']}"
    return {"type": "file", "file": {"filename": name, "file_data": data}}
