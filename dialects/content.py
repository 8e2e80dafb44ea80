"""OpenAI content parts -> native content blocks.

Sources: https://platform.openai.com/docs/api-reference/chat/create (parts) and
https://docs.anthropic.com/en/api/messages (blocks). Native blocks are taken too, because some
clients (Cursor for one) write them into the OpenAI endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from core.conversation import (
    Block,
    ImageBlock,
    JsonObject,
    ResultPart,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    text_block,
)
from core.errors import GatewayError, InvalidRequest
from dialects import attachments
from dialects.function_tools import arguments
from dialects.tool_names import Names, native_id
from models import Content

TEXT = ("text", "input_text", "output_text", "refusal")


@dataclass(slots=True)
class PartReader:
    """Reads the content of one request's messages; `where` names the place in an error.

    `ignored` gathers the names of what had no counterpart. Text with nothing in it is left out:
    the API refuses it.
    """

    names: Names
    ignored: set[str] = field(default_factory=set)

    def text(self, content: Content, where: str) -> str:
        """The text of a message that may hold nothing else; parts are joined as they stand."""
        return "".join(block["text"] for block in self.texts(content, where))

    def texts(self, content: Content, where: str) -> list[TextBlock]:
        """The parts of a message that may hold text only, with their cache marks."""
        blocks: list[TextBlock] = []
        for part, place in _parts(content, where):
            if part.get("type") not in TEXT:
                raise _unsupported(part, place)
            blocks.append(_marked(text_block(_text(part, place)), part))  # type: ignore[arg-type]  # still a text
        return blocks

    def asked(self, content: Content, where: str) -> list[Block]:
        """A user's blocks: text, images, documents, and native tool results."""
        parts = _parts(content, where)
        return settled(_marked(self._asked_block(part, place), part) for part, place in parts)

    def answered(self, content: Content, where: str) -> list[Block]:
        """The blocks of an earlier answer: text, and native calls and thinking."""
        found: list[Block] = []
        for part, place in _parts(content, where):
            found.extend(_marked(block, part) for block in self._answered_block(part, place))
        return settled(found)

    def result(self, content: Content, where: str) -> list[ResultPart]:
        """The blocks of a tool's result: text and images."""
        kept: list[ResultPart] = []
        for block in self.asked(content, where):
            if block["type"] != "text" and block["type"] != "image":
                raise InvalidRequest("A tool result may hold text and images only.", param=where)
            kept.append(block)
        return kept

    def _asked_block(self, part: JsonObject, where: str) -> Block:
        match part.get("type"):
            case kind if kind in TEXT:
                return text_block(_text(part, where))
            case "image_url" | "input_image":
                return self._image(part, where)
            case "image":
                return _native_image(part, f"{where}.source")
            case "file" | "input_file":
                return _file(part, where)
            case "document":
                return self._document(part, where)
            case "tool_result":
                return self._tool_result(part, where)
            case _:
                raise _unsupported(part, where)

    def _answered_block(self, part: JsonObject, where: str) -> Iterator[Block]:
        match part.get("type"):
            case kind if kind in TEXT:
                yield text_block(_text(part, where))
            case "tool_use":
                yield self._tool_use(part, where)
            case "thinking":
                if part.get("signature"):  # unsigned, the API would refuse it
                    thought, signature = str(part.get("thinking") or ""), str(part["signature"])
                    yield {"type": "thinking", "thinking": thought, "signature": signature}
            case "redacted_thinking":
                yield {"type": "redacted_thinking", "data": str(part.get("data") or "")}
            case "reasoning":
                return
            case _:
                raise _unsupported(part, where)

    def _image(self, part: JsonObject, where: str) -> ImageBlock:
        image: Any = part.get("image_url")
        details = (image.get("detail") if isinstance(image, dict) else None, part.get("detail"))
        if any(detail not in (None, "auto") for detail in details):
            self.ignored.add("messages.content.detail")
        url = image.get("url") if isinstance(image, dict) else image
        if not isinstance(url, str):
            raise InvalidRequest("An image needs a `url`.", param=f"{where}.image_url")
        return attachments.image_of_url(url, f"{where}.image_url")

    def _document(self, part: JsonObject, where: str) -> Block:
        if part.get("citations") or part.get("context"):
            self.ignored.add("messages.content.citations")
        title = part.get("title") if isinstance(part.get("title"), str) else None
        source = part.get("source")
        if isinstance(source, dict) and source.get("type") == "text":
            text = _string(source, "data", f"{where}.source")
            return attachments.text_document(text, title, f"{where}.source.data")
        return attachments.file_block(_native_data(part, where), title, f"{where}.source")

    def _tool_result(self, part: JsonObject, where: str) -> ToolResultBlock:
        call_id = native_id(_string(part, "tool_use_id", where))
        content = part.get("content")
        if content is not None and not isinstance(content, str | list):
            raise _not_text(f"{where}.content")
        result: ToolResultBlock = {
            "type": "tool_result",
            "tool_use_id": call_id,
            "content": self.result(content, f"{where}.content"),
        }
        if part.get("is_error") is True:
            result["is_error"] = True
        return result

    def _tool_use(self, part: JsonObject, where: str) -> ToolUseBlock:
        given = part.get("input")
        if given is not None and not isinstance(given, str | dict):
            raise InvalidRequest("The input of a call must be an object.", param=f"{where}.input")
        return {
            "type": "tool_use",
            "id": native_id(_string(part, "id", where)),
            "name": self.names.native(_string(part, "name", where)),
            "input": arguments(given),
        }


