"""Clients that do not give up, and what must be stored of the answers that they got."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Any

import httpx

from demo import FakeAnthropic
from stores.protocols import SessionStore, StoreLimits
from stores.sql.database import Database, database_url
from stores.sql.store import SqlStore
from tests.support.harness import said
from tests.support.wire import URL, asking

Turns = list[tuple[str, str]]


class Client:
    """Asks its questions one after the other, each until it is answered, at one URL or another.
    A question keeps its Idempotency-Key, as a client does that repeats what it got no answer to."""

    def __init__(self, http: httpx.AsyncClient, urls: Sequence[str], seed: int) -> None:
        self._http = http
        self._urls = urls
        self._random = random.Random(seed)
        self.answered: Turns = []

    async def ask(self, session: str, question: str) -> None:
        while True:
            url = self._random.choice(self._urls)
            try:
                answer = await self._post(url, session, question)
            except httpx.TransportError:  # it was killed
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 200:
                message = answer.json()["choices"][0]["message"]
                self.answered.append((question, message["content"]))
                return
            assert answer.status_code in (409, 502, 503), answer.text
            await asyncio.sleep(0.05)

    async def _post(self, url: str, session: str, question: str) -> httpx.Response:
        body = asking(question, session_id=session)
        return await self._http.post(
            f"{url}{URL}", json=body, headers={"Idempotency-Key": question}
        )


def answers_of(clients: Iterable[Client]) -> int:
    """How many they got so far."""
    return sum(len(client.answered) for client in clients)


async def until_answered(clients: Iterable[Client], count: int) -> None:
    """Returns when they have so many answers together."""
    asked = list(clients)
    while answers_of(asked) < count:  # noqa: ASYNC110  # the clients wait for other processes
        await asyncio.sleep(0.01)


def database(url: str) -> SqlStore:
    """What is stored, read without any server."""
    return SqlStore(Database(database_url(url)), StoreLimits(ttl_seconds=0))


async def stored_turns(store: SessionStore, session: str, principal: str = "local") -> Turns:
    _, kept = await store.read(principal, session)
    texts = ["".join(_texts(message.message.content)) for message in kept]
    roles = [message.message.role for message in kept]
    assert roles == ["user", "assistant"] * (len(kept) // 2)
    return list(zip(texts[::2], texts[1::2], strict=True))


def _texts(blocks: Iterable[Any]) -> Iterable[str]:
    return (block["text"] for block in blocks if block["type"] == "text")


def asked_conversations(upstream: FakeAnthropic) -> set[tuple[str, ...]]:
    """Each conversation that the model was asked about, as its texts."""
    return {
        tuple("".join(_texts(said(message)[1])) for message in request.messages)
        for request in upstream.requests
    }


def agrees(turns: Turns, conversations: set[tuple[str, ...]]) -> bool:
    """Whether the model was asked each question with just the turns before it that are stored."""
    flat = [text for turn in turns for text in turn]
    return all(tuple(flat[: 2 * n + 1]) in conversations for n in range(len(turns)))
