"""Large images and documents outside of the blocks that show them: each is stored once, by hash.

A source `{"type": "base64", "media_type", "data"}` becomes `{"type": "blob", "media_type",
"sha256"}` and back. Data that would not come back byte for byte stays where it is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from core.conversation import Block

INLINE_CHARACTERS = 4_096
"""Shorter base64 data is not worth a row of its own."""


def detached(content: Sequence[Block]) -> tuple[list[Any], dict[str, bytes]]:
    """The content with references in place of large data, and that data by hash (SHA-256, hex)."""
    blobs: dict[str, bytes] = {}
    return [_detach(block, blobs) for block in content], blobs


def attached(content: Iterable[Any], blobs: Mapping[str, bytes]) -> tuple[Block, ...]:
    """The content as it was before `detached`."""
    return tuple(cast(Block, _attach(block, blobs)) for block in content)


def _detach(block: Any, blobs: dict[str, bytes]) -> Any:
    match block:
        case {"type": "tool_result", "content": list(inner)}:
            return {**block, "content": [_detach(item, blobs) for item in inner]}
        case {"source": {"type": "base64", "data": str(data), **rest}} if (
            len(data) >= INLINE_CHARACTERS and (raw := _decoded(data)) is not None
        ):
            name = hashlib.sha256(raw).hexdigest()
            blobs[name] = raw
            return {**block, "source": {**rest, "type": "blob", "sha256": name}}
        case _:
            return block


def _decoded(data: str) -> bytes | None:
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == data else None


def _attach(block: Any, blobs: Mapping[str, bytes]) -> Any:
    match block:
        case {"type": "tool_result", "content": list(inner)}:
            return {**block, "content": [_attach(item, blobs) for item in inner]}
        case {"source": {"type": "blob", "sha256": str(name), **rest}}:
            data = base64.b64encode(blobs[name]).decode()
            return {**block, "source": {"type": "base64", **rest, "data": data}}
        case _:
            return block