def _marked(block: Block, part: JsonObject) -> Block:
    """The block with the caller's cache mark."""
    mark = part.get("cache_control")
    return {**block, "cache_control": mark} if isinstance(mark, dict) else block  # type: ignore[return-value]  # a key that any block may have


def settled(blocks: Iterable[Block]) -> list[Block]:
    """The blocks without empty texts, which the API refuses. Whitespace between texts is kept: it
    joins the text before it, else the one after it."""
    kept: list[Block] = []
    waiting = ""
    for block in blocks:
        if block["type"] != "text":
            kept.append(block)
            waiting = ""
        elif block["text"].strip():
            kept.append({**block, "text": waiting + block["text"]})
            waiting = ""
        elif kept and kept[-1]["type"] == "text":
            kept[-1] = {**kept[-1], "text": kept[-1]["text"] + block["text"]}
        else:
            waiting += block["text"]
    return kept


def _parts(content: Content, where: str) -> Iterator[tuple[JsonObject, str]]:
    """Each part with its place; strings stand for text parts."""
    if isinstance(content, str):
        yield {"type": "text", "text": content}, where
        return
    for index, part in enumerate(content or ()):
        place = f"{where}[{index}]"
        yield ({"type": "text", "text": part} if isinstance(part, str) else part), place


def _text(part: JsonObject, where: str) -> str:
    name = "refusal" if part.get("type") == "refusal" else "text"
    text = part.get(name)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise _not_text(f"{where}.{name}")
    return text


def _string(part: JsonObject, name: str, where: str) -> str:
    value = part.get(name)
    if not isinstance(value, str):
        raise _not_text(f"{where}.{name}")
    return value


def _native_image(part: JsonObject, where: str) -> ImageBlock:
    source: Any = part.get("source")
    if isinstance(source, dict) and isinstance(source.get("url"), str):
        return attachments.image_of_url(source["url"], where)
    return attachments.image_block(_native_data(part, where.removesuffix(".source")), where)


def _native_data(part: JsonObject, where: str) -> str:
    """The base64 of a native image or document."""
    source: Any = part.get("source")
    if not isinstance(source, dict) or source.get("type", "base64") != "base64":
        raise InvalidRequest("The source must be of type 'base64'.", param=f"{where}.source")
    return _string(source, "data", f"{where}.source")


def _file(part: JsonObject, where: str) -> Block:
    """`{"type": "file", "file": {"file_data", "filename"}}`; also with both beside the type."""
    file = part.get("file", part)
    place = f"{where}.file" if "file" in part else where
    if not isinstance(file, dict):
        raise InvalidRequest("A file needs `file_data`.", param=place)
    if file.get("file_id") and not file.get("file_data"):
        message = "No files are stored here: send the file itself as `file_data`."
        raise InvalidRequest(message, param=f"{place}.file_id", code="unsupported_content")
    title = file.get("filename") if isinstance(file.get("filename"), str) else None
    return attachments.file_block(_string(file, "file_data", place), title, f"{place}.file_data")


def _not_text(where: str) -> GatewayError:
    return InvalidRequest("This must be a string.", param=where, code="invalid_type")


def _unsupported(part: JsonObject, where: str) -> GatewayError:
    kind = part.get("type")
    name = kind[:40] if isinstance(kind, str) else "without a type"
    return InvalidRequest(
        f"Unsupported content part type: {name!r}.",
        param=f"{where}.type",
        code="unsupported_content",
    )
