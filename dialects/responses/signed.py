"""Signed thinking as the opaque text of a reasoning item's `encrypted_content`, and back.

The Messages API takes back only thinking that it signed itself, from the model that wrote it
(https://docs.claude.com/en/docs/build-with-claude/extended-thinking). A client that keeps its own
history gets that block, with the model's name, as one text that it returns unchanged. It is
encoded, not encrypted: the signature protects it, and the check sum tells that it was changed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from core.conversation import JsonObject
from core.errors import InvalidRequest

PREFIX = "cct1."
"""Claude Code thinking, first form."""

Kinds: TypeAlias = Mapping[str, tuple[str, ...]]
MAX_CHARACTERS = 8 * 1024 * 1024
CHECK_BYTES = 12
THINKING = {"thinking": ("thinking", "signature"), "redacted_thinking": ("data",)}
COMPACTION = {"compaction": ("text",)}
"""What can be carried, with the texts that each consists of."""


@dataclass(frozen=True, slots=True)
class SignedThinking:
    """One native block, `thinking` or `redacted_thinking`, and the model that wrote it."""

    model: str
    block: JsonObject


def encode(thinking: SignedThinking) -> str:
    told = {"model": thinking.model, "block": thinking.block}
    payload = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    return PREFIX + base64.urlsafe_b64encode(_check_sum(payload) + payload).decode()


def decode(text: str, where: str, kinds: Kinds = THINKING) -> SignedThinking:
    """A block of one of these kinds. Raises InvalidRequest for what `encode` did not write."""
    if not text.startswith(PREFIX) or len(text) > MAX_CHARACTERS:
        raise _unreadable(where)
    try:
        data = base64.b64decode(text[len(PREFIX) :], altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _unreadable(where) from None
    check, payload = data[:CHECK_BYTES], data[CHECK_BYTES:]
    if check != _check_sum(payload):
        raise _unreadable(where)
    thinking = _read(payload, kinds)
    if thinking is None:
        raise _unreadable(where)
    return thinking


def _read(payload: bytes, kinds: Kinds) -> SignedThinking | None:
    """None for JSON of another shape, which only a caller who computes check sums can send."""
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    match told:
        case {"model": str(model), "block": {"type": str(kind)}} if kind in kinds:
            block: JsonObject = told["block"]
            texts = [block.get(key) for key in kinds[kind]]
            if len(block) == len(texts) + 1 and all(isinstance(text, str) for text in texts):
                return SignedThinking(model, block)
    return None


def _check_sum(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=CHECK_BYTES).digest()


def _unreadable(where: str) -> InvalidRequest:
    return InvalidRequest(
        "This encrypted reasoning was not written by this server, or was changed on the way. "
        "Return reasoning items unchanged, or leave them out.",
        param=where,
        code="invalid_encrypted_content",
    )
