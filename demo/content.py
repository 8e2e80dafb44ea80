"""Refuses messages and content blocks that the real API refuses.

Claude Code also sends `role: system` messages in mid-conversation (beta
`per-turn-control-2026-07-01`), with empty content when they only carry an `output_config`.
"""

import re
from collections.abc import Callable, Collection
from typing import Any, Final

from demo.blocks import SIGNATURE_PREFIX, signature_of
from demo.errors import invalid
from demo.fields import Block, check_cache_control, check_flag, check_names, check_string
from demo.pairing import check_pairs
from demo.server_blocks import SERVER_FIELDS, check_server_block
from demo.sources import check_document, check_image, check_search_result

_FIELDS: Final = {
    "text": "text cache_control citations",
    "image": "source cache_control transformations",
    "document": "source title context citations cache_control",
    "search_result": "source title content citations cache_control",
    "tool_use": "id name input cache_control caller toolset_name",
    "tool_result": "tool_use_id content is_error cache_control toolset_name",
    "thinking": "thinking signature",
    "redacted_thinking": "data",
    "container_upload": "file_id cache_control",
    **SERVER_FIELDS,
}
_ALLOWED: Final = {kind: frozenset(["type", *names.split()]) for kind, names in _FIELDS.items()}
_UNCHECKED: Final = frozenset(
    [
        "compaction",
        "tool_addition",
        "tool_removal",
        "tool_reference",
        "mcp_tool_listing",
        "browser_state",
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
    "search_result": "user",
    "container_upload": "user",
    "tool_use": "assistant",
    "thinking": "assistant",
    "redacted_thinking": "assistant",
    **dict.fromkeys(SERVER_FIELDS, "assistant"),
}
_IN_RESULTS: Final = (
    "text",
    "image",
    "document",
    "search_result",
    "tool_reference",
    "browser_state",
)
_CITATION_FIELDS: Final = {
    "char_location": "document_index document_title start_char_index end_char_index file_id",
    "page_location": "document_index document_title start_page_number end_page_number file_id",
    "content_block_location": (
        "document_index document_title start_block_index end_block_index file_id"
    ),
    "search_result_location": "search_result_index source title start_block_index end_block_index",
    "web_search_result_location": "url title encrypted_index",
}
_OPTIONAL_IN_CITATIONS: Final = ("file_id", "document_title", "title")
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_TOOL_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_PLAIN_TEXT: Final = {"type", "text"}


def check_system(system: Any, betas: Collection[str] = ()) -> None:
    """Raise `ApiError` unless the system prompt is absent, a string or text blocks."""
    if system is None or isinstance(system, str):
        return
    if not isinstance(system, list):
        raise invalid("system: Input should be a valid string or array")
    for index, block in enumerate(system):
        place = f"system.{index}"
        if not isinstance(block, dict) or block.get("type") != "text":
            raise invalid(f"{place}.type: Input should be 'text'")
        check_names(f"{place}.text", block, _ALLOWED["text"])
        _check_text(place, block, "system")
        check_cache_control(place, block.get("cache_control"), betas)


def check_messages(messages: Any, betas: Collection[str] = ()) -> None:
    """Raise `ApiError` for wrong roles, blocks, or tool calls without their results."""
    if messages is None:
        raise invalid("messages: Field required")
    if not isinstance(messages, list):
        raise invalid("messages: Input should be a valid array")
    if not messages:
        raise invalid("messages: at least one message is required")
    last = len(messages) - 1
    for index, message in enumerate(messages):
        _check_message(f"messages.{index}", message, index == last, betas)
    if messages[0]["role"] != "user":
        raise invalid('messages: first message must use the "user" role')
    check_pairs(messages)


def _check_message(place: str, message: Any, last: bool, betas: Collection[str]) -> None:
    if not isinstance(message, dict):
        raise invalid(f"{place}: Input should be a valid dictionary")
    role = message.get("role")
    if role not in _MESSAGE_FIELDS:
        raise invalid(
            f'messages: Unexpected role "{role}". '
            'Allowed roles are "user", "assistant" or "system".'
        )
    check_names(place, message, _MESSAGE_FIELDS[role])
    blocks = _blocks(place, message, last)
    for index, block in enumerate(blocks):
        if type(block) is dict and block.keys() == _PLAIN_TEXT and block["type"] == "text":
            _check_text(f"{place}.content.{index}", block, role)  # nearly all blocks are such
        else:
            check_block(f"{place}.content.{index}", block, role, betas)
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


def check_block(place: str, block: Any, role: str, betas: Collection[str] = ()) -> None:
    """Raise `ApiError` for a content block that a message of this role may not hold."""
    if not isinstance(block, dict):
        raise invalid(f"{place}: Input should be a valid dictionary")
    kind = block.get("type")
    if kind is None:
        raise invalid(f"{place}.type: Field required")
    if kind in _UNCHECKED:
        return
    if kind not in _FIELDS:
        raise _unknown_tag(place, kind, (*_FIELDS, *sorted(_UNCHECKED)))
    if _ROLE_OF_BLOCK.get(kind, role) != role:
        raise invalid(f"{place}: `{kind}` blocks can only be in `{_ROLE_OF_BLOCK[kind]}` messages")
    check_names(f"{place}.{kind}", block, _ALLOWED[kind])
    _CHECKS[kind](place, block, role)
    if (mark := block.get("cache_control")) is not None:
        check_cache_control(f"{place}.{kind}", mark, betas)


def _unknown_tag(place: str, kind: object, known: tuple[str, ...]) -> Exception:
    tags = ", ".join(f"'{tag}'" for tag in known)
    return invalid(
        f"{place}: Input tag '{kind}' found using 'type' does not match any of the expected "
        f"tags: {tags}"
    )


def _check_text(place: str, block: Block, role: str) -> None:
    text = block.get("text")
    if type(text) is not str:
        text = check_string(f"{place}.text.text", text)
    if not text and block.get("cache_control"):
        raise invalid(f"{place}.text: cache_control cannot be set for empty text blocks")
    where = "system" if role == "system" else "messages"
    if not text:
        raise invalid(f"{where}: text content blocks must be non-empty")
    if text.isspace():
        raise invalid(f"{where}: text content blocks must contain non-whitespace text")
    if block.get("citations"):
        _check_citations(f"{place}.text.citations", block["citations"])


def _check_citations(place: str, citations: Any) -> None:
    if not isinstance(citations, list):
        raise invalid(f"{place}: Input should be a valid list")
    for index, citation in enumerate(citations):
        kind = citation.get("type") if isinstance(citation, dict) else None
        if kind not in _CITATION_FIELDS:
            raise _unknown_tag(f"{place}.{index}", kind, tuple(_CITATION_FIELDS))
        names = ["type", "cited_text", *_CITATION_FIELDS[kind].split()]
        check_names(f"{place}.{index}.{kind}", citation, names)
        for name in names:
            if name not in citation and name not in _OPTIONAL_IN_CITATIONS:
                raise invalid(f"{place}.{index}.{kind}.{name}: Field required")


def _check_tool_use(place: str, block: Block, _role: str) -> None:
    for name, pattern in (("id", _TOOL_ID), ("name", _TOOL_NAME)):
        if not pattern.fullmatch(check_string(f"{place}.tool_use.{name}", block.get(name))):
            expected = f"String should match pattern '^{pattern.pattern}$'"
            raise invalid(f"{place}.tool_use.{name}: {expected}")
    if "input" not in block:
        raise invalid(f"{place}.tool_use.input: Field required")
    if not isinstance(block["input"], dict):
        raise invalid(f"{place}.tool_use.input: Input should be a valid dictionary")


def _check_tool_result(place: str, block: Block, role: str) -> None:
    place = f"{place}.tool_result"
    called = check_string(f"{place}.tool_use_id", block.get("tool_use_id"))
    if not _TOOL_ID.fullmatch(called):
        pattern = f"^{_TOOL_ID.pattern}$"
        raise invalid(f"{place}.tool_use_id: String should match pattern '{pattern}'")
    check_flag(f"{place}.is_error", block.get("is_error"))
    check_inner(place, block.get("content"), role, _IN_RESULTS)


def check_inner(place: str, content: Any, role: str, kinds: tuple[str, ...]) -> None:
    """Raise `ApiError` for blocks other than of these kinds inside a result or a document."""
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise invalid(f"{place}.content: Input should be a valid array")
    for index, block in enumerate(content):
        kind = block.get("type") if isinstance(block, dict) else None
        if kind is not None and kind not in kinds:
            raise _unknown_tag(f"{place}.content.{index}", kind, kinds)
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
    if not check_string(f"{place}.redacted_thinking.data", block.get("data")):
        raise invalid(f"{place}: Invalid `data` in `redacted_thinking` block")


def _check_upload(place: str, block: Block, _role: str) -> None:
    check_string(f"{place}.container_upload.file_id", block.get("file_id"))


_CHECKS: Final[dict[str, Callable[[str, Block, str], None]]] = {
    "text": _check_text,
    "image": check_image,
    "document": lambda place, block, role: check_document(place, block, role, check_inner),
    "search_result": lambda place, block, role: check_search_result(
        place, block, role, check_inner
    ),
    "tool_use": _check_tool_use,
    "tool_result": _check_tool_result,
    "thinking": _check_thinking,
    "redacted_thinking": _check_redacted,
    "container_upload": _check_upload,
    **dict.fromkeys(SERVER_FIELDS, check_server_block),
}
