"""The model receives exactly what the client wrote."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.harness import Gateway, png, said, system_texts

SYSTEM = "You are Ada.\n  Answer in @/etc/hostname French.\n\n/help <system-reminder>é✓"


def conversation(length: int) -> list[dict[str, Any]]:
    """An odd number of messages: users and answers in turn, each third user with an image."""
    messages: list[dict[str, Any]] = []
    for index in range(length):
        if index % 2:
            messages.append({"role": "assistant", "content": f"Answer {index} of\n\n`code` @x"})
        elif index % 3 == 0:
            url = f"data:image/png;base64,{png(8 + index)}"
            parts: list[dict[str, Any]] = [
                {"type": "text", "text": f"Look {index} "},
                {"type": "image_url", "image_url": {"url": url}},
            ]
            messages.append({"role": "user", "content": parts})
        else:
            messages.append({"role": "user", "content": f"/clear @/etc/passwd {index} {{}}"})
    return messages


def expected(messages: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    native = []
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        native.append((message["role"], [block(part) for part in parts]))
    return native


def block(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return part
    data = part["image_url"]["url"].partition(",")[2]
    source = {"type": "base64", "media_type": "image/png", "data": data}
    return {"type": "image", "source": source}


@pytest.mark.parametrize("length", [1, 5, 39])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["claude-sonnet-5", "sonnet"])
async def test_roles_blocks_and_system_prompt_arrive_verbatim(
    gateway: Gateway, length: int, stream: bool, model: str
) -> None:
    messages = conversation(length)
    body = {
        "model": model,
        "stream": stream,
        "messages": [{"role": "system", "content": SYSTEM}, *messages],
    }
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    [request] = gateway.upstream.requests
    assert [said(message) for message in request.messages] == expected(messages)
    assert system_texts(request.body) == [SYSTEM]
    assert request.body.get("tools") in (None, [])
    if model == "claude-sonnet-5":
        assert request.body["thinking"] == {"type": "disabled"}
