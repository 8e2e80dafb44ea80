"""Images, documents and search results: what a source may be, and what its bytes must be."""

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final

from demo.errors import invalid
from demo.fields import Block, check_flag, check_object, check_string, listed

_IMAGE_STARTS: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"RIFF": "image/webp",
}
_IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_LARGEST_IMAGE: Final = 5 * 1024 * 1024
_SOURCE_FIELDS: Final = {
    "base64": "type media_type data",
    "text": "type media_type data",
    "content": "type content",
    "url": "type url",
    "file": "type file_id",
}

CheckInner = Callable[[str, Any, str, tuple[str, ...]], None]


def check_image(place: str, block: Block, _role: str) -> None:
    """Raise the API's error for an image that it would not take."""
    source = _source(place, block, ("base64", "url", "file"))
    if source["type"] != "base64":
        return
    place = f"{place}.image.source"
    data = _base64(place, source)
    if source.get("media_type") not in _IMAGE_TYPES:
        raise invalid(f"{place}.base64.media_type: Input should be {listed(_IMAGE_TYPES)}")
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


def check_document(place: str, block: Block, role: str, check_inner: CheckInner) -> None:
    """Raise the API's error for a document that it would not take."""
    for name in ("title", "context"):
        if block.get(name) is not None:
            check_string(f"{place}.document.{name}", block[name])
    check_citations_config(f"{place}.document", block.get("citations"))
    source = _source(place, block, tuple(_SOURCE_FIELDS))
    place = f"{place}.document.source"
    match source["type"]:
        case "base64":
            if source.get("media_type") != "application/pdf":
                raise invalid(f"{place}.base64.media_type: Input should be 'application/pdf'")
            if not _base64(place, source).startswith(b"%PDF"):
                raise invalid(f"{place}.base64: The PDF specified was not valid.")
        case "text":
            if source.get("media_type") != "text/plain":
                raise invalid(f"{place}.text.media_type: Input should be 'text/plain'")
            if not check_string(f"{place}.text.data", source.get("data")):
                raise invalid(f"{place}.text.data: document text must be non-empty")
        case "content":
            if source.get("content") is None:
                raise invalid(f"{place}.content.content: Field required")
            check_inner(place, source["content"], role, ("text", "image"))


def check_search_result(place: str, block: Block, role: str, check_inner: CheckInner) -> None:
    """Raise the API's error for a search result that it would not take."""
    place = f"{place}.search_result"
    for name in ("source", "title"):
        check_string(f"{place}.{name}", block.get(name))
    check_citations_config(place, block.get("citations"))
    if not isinstance(block.get("content"), list):
        raise invalid(f"{place}.content: Input should be a valid list")
    check_inner(place, block["content"], role, ("text",))


def check_citations_config(place: str, config: object) -> None:
    """Raise the API's error for a `citations` that is not null or `{enabled}`."""
    if config is not None:
        check_flag(
            f"{place}.citations.enabled",
            check_object(f"{place}.citations", config, ("enabled",)).get("enabled"),
        )


def _source(place: str, block: Block, kinds: tuple[str, ...]) -> Block:
    place, source = f"{place}.{block['type']}.source", block.get("source")
    if not isinstance(source, dict):
        raise invalid(f"{place}: Field required")
    kind = source.get("type")
    if kind not in kinds:
        tags = ", ".join(f"'{tag}'" for tag in kinds)
        raise invalid(
            f"{place}: Input tag '{kind}' found using 'type' does not match any of the expected "
            f"tags: {tags}"
        )
    check_object(f"{place}.{kind}", source, _SOURCE_FIELDS[kind].split())
    if kind in ("url", "file"):
        name = "url" if kind == "url" else "file_id"
        check_string(f"{place}.{kind}.{name}", source.get(name))
    return source


def _base64(place: str, source: Block) -> bytes:
    if not isinstance(source.get("data"), str) or not source["data"]:
        raise invalid(f"{place}.base64.data: Field required")
    try:
        return base64.b64decode(source["data"], validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"{place}.base64.data: Invalid base64 data") from None
