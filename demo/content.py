"""Refuses messages and content blocks that the real API refuses.

Claude Code also sends `role: system` messages in mid-conversation (beta
`per-turn-control-2026-07-01`), with empty content when they only carry an `output_config`.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, Final

from demo.answer import SIGNATURE_PREFIX, signature_of
from demo.errors import invalid
from demo.pairing import check_pairs

Block = dict[str, Any]

_IMAGE_STARTS: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"RIFF": "image/webp",
}
_IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_LARGEST_IMAGE: Final = 5 * 1024 * 1024
_FIELDS: Final = {
    "text": "text cache_control citations",
    "image": "source cache_control transformations",
    "document": "source title context citations cache_control",
    "tool_use": "id name input cache_control caller toolset_name",
    "tool_result": "tool_use_id content is_error cache_control toolset_name",
    "thinking": "thinking signature",
    "redacted_thinking": "data",
}
_UNCHECKED: Final = frozenset(
    [
        "search_result",
        "server_tool_use",
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "mcp_tool_use",
        "mcp_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
        "container_upload",
        "compaction",
        "tool_addition",
        "tool_removal",
        "tool_reference",
        "mcp_tool_listing",
        "advisor_tool_result",
        "fallback",
    ]
)
_MESSAGE_FIELDS: Final = {
    "user": {"role", "content"},
    "assistant": {"role", "content"},
    "system": {"role", "content", "clear_at", "output_config"},
}
_ROLE_OF_BLOCK: Final = {
    "tool_result": "user",
    "image": "user",
    "document": "user",
    "tool_use": "assistant",
    "thinking": "assistant",
    "redacted_thinking": "assistant",
}
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_TOOL_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")


def check_system(system: Any) -> None:
    """Raise `ApiError` unless the system prompt is absent, a string or text blocks."""
    if system is None or isinstance(system, str):
        return
    if not isinstance(system, list):
        raise invalid("system: Input should be a valid string or array")
    for index, block in enumerate(system):
        place = f"system.{index}"
        if not isinstance(block, dict) or block.get("type") != "text":
            raise invalid(f"{place}.type: Input should be 'text'")
        _check_fields(place, block)
        _check_text(place, block, "system")


def check_messages(messages: Any) -> None:
    """Raise `ApiError` for wrong roles, blocks, or tool calls without their results."""
    if messages is None:
        raise invalid("messages: Field required")
    if not isinstance(messages, list):
        raise invalid("messages: Input should be a valid array")
    if not messages:
        raise invalid("messages: at least one message is required")
    for index, message in enumerate(messages):
        _check_message(f"messages.{index}", message, index == len(messages) - 1)
    if messages[0]["role"] != "user":
        raise invalid('messages: first message must use the "user" role')
    check_pairs(messages)


def _check_message(place: str, message: Any, last: bool) -> None:
    if not isinstance(message, dict):
        raise invalid(f"{place}: Input should be a valid dictionary")
    role = message.get("role")
    if role not in _MESSAGE_FIELDS:
        raise invalid(
            f'messages: Unexpected role "{role}". '
            'Allowed roles are "user", "assistant" or "system".'
        )
    for name in message:
        if name not in _MESSAGE_FIELDS[role]:
            raise invalid(f"{place}.{name}: Extra inputs are not permitted")
    blocks = _blocks(place, message, last)
    for index, block in enumerate(blocks):
        check_block(f"{place}.content.{index}", block, role)
    if last and role == "assistant" and blocks:
        text = blocks[-1].get("text", "")
        if text != text.rstrip():
            raise invalid("messages: final assistant content cannot end with trailing whitespace")


def _blocks(place: str, message: Block, last: bool) -> list[Any]:
    content = message.get("content")
    if message["role"] == "system" and not content and message.get("output_config"):
        return []
    if content is None:
        raise invalid(f"{place}.content: Field required")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        raise invalid(f"{place}.content: Input should be a valid array")
    if not content and not (last and message["role"] == "assistant"):
        raise invalid(
            f"{place}: all messages must have non-empty content except for the optional final "
            "assistant message"
        )
    return content


def check_block(place: str, block: Any, role: str) -> None:
    """Raise `ApiError` for a content block that a message of this role may not hold."""
    if not isinstance(block, dict):
        raise invalid(f"{place}: Input should be a valid dictionary")
    kind = block.get("type")
    if kind is None:
        raise invalid(f"{place}.type: Field required")
    if kind in _UNCHECKED:
        return
    if kind not in _FIELDS:
        tags = ", ".join(f"'{tag}'" for tag in (*_FIELDS, *sorted(_UNCHECKED)))
        raise invalid(
            f"{place}: Input tag '{kind}' found using 'type' does not match any of the expected "
            f"tags: {tags}"
        )
    if _ROLE_OF_BLOCK.get(kind, role) != role:
        raise invalid(f"{place}: `{kind}` blocks can only be in `{_ROLE_OF_BLOCK[kind]}` messages")
    _check_fields(place, block)
    _CHECKS[kind](place, block, role)


def _check_fields(place: str, block: Block) -> None:
    kind = block["type"]
    for name in block:
        if name != "type" and name not in _FIELDS[kind].split():
            raise invalid(f"{place}.{kind}.{name}: Extra inputs are not permitted")


def _string(place: str, block: Block, name: str) -> str:
    value = block.get(name)
    if value is None:
        raise invalid(f"{place}.{block['type']}.{name}: Field required")
    if not isinstance(value, str):
        raise invalid(f"{place}.{block['type']}.{name}: Input should be a valid string")
    return value


def _check_text(place: str, block: Block, role: str) -> None:
    text = _string(place, block, "text")
    if not text and block.get("cache_control"):
        raise invalid(f"{place}.text: cache_control cannot be set for empty text blocks")
    where = "system" if role == "system" else "messages"
    if not text:
        raise invalid(f"{where}: text content blocks must be non-empty")
    if not text.strip():
        raise invalid(f"{where}: text content blocks must contain non-whitespace text")


def _check_image(place: str, block: Block, _role: str) -> None:
    source = _source(place, block)
    place = f"{place}.image.source"
    if source.get("type") in ("url", "file"):
        return
    data = _base64(place, source)
    if source.get("media_type") not in _IMAGE_TYPES:
        allowed = "'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"
        raise invalid(f"{place}.base64.media_type: Input should be {allowed}")
    if len(source["data"]) > _LARGEST_IMAGE:
        size = f"{len(source['data'])} bytes > {_LARGEST_IMAGE} bytes"
        raise invalid(f"{place}.base64: image exceeds 5 MB maximum: {size}")
    found = next((kind for start, kind in _IMAGE_STARTS.items() if data.startswith(start)), None)
    if found is None:
        raise invalid(f"{place}.base64.data: Could not process image")
    if found != source["media_type"]:
        raise invalid(
            f"{place}.base64: The image was specified using the {source['media_type']} media type, "
            f"but the image appears to be a {found} image"
        )


def _check_document(place: str, block: Block, role: str) -> None:
    source = _source(place, block)
    place = f"{place}.document.source"
    match source.get("type"):
        case "base64":
            if source.get("media_type") != "application/pdf":
                raise invalid(f"{place}.base64.media_type: Input should be 'application/pdf'")
            if not _base64(place, source).startswith(b"%PDF"):
                raise invalid(f"{place}.base64: The PDF specified was not valid.")
        case "text":
            if source.get("media_type") != "text/plain":
                raise invalid(f"{place}.text.media_type: Input should be 'text/plain'")
            if not source.get("data"):
                raise invalid(f"{place}.text.data: document text must be non-empty")
        case "content":
            check_inner(place, source.get("content"), role)
        case "url" | "file":
            return
        case other:
            raise invalid(f"{place}: Input tag '{other}' does not match 'base64', 'text', 'url'")


def _source(place: str, block: Block) -> Block:
    source = block.get("source")
    if not isinstance(source, dict):
        raise invalid(f"{place}.{block['type']}.source: Field required")
    return source


def _base64(place: str, source: Block) -> bytes:
    if source.get("type") != "base64":
        raise invalid(f"{place}: Input tag '{source.get('type')}' does not match 'base64', 'url'")
    if not isinstance(source.get("data"), str) or not source["data"]:
        raise invalid(f"{place}.base64.data: Field required")
    try:
        return base64.b64decode(source["data"], validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"{place}.base64.data: Invalid base64 data") from None


def _check_tool_use(place: str, block: Block, _role: str) -> None:
    for name, pattern in (("id", _TOOL_ID), ("name", _TOOL_NAME)):
        if not pattern.fullmatch(_string(place, block, name)):
            expected = f"String should match pattern '^{pattern.pattern}$'"
            raise invalid(f"{place}.tool_use.{name}: {expected}")
    if "input" not in block:
        raise invalid(f"{place}.tool_use.input: Field required")
    if not isinstance(block["input"], dict):
        raise invalid(f"{place}.tool_use.input: Input should be a valid dictionary")


def _check_tool_result(place: str, block: Block, role: str) -> None:
    _string(place, block, "tool_use_id")
    if not isinstance(block.get("is_error", False), bool | None):
        raise invalid(f"{place}.tool_result.is_error: Input should be a valid boolean")
    check_inner(f"{place}.tool_result", block.get("content"), role)


def check_inner(place: str, content: Any, role: str) -> None:
    """Raise `ApiError` for wrong blocks inside a tool result or a document."""
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise invalid(f"{place}.content: Input should be a valid array")
    for index, block in enumerate(content):
        check_block(f"{place}.content.{index}", block, role)


def _check_thinking(place: str, block: Block, _role: str) -> None:
    thought, signature = block.get("thinking"), block.get("signature")
    if not isinstance(thought, str):
        raise invalid(f"{place}.thinking.thinking: Field required")
    if not isinstance(signature, str):
        raise invalid(f"{place}.thinking.signature: Field required")
    ours = signature.startswith(SIGNATURE_PREFIX)
    if not signature or (ours and thought and signature != signature_of(thought)):
        raise invalid(f"{place}: Invalid `signature` in `thinking` block")


def _check_redacted(place: str, block: Block, _role: str) -> None:
    _string(place, block, "data")


_CHECKS: Final[dict[str, Callable[[str, Block, str], None]]] = {
    "text": _check_text,
    "image": _check_image,
    "document": _check_document,
    "tool_use": _check_tool_use,
    "tool_result": _check_tool_result,
    "thinking": _check_thinking,
    "redacted_thinking": _check_redacted,
}
