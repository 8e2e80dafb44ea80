"""Turns in a session, as a client asks them, and what came of them."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.harness import Gateway, said
from tests.support.wire import MODEL, URL


async def ask(
    gateway: Gateway, session: str, *messages: dict[str, Any] | str, **fields: Any
) -> httpx.Response:
    """Strings are the user's."""
    sent = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
    body = {"model": MODEL, "messages": sent, "session_id": session, **fields}
    return await gateway.http.post(URL, json=body)


def reported(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    message: dict[str, Any] = response.json()["choices"][0]["message"]
    return message


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def heard(gateway: Gateway) -> list[tuple[str, str]]:
    """Roles and texts of the conversation that the model received last."""
    messages = [said(message) for message in gateway.upstream.requests[-1].messages]
    return [(role, "".join(b.get("text", "") for b in blocks)) for role, blocks in messages]


async def stored(gateway: Gateway, session: str) -> list[dict[str, Any]]:
    response = await gateway.http.get(f"/v1/sessions/{session}")
    assert response.status_code == 200, response.text
    messages: list[dict[str, Any]] = response.json()["messages"]
    return messages


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: str | None) -> dict[str, Any]:
    return {"role": "assistant", "content": content}
