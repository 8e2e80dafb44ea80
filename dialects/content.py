"""OpenAI content parts -> native content blocks.

Sources: https://platform.openai.com/docs/api-reference/chat/create (parts) and
https://docs.anthropic.com/en/api/messages (blocks). Native text and image blocks are taken too,
because some clients mix them in.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from errors import InvalidRequest
from events import Base64Source, Block, ImageBlock, TextBlock, text_block
from models import Content, JsonObject

IMAGE_SIGNATURES = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}


def plain_text(content: Content, where: str) -> str:
    """The text of a message that may hold nothing else; parts are joined as they stand."""
    if content is None or isinstance(content, str):
        return content or ""
    texts: list[str] = []
    for index, part in enumerate(content):
        if part.get("type") not in ("text", "input_text", "output_text", "refusal"):
            raise _unsupported(part, f"{where}[{index}]")
        texts.append(_text(part, f"{where}[{index}]"))
    return "".join(texts)


def blocks(content: Content, where: str) -> Iterator[Block]:
    """The native blocks of a user's content. Text with nothing in it is left out: the API refuses
    it. `where` names the place in an error."""
    if content is None or isinstance(content, str):
        yield from _text_blocks(content or "")
        return
    for index, part in enumerate(content):
        yield from _part(part, f"{where}[{index}]")


def result_content(content: Content, where: str) -> list[TextBlock | ImageBlock]:
    """The blocks of a tool's result: text and images."""
    kept: list[TextBlock | ImageBlock] = []
    for block in blocks(content, where):
        if block["type"] == "text" or block["type"] == "image":
            kept.append(block)
        else:
            raise InvalidRequest("A tool result may hold text and images only.", param=where)
    return kept


def _part(part: JsonObject, where: str) -> Iterator[Block]:
    match part.get("type"):
        case "text" | "input_text" | "output_text":
            yield from _text_blocks(_text(part, where))
        case "refusal":
            yield from _text_blocks(_text(part, where))
        case "image_url" | "input_image":
            yield _image(_url(part, where), f"{where}.image_url")
        case "image" if isinstance(part.get("source"), dict):
            source = part["source"]
            url = f"data:{source.get('media_type')};base64,{source.get('data')}"
            yield _image(url, f"{where}.source")
        case _:
            raise _unsupported(part, where)


def _text_blocks(text: str) -> Iterator[TextBlock]:
    if text.strip():
        yield text_block(text)


def _text(part: JsonObject, where: str) -> str:
    text = part.get("refusal") if part.get("type") == "refusal" else part.get("text")
    if text is None:
        return ""
    if not isinstance(text, str):
        raise InvalidRequest("The text of a part must be a string.", param=f"{where}.text")
    return text


def _url(part: JsonObject, where: str) -> str:
    image: Any = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise InvalidRequest("An image needs a `url`.", param=f"{where}.image_url")
    return url


def _image(url: str, where: str) -> ImageBlock:
    """A data URL as a native block. The bytes decide what it is, not the label."""
    head, _, encoded = url.partition(",")
    if not head.lower().startswith("data:") or not head.lower().endswith(";base64"):
        raise InvalidRequest("Images must be data URLs: `data:image/png;base64,...`.", param=where)
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("The image is not valid base64.", param=where) from None
    media_type = sniffed_image(data)
    if media_type is None:
        raise InvalidRequest(
            "The image is not a PNG, JPEG, GIF or WebP.", param=where, code="invalid_image"
        )
    source: Base64Source = {
        "type": "base64",
        "media_type": media_type,
        "data": base64.b64encode(data).decode(),
    }
    return {"type": "image", "source": source}


def sniffed_image(data: bytes) -> str | None:
    """The media type that the first bytes tell, if it is one the model can see."""
    for media_type, signatures in IMAGE_SIGNATURES.items():
        if data.startswith(signatures):
            return media_type if media_type != "image/webp" or data[8:12] == b"WEBP" else None
    return None


def _unsupported(part: JsonObject, where: str) -> InvalidRequest:
    kind = part.get("type")
    name = kind[:40] if isinstance(kind, str) else "without a type"
    return InvalidRequest(
        f"Content parts of this kind are not supported: {name!r}.",
        param=f"{where}.type",
        code="unsupported_content",
    )
