"""The images by address in content parts, of OpenAI's forms and of Anthropic's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.conversation import JsonObject
from dialects.base import ImageUrl


def image_urls(content: Any, where: str) -> Iterator[ImageUrl]:
    """Those of a message's content, tool results included, without data URLs. `where` names the
    content in an error."""
    return (image for image in _in_content(content, where) if image.url[:5].lower() != "data:")


def _in_content(content: Any, where: str) -> Iterator[ImageUrl]:
    for index, part in enumerate(content if isinstance(content, list) else ()):
        if isinstance(part, dict):
            yield from _in_part(part, f"{where}[{index}]")


def _in_part(part: JsonObject, where: str) -> Iterator[ImageUrl]:
    match part:
        case {"type": "image_url" | "input_image", "image_url": str(url)}:
            yield ImageUrl(f"{where}.image_url", url, part, "image_url")
        case {"type": "image_url" | "input_image", "image_url": {"url": str(url)} as holder}:
            yield ImageUrl(f"{where}.image_url", url, holder, "url")
        case {"type": "image", "source": {"type": "url", "url": str(url)} as holder}:
            yield ImageUrl(f"{where}.source", url, holder, "url")
        case {"type": "tool_result", "content": list(content)}:
            yield from _in_content(content, f"{where}.content")
