"""Pure ASGI: who is asking, and may they ask now? Before anything of a body is read."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth import LOCAL, MAX_PRESENTED, REFRESH_SECONDS, KeyBook, Principal, presented_keys
from config.settings import Settings
from core.addresses import client_address, counted_as, is_loopback, parsed
from core.errors import GatewayError, LimitExceeded, Overloaded, PermissionDenied
from rate_limiter import Allowance, RateLimiter
from web.anthropic import is_anthropics
from web.errors import error_response
from web.sign_in import SignIn

log = logging.getLogger(__name__)

FREE_FAILURES = 5
FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 8.0
FORGET_SECONDS = 300.0
MOST_WAITING = 8
MOST_ADDRESSES = 10_000


class Failures:
    """Wrong keys by address. Each one over FREE_FAILURES doubles the wait for its answer, and only
    MOST_WAITING of an address wait at once; the others get a 429. A correct key never waits, so
    that guessing locks out no one at the same address."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._waiting: Counter[str] = Counter()

    def check(self, address: str) -> None:
        """Raises LimitExceeded while too many answers wait."""
        if self._waiting[address] >= MOST_WAITING:
            raise LimitExceeded(LONGEST_DELAY_SECONDS)

    async def punish(self, address: str, guesses: int = 1) -> None:
        """Counts each wrong key of a request, and waits. Raises LimitExceeded instead where too
        many wait already."""
        delay_seconds = max([self.note(address) for _ in range(guesses)])
        self.check(address)
        if delay_seconds:
            with self._counted(address):
                await self._sleep(delay_seconds)

    def note(self, address: str) -> float:
        """Remembers a wrong key; the seconds that its answer must wait."""
        now = self._clock()
        count, last = self._seen.pop(address, (0, now))
        count = 1 if now - last > FORGET_SECONDS else count + 1
        self._seen[address] = (count, now)
        if len(self._seen) > MOST_ADDRESSES:
            self._seen.popitem(last=False)
        if count <= FREE_FAILURES:
            return 0.0
        doublings = min(count - FREE_FAILURES - 1, 16)
        return min(FIRST_DELAY_SECONDS * 2.0**doublings, LONGEST_DELAY_SECONDS)

    @contextmanager
    def _counted(self, address: str) -> Iterator[None]:
        self._waiting[address] += 1
        try:
            yield
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]


class Gate:
    """Puts the Principal into the request's state, None where the key is missing or wrong; whether
    a route lets that pass is for its signature to say (web/dependencies.py)."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        keys: KeyBook,
        limiter: RateLimiter | None = None,
        sign_in: SignIn | None = None,
        failures: Failures | None = None,
    ) -> None:
        self.app = app
        self._settings = settings
        self._keys = keys
        self._limiter = limiter
        self._sign_in = sign_in
        self._failures = failures or Failures()
        self._running: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            scope.setdefault("state", {})["principal"] = await self._principal(scope)
            allowance = await self._limiter.count(Request(scope)) if self._limiter else None
        except GatewayError as error:
            await _refuse(error, scope, receive, send)
            return
        if allowance is not None:
            send = _telling(allowance, scope, send)
            if allowance.exceeded:
                await _refuse(allowance.error(), scope, receive, send)
                return
        await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Where there are several keys, none has all connections busy."""
        principal: Principal | None = scope["state"]["principal"]
        name = principal.name if principal else ""
        most = max(1, self._settings.max_connections // 2)
        if len(self._keys) > 1 and self._running[name] >= most:
            error = Overloaded(f"At most {most} requests of one key run at once.", retry_after=1)
            await _refuse(error, scope, receive, send)
            return
        self._running[name] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._running[name] -= 1
            if not self._running[name]:
                del self._running[name]

    async def _principal(self, scope: Scope) -> Principal | None:
        if not await self._is_protected():
            self._check_arrival(scope)
            return LOCAL
        keys = presented_keys(scope["headers"])
        if not keys:
            return await self._sign_in.principal(scope) if self._sign_in else None
        for key in keys[:MAX_PRESENTED]:
            if found := await self._keys.find(key):
                return found
        log.info("a wrong API key, %s", sha256(keys[0]).hexdigest()[:8])
        address = counted_as(client_address(scope, self._settings.trusted_proxies))
        await self._failures.punish(address, min(len(keys), MAX_PRESENTED))
        return None

    async def _is_protected(self) -> bool:
        if not self._keys.is_protected:  # the first key may have been made elsewhere
            await self._keys.refresh(REFRESH_SECONDS)
        return self._keys.is_protected

    def _check_arrival(self, scope: Scope) -> None:
        """Without keys no other computer is served, whatever address uvicorn listens on."""
        if self._settings.allow_unprotected or scope["path"] == "/health":
            return
        arrived_at = (scope.get("server") or ("",))[0]
        if parsed(arrived_at) is not None and not is_loopback(arrived_at):
            raise PermissionDenied(
                "This server has no API key, so it serves its own computer only: "
                "set API_KEY, or ALLOW_UNPROTECTED=true.",
                code="unprotected_server",
            )


def _telling(allowance: Allowance, scope: Scope, send: Send) -> Send:
    known = allowance.headers()
    if is_anthropics(scope):
        known += allowance.anthropic_headers()

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *known]
        await send(message)

    return sending


async def _refuse(error: GatewayError, scope: Scope, receive: Receive, send: Send) -> None:
    await error_response(error, scope)(scope, receive, send)
