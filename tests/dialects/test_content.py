"""Content parts: which native blocks they become, and what they are refused with."""

from __future__ import annotations

import base64
import os
import struct
import zlib
from typing import Any

import pytest

from core.errors import GatewayError
from dialects.attachments import FILE_MAX_BASE64, IMAGE_MAX_BASE64, TITLE_MAX_CHARACTERS
from dialects.chat import messages as chat_messages
from dialects.tool_names import Names
from models import ChatRequest
from tests.conftest import MakeGateway
from tests.support.harness import Gateway, png, said

Part = dict[str, Any]

PDF = base64.b64encode(b"%PDF-1.4 two pages").decode()
GIF = base64.b64encode(b"GIF89a" + bytes(20)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(20)).decode()
WEBP = base64.b64encode(b"RIFF\0\0\0\0WEBPVP8 ").decode()


def text(words: str) -> Part:
    return {"type": "text", "text": words}


def image(data: str, media_type: str = "image/png") -> Part:
    source = {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "image", "source": source}


def url(data: str, label: str = "image/png") -> Part:
    return {"type": "image_url", "image_url": {"url": f"data:{label};base64,{data}"}}


def file(data: str, name: str | None = None) -> Part:
    return {"type": "file", "file": {"file_data": data, "filename": name}}


def document(source: Part, title: str | None = None) -> Part:
    return {"type": "document", "source": source} | ({"title": title} if title else {})


def pdf(title: str | None = None) -> Part:
    return document({"type": "base64", "media_type": "application/pdf", "data": PDF}, title)


def document_text(words: str, title: str | None = None) -> Part:
    return document({"type": "text", "media_type": "text/plain", "data": words}, title)


def base64_text(words: str) -> str:
    return base64.b64encode(words.encode()).decode()


def read(*messages: Part) -> chat_messages.Conversation:
    request = ChatRequest.model_validate({"messages": list(messages)})
    return chat_messages.read(request.messages, Names())


def blocks_of(content: Any) -> list[Any]:
    [message] = read({"role": "user", "content": content}).messages
    return list(message.content)


