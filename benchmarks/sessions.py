"""`python -m benchmarks.sessions [DATABASE_URL]`: a long session beside the same conversation sent
by the client, and a list beside 10,000 other sessions. Needs no account; keeps nothing."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from core.conversation import Message, text_block
from core.events import Usage
from demo import FakeAnthropic
from stores.protocols import Answer, CompletedTurn, NewSession, SessionStore
from tests.support.harness import gateway_at
from tests.support.wire import MODEL, URL

LENGTH = 500
OTHERS = 10_000
BLOCKS, BLOCK = 4, 12
WARM_UP = 2


async def timed(http: httpx.AsyncClient, body: dict[str, Any]) -> float:
    started = time.perf_counter()
    answer = await http.post(URL, json={"model": MODEL, **body})
    answer.raise_for_status()
    return time.perf_counter() - started


async def filled(store: SessionStore) -> list[dict[str, Any]]:
    """A session of LENGTH messages called `long`; what a client would send of it."""
    texts = [f"message {number} " + "word " * 40 for number in range(LENGTH)]
    roles = ["user", "assistant"] * (LENGTH // 2)
    messages = [
        Message("assistant" if role == "assistant" else "user", (text_block(text),))
        for role, text in zip(roles, texts, strict=True)
    ]
    lease = await store.acquire("local", "long", "benchmark")
    assert lease is not None
    await store.write(lease, CompletedTurn(0, messages, Answer(MODEL, "end_turn", Usage(1)), None))
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]


async def turns(http: httpx.AsyncClient, history: list[dict[str, Any]]) -> None:
    """Blocks of turns in turn, so that both meet the same machine; the first of each block replay
    and are left out."""
    resent: list[float] = []
    in_session: list[float] = []
    for _ in range(BLOCKS):
        for number in range(BLOCK):
            question = {"role": "user", "content": f"{number}\n!demo text=ok"}
            history += [question]
            seconds = await timed(http, {"messages": history})
            history += [{"role": "assistant", "content": "ok"}]
            resent += [seconds] if number >= WARM_UP else []
        for number in range(BLOCK):
            question = {"role": "user", "content": f"{number}\n!demo text=ok"}
            seconds = await timed(http, {"messages": [question], "session_id": "long"})
            in_session += [seconds] if number >= WARM_UP else []
    ours, theirs = statistics.median(in_session) * 1e3, statistics.median(resent) * 1e3
    say(f"next turn: session {ours:.1f} ms, resent {theirs:.1f} ms, ratio {ours / theirs:.2f}")


async def lists(http: httpx.AsyncClient, store: SessionStore) -> None:
    for number in range(OTHERS):
        await store.create(NewSession("other" if number % 2 else "local", f"n{number}"))
    for path in ("", "?after=n5000", "/stats"):
        taken = []
        for _ in range(20):
            started = time.perf_counter()
            (await http.get(f"/v1/sessions{path}")).raise_for_status()
            taken.append(time.perf_counter() - started)
        say(f"GET /v1/sessions{path}: {statistics.median(taken) * 1e3:.1f} ms")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


async def main(url: str | None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        kept = url or f"sqlite:///{home}/sessions.db"
        async with (
            FakeAnthropic() as upstream,
            gateway_at(upstream, home, database_url=kept) as gateway,
        ):
            store: SessionStore = gateway.app.state.gateway.sessions.store
            await gateway.http.get("/v1/models")
            await turns(gateway.http, await filled(store))
            await lists(gateway.http, store)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
