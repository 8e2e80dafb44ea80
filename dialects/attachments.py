"""Images and documents in base64 -> native blocks. What a file is, its bytes say, not its label.

The limits are the Messages API's
(https://platform.claude.com/docs/en/build-with-claude/vision and .../pdf-support); it counts the
characters of the base64.
"""

from __future__ import annotations

import base64
import binascii
import re

from core.conversation import Base64Source, DocumentBlock, ImageBlock, TextSource
from core.errors import GatewayError, InvalidRequest, RequestTooLarge

IMAGE_MAX_BASE64 = 5 * 1024 * 1024
IMAGE_MAX_BYTES = IMAGE_MAX_BASE64 // 4 * 3
FILE_MAX_BASE64 = 32 * 1024 * 1024
TITLE_MAX_CHARACTERS = 500

IMAGE_SIGNATURES = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
URL_SAFE = str.maketrans("-_", "+/")
DATA_URL = re.compile(r"data:([^,]*),", re.IGNORECASE)


def image_of_url(url: str, where: str) -> ImageBlock:
    """The image of a data URL. Other URLs were fetched before this, where that is allowed."""
    head = DATA_URL.match(url)
    if head is None:
        raise InvalidRequest(
            "Images must be `https` URLs or data URLs: `data:image/png;base64,...`.", param=where
        )
    return image_block(_base64_of(url, head, "image", where), where)


def image_block(encoded: str, where: str) -> ImageBlock:
    """Raises InvalidRequest or, past the API's limit, RequestTooLarge."""
    if len(encoded) > IMAGE_MAX_BASE64:
        raise image_too_large(where)
    data = _decoded(encoded, "image", where)
    media_type = sniffed_image(data)
    if media_type is None:
        raise unknown_image(where)
    return {"type": "image", "source": _source(media_type, data)}


def file_block(file_data: str, title: str | None, where: str) -> DocumentBlock | ImageBlock:
    """A PDF, a text or an image, out of a data URL or bare base64."""
    head = DATA_URL.match(file_data)
    encoded = file_data if head is None else _base64_of(file_data, head, "file", where)
    if len(encoded) > FILE_MAX_BASE64:
        raise RequestTooLarge("The file is larger than 32 MB in base64.", param=where)
    data = _decoded(encoded, "file", where)
    if data.startswith(b"%PDF"):
        return document_block(_source("application/pdf", data), title)
    if sniffed_image(data):
        return image_block(encoded, where)
    return text_document(_text(data, where), title, where)


def text_document(text: str, title: str | None, where: str) -> DocumentBlock:
    if not text.strip():
        raise InvalidRequest("The file is empty.", param=where)
    source: TextSource = {"type": "text", "media_type": "text/plain", "data": text}
    return document_block(source, title)


def document_block(source: Base64Source | TextSource, title: str | None) -> DocumentBlock:
    if not title:
        return {"type": "document", "source": source}
    return {"type": "document", "source": source, "title": title[:TITLE_MAX_CHARACTERS]}


def sniffed_image(data: bytes) -> str | None:
    """The media type by the first bytes, if it is one that the model can see."""
    for media_type, signatures in IMAGE_SIGNATURES.items():
        if data.startswith(signatures):
            return media_type if media_type != "image/webp" or data[8:12] == b"WEBP" else None
    return None


def image_too_large(where: str) -> GatewayError:
    return RequestTooLarge("The image is larger than 5 MiB in base64.", param=where)


def unknown_image(where: str) -> GatewayError:
    message = "The image is not a PNG, JPEG, GIF or WebP."
    return InvalidRequest(message, param=where, code="invalid_image")


def _base64_of(url: str, head: re.Match[str], kind: str, where: str) -> str:
    if not head[1].lower().replace(" ", "").endswith(";base64"):
        raise InvalidRequest(f"The {kind}'s data URL must be in base64.", param=where)
    return url[head.end() :]


def _decoded(encoded: str, kind: str, where: str) -> bytes:
    """Line breaks, the URL-safe alphabet and missing padding are forgiven."""
    compact = "".join(encoded.split()).translate(URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        message = f"The {kind} is not valid base64."
        raise InvalidRequest(message, param=where, code=f"invalid_{kind}") from None


def _source(media_type: str, data: bytes) -> Base64Source:
    return {
        "type": "base64",
        "media_type": media_type,
        "data": base64.b64encode(data).decode(),
    }


def _text(data: bytes, where: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        message = "The file is neither a PDF, nor a text in UTF-8, nor an image."
        raise InvalidRequest(message, param=where, code="invalid_file")
    return text
