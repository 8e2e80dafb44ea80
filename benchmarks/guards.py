"""What keys, bounds and browser checks add to a request; limits are off, as they are by default."""

from __future__ import annotations

import asyncio
import json
import time
from statistics import median

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth import KeyBook, load_keyring
from config.settings import Settings
from rate_limiter import RateLimiter
from web.middleware.access import Gate
from web.middleware.body_limits import Bounds, is_deeper_than
from web.middleware.browser_security import Browsers

ROUNDS = 2_000
MOST_MS = 1.0

TURNS = [{"role": "user", "content": "hi " * 200}] * 20
BODY = json.dumps({"model": "sonnet", "messages": TURNS}).encode()
HEADERS = [
    (b"host", b"localhost:8000"),
    (b"authorization", b"Bearer sk-one"),
    (b"content-type", b"application/json"),
    (b"content-length", str(len(BODY)).encode()),
    *((b"x-stainless-%d" % number, b"value") for number in range(10)),
]
SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/v1/chat/completions",
    "raw_path": b"/v1/chat/completions",
    "query_string": b"",
    "headers": HEADERS,
    "client": ("127.0.0.1", 50000),
    "server": ("127.0.0.1", 8000),
}


def as_text() -> str:
    """One line: the milliseconds that the guards add to a request, and whether that is allowed."""
    added_ms = asyncio.run(_added_ms())
    verdict = "PASS" if added_ms < MOST_MS else "FAIL"
    return f"Keys, bounds and browser checks add {added_ms:.3f} ms (at most {MOST_MS:g}): {verdict}"


async def _added_ms() -> float:
    settings = Settings.model_construct(api_key="sk-one")
    keys = KeyBook(load_keyring(settings))
    limiter = RateLimiter(settings)
    gate = Gate(Bounds(_app, settings), settings, keys, limiter)
    guarded = Browsers(gate, settings, keys)
    return await _median_ms(guarded) - await _median_ms(_app) + _shape_ms(settings.max_nesting)


async def _median_ms(app: ASGIApp) -> float:
    times = []
    for _ in range(ROUNDS):
        scope = {**SCOPE}
        started = time.perf_counter()
        await app(scope, _receive, _send)
        times.append(time.perf_counter() - started)
    return median(times) * 1000


def _shape_ms(levels: int) -> float:
    """The look at the parsed body, which is a dependency of the routes."""
    body = json.loads(BODY)
    started = time.perf_counter()
    for _ in range(ROUNDS):
        is_deeper_than(levels, body)
    return (time.perf_counter() - started) * 1000 / ROUNDS


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


async def _receive() -> Message:
    return {"type": "http.request", "body": BODY, "more_body": False}


async def _send(message: Message) -> None:
    return None
