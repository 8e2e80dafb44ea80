"""What a streamed token costs this server in each of its dialects, at a real model's pace."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from benchmarks.client import BenchmarkError, Connection
from benchmarks.contenders import Contender, quiet
from benchmarks.conversations import Body, for_messages_api, paced
from benchmarks.pace import TOKENS, Window
from benchmarks.plan import Plan


def for_chat(body: Body) -> Body:
    return body


def for_responses(body: Body, *, store: bool = False) -> Body:
    system, question = body["messages"]
    asked = {"instructions": system["content"], "input": question["content"]}
    return {"model": body["model"], "stream": True, "store": store, **asked}


def for_stored_responses(body: Body) -> Body:
    return for_responses(body, store=True)


WAYS: Final[dict[str, tuple[str, Callable[[Body], Body], bytes]]] = {
    "chat": ("/v1/chat/completions", for_chat, b"[DONE]"),
    "responses": ("/v1/responses", for_responses, b'"response.completed"'),
    "responses, stored": ("/v1/responses", for_stored_responses, b'"response.completed"'),
    "messages": ("/v1/messages", for_messages_api, b'"message_stop"'),
}
"""Each dialect: where it is asked, how, and what a whole answer ends with."""


async def token_costs(ours: Contender, plan: Plan) -> dict[str, float]:
    """Microseconds of the server's own processor time a token, by dialect: medians over rounds in
    which the dialects take turns."""
    found: dict[str, list[float]] = defaultdict(list)
    async with AsyncExitStack() as stack:
        entering = stack.enter_async_context
        clients = range(plan.dialect_clients)
        connections = [await entering(ours.connection()) for _ in clients]
        for number in range(plan.dialect_rounds):
            for name in WAYS if number % 2 == 0 else reversed(WAYS):
                found[name].append(await _cost(ours, connections, name, plan.dialect_seconds))
    return {name: round(statistics.median(costs), 1) for name, costs in found.items()}


async def _cost(ours: Contender, connections: list[Connection], name: str, seconds: float) -> float:
    await quiet()
    window, deadline = Window.opened(ours), time.perf_counter() + seconds
    counts = await asyncio.gather(*[_asked(one, name, deadline) for one in connections])
    await quiet()  # what is written after an answer belongs to it
    return window.closed(ours).server_cpu / (sum(counts) * TOKENS) * 1e6


async def _asked(connection: Connection, name: str, deadline: float) -> int:
    """How many whole answers."""
    path, shaped, end = WAYS[name]
    count = 0
    while not count or time.perf_counter() < deadline:
        exchange = await connection.ask(path, shaped(paced()))
        if end not in exchange.body:
            raise BenchmarkError(f"{name}: an answer broke off: {exchange.body[-400:]!r}")
        count += 1
    return count