def refusal(content: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        read({"role": "user", "content": content})
    return caught.value


MARK: Part = {"cache_control": {"type": "ephemeral"}}

ACCEPTED: dict[str, tuple[Any, list[Part]]] = {
    "a string": ("a\n b ", [text("a\n b ")]),
    "text parts stay apart": ([text("a "), text("b")], [text("a "), text("b")]),
    "strings as parts": (["a", "b"], [text("a"), text("b")]),
    "responses' names of parts": (
        [{"type": "input_text", "text": "a"}, url(png()) | {"type": "input_image"}],
        [text("a"), image(png())],
    ),
    "empty parts are left out": (
        [text(""), text("a"), {"type": "text", "text": None}],
        [text("a")],
    ),
    "whitespace joins the text before": (
        [text("a"), text("\n\n"), text("b")],
        [text("a\n\n"), text("b")],
    ),
    "whitespace joins the text after": ([text(" \n"), text("a")], [text(" \na")]),
    "whitespace beside an image is nothing": (
        [url(GIF, "image/gif"), text(" ")],
        [image(GIF, "image/gif")],
    ),
    "a cache mark of the caller's": ([text("a") | MARK], [text("a") | MARK]),
    "the bytes say what an image is": ([url(JPEG, "image/png")], [image(JPEG, "image/jpeg")]),
    "a webp": ([url(WEBP, "image/webp")], [image(WEBP, "image/webp")]),
    "an image's url as a string": (
        [{"type": "image_url", "image_url": f"DATA:image/png;charset=x;BASE64,{png()}"}],
        [image(png())],
    ),
    "base64 with line breaks": ([url(png()[:40] + "\n" + png()[40:])], [image(png())]),
    "base64 without padding": ([url(GIF.rstrip("="))], [image(GIF, "image/gif")]),
    "a native image": ([image(png()) | {"cache_control": None}], [image(png())]),
    "a pdf": ([file(f"data:application/pdf;base64,{PDF}", "a.pdf")], [pdf("a.pdf")]),
    "a pdf as bare base64": ([file(PDF)], [pdf()]),
    "a pdf in the form of Responses": (
        [{"type": "input_file", "file_data": PDF, "filename": "a.pdf"}],
        [pdf("a.pdf")],
    ),
    "a text file": (
        [file("data:text/markdown;base64," + base64_text("# é\n"), "a.md")],
        [document_text("# é\n", "a.md")],
    ),
    "an image as a file": ([file(f"data:image/png;base64,{png()}")], [image(png())]),
    "a long file name": ([file(PDF, "n" * 600)], [pdf("n" * TITLE_MAX_CHARACTERS)]),
    "a native document": ([pdf("a") | MARK], [pdf("a") | MARK]),
    "a native text document": ([document_text("x", "t")], [document_text("x", "t")]),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_part_becomes_its_native_block(name: str) -> None:
    content, expected = ACCEPTED[name]
    assert blocks_of(content) == expected


REFUSED: dict[str, tuple[list[Part], int, str, str]] = {
    "audio": (
        [text("a"), {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}],
        400,
        "messages[0].content[1].type",
        "unsupported_content",
    ),
    "no type": ([{"words": "x"}], 400, "messages[0].content[0].type", "unsupported_content"),
    "text that is none": ([text(3)], 400, "messages[0].content[0].text", "invalid_type"),  # type: ignore[arg-type]
    "a stored file": (
        [{"type": "file", "file": {"file_id": "file-1"}}],
        400,
        "messages[0].content[0].file.file_id",
        "unsupported_content",
    ),
    "a file without data": (
        [{"type": "file", "file": {}}],
        400,
        "messages[0].content[0].file.file_data",
        "invalid_type",
    ),
    "a file of nothing known": (
        [file(base64.b64encode(b"\x00\x01\xff").decode())],
        400,
        "messages[0].content[0].file.file_data",
        "invalid_file",
    ),
    "a file that is empty": (
        [file("data:text/plain;base64,")],
        400,
        "messages[0].content[0].file.file_data",
        "invalid_value",
    ),
    "broken base64": ([url("a*b")], 400, "messages[0].content[0].image_url", "invalid_image"),
    "no image": (
        [url(base64_text("<svg>"))],
        400,
        "messages[0].content[0].image_url",
        "invalid_image",
    ),
    "an image's url in percents": (
        [{"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Csvg%3E"}}],
        400,
        "messages[0].content[0].image_url",
        "invalid_value",
    ),
    "an image without a url": (
        [{"type": "image_url"}],
        400,
        "messages[0].content[0].image_url",
        "invalid_value",
    ),
    "an image of another scheme": (
        [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}],
        400,
        "messages[0].content[0].image_url",
        "invalid_value",
    ),
    "an image too large": (
        [text("a"), url("A" * (IMAGE_MAX_BASE64 + 4))],
        413,
        "messages[0].content[1].image_url",
        "request_too_large",
    ),
    "a file too large": (
        [file("A" * (FILE_MAX_BASE64 + 4))],
        413,
        "messages[0].content[0].file.file_data",
        "request_too_large",
    ),
    "a document of a url": (
        [document({"type": "url", "url": "https://example.com/a.pdf"})],
        400,
        "messages[0].content[0].source",
        "invalid_value",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_part_that_cannot_be_sent_is_named(name: str) -> None:
    content, status, param, code = REFUSED[name]
    error = refusal(content)
    assert (error.status, error.param, error.code) == (status, param, code)


def test_a_system_prompt_with_a_cache_mark_is_kept_in_parts() -> None:
    system = {"role": "system", "content": [text("a\n"), text(" b") | MARK]}
    assert read(system, {"role": "user", "content": "x"}).system == (text("a\n"), text(" b") | MARK)


def test_what_a_part_asks_without_effect_is_named() -> None:
    parts = [url(GIF) | {"image_url": {"url": url(GIF)["image_url"]["url"], "detail": "low"}}]
    assert read({"role": "user", "content": parts}).ignored == ("messages.content.detail",)
    parts[0]["image_url"]["detail"] = "auto"
    assert read({"role": "user", "content": parts}).ignored == ()


def noise(width: int, height: int) -> str:
    """A PNG that does not compress."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    rows = b"".join(b"\0" + os.urandom(3 * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1))
    return base64.b64encode(png + chunk(b"IEND", b"")).decode()


@pytest.mark.parametrize("size", [(1000, 250), (2500, 40)], ids=["over 500 kB", "over 2000 px"])
async def test_images_arrive_unshrunk_at_every_place(
    gateway: Gateway, size: tuple[int, int]
) -> None:
    """The CLI re-encodes such images and adds a text about it."""
    large = noise(*size)
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = {
        "model": "claude-sonnet-5",
        "messages": [
            {"role": "user", "content": [text("Look"), url(large)]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": [text("Here"), url(large)]},
            {"role": "user", "content": [url(large), text("And this?")]},
        ],
    }
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    [request] = gateway.upstream.requests
    result = {
        "type": "tool_result",
        "tool_use_id": "call_1",
        "content": [text("Here"), image(large)],
    }
    assert [said(message) for message in request.messages] == [
        ("user", [text("Look"), image(large)]),
        ("assistant", [{"type": "tool_use", "id": "call_1", "name": "f", "input": {}}]),
        ("user", [result, image(large), text("And this?")]),
    ]
    marks = [str(message).count("cache_control") for message in request.messages]
    assert marks == [1, 0, 1]  # the ends of the last two of the user's


async def test_documents_arrive_and_the_next_conversation_knows_nothing_of_them(
    make_gateway: MakeGateway,
) -> None:
    parts = [text("Read"), file(PDF, "a.pdf"), file(base64_text("Hello\n"), "b.txt")]
    async with make_gateway(max_processes=1) as gateway:
        for content in (parts, "Something else"):
            body = {"model": "claude-sonnet-5", "messages": [{"role": "user", "content": content}]}
            answer = await gateway.http.post("/v1/chat/completions", json=body)
            assert answer.status_code == 200, answer.text
        first, second = gateway.upstream.requests
    assert [said(message) for message in first.messages] == [
        ("user", [text("Read"), pdf("a.pdf"), document_text("Hello\n", "b.txt")])
    ]
    assert [said(message) for message in second.messages] == [("user", [text("Something else")])]


async def test_an_image_in_a_result_arrives_each_time_it_is_sent(
    make_gateway: MakeGateway,
) -> None:
    large = noise(1000, 250)
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    asked = {"role": "user", "content": "!demo call=look"}
    received = []
    async with make_gateway(max_processes=2) as gateway:
        body: dict[str, Any] = {"model": "claude-sonnet-5", "tools": [tool], "messages": [asked]}
        answer = (await gateway.http.post("/v1/chat/completions", json=body)).json()
        message = answer["choices"][0]["message"]
        call_id = message["tool_calls"][0]["id"]
        result = {"role": "tool", "tool_call_id": call_id, "content": [text("It:"), url(large)]}
        body["messages"] = [asked, message, result]
        for _ in range(2):
            answered = await gateway.http.post("/v1/chat/completions", json=body)
            assert answered.status_code == 200, answered.text
            received.append([said(m) for m in gateway.upstream.requests[-1].messages])
    first, second = received
    assert first == second
    assert first[-1][1][0]["content"] == [text("It:"), image(large)]
