"""How often a caller may ask: fixed windows of a minute, by key or by address.

The rules and their grammar are slowapi's. Its own limiter counts with blocking calls, so one slow
Redis would stop the event loop, and it counts only inside a route, so that neither an unknown path
nor a body that can't be read would count. So the counting is done by the asyncio half of the
library under it (`limits`), before the request is read.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError
from slowapi.wrappers import Limit, LimitGroup
from starlette.requests import Request
from starlette.types import Scope

from auth import Principal
from config.settings import Settings
from core.addresses import client_address, counted_as
from core.errors import LimitExceeded

log = logging.getLogger(__name__)

GENERAL = "general"
GROUPS = {
    "/v1/chat": "chat",
    "/v1/completions": "chat",
    "/v1/responses": "chat",
    "/v1/messages": "chat",
    "/v1/debug": "debug",
    "/v1/auth": "auth",
    "/health": "health",
    "/v1/sessions": "session",
    "/v1/conversations": "session",
    "/assets": "page",
    "/page": "page",
    "/v1/approvals": "page",
    "/v1/usage": "page",
}
"""What the page at / is made of, and what it looks at again and again, is a group of its own."""

STORE_SECONDS = 0.5
"""Longest wait for Redis. After a failure it is left alone for RETRY_SECONDS."""

RETRY_SECONDS = 5.0
KEY_PREFIX = "claude-gateway"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a window that ends in `reset_seconds`."""

    limit: int
    remaining: int
    reset_seconds: int
    exceeded: bool

    def headers(self) -> list[tuple[bytes, bytes]]:
        """https://platform.openai.com/docs/guides/rate-limits, "Rate limits in headers"."""
        values = (self.limit, self.remaining, as_duration(self.reset_seconds))
        return [
            (b"x-ratelimit-%b-requests" % name, str(value).encode())
            for name, value in zip((b"limit", b"remaining", b"reset"), values, strict=True)
        ]

    def anthropic_headers(self) -> list[tuple[bytes, bytes]]:
        """https://docs.anthropic.com/en/api/rate-limits, "Response headers"."""
        reset = datetime.now(UTC) + timedelta(seconds=self.reset_seconds)
        shown = reset.isoformat(timespec="seconds").replace("+00:00", "Z")
        return [
            (b"anthropic-ratelimit-requests-%b" % name, str(value).encode())
            for name, value in (
                (b"limit", self.limit),
                (b"remaining", self.remaining),
                (b"reset", shown),
            )
        ]

    def error(self) -> LimitExceeded:
        return LimitExceeded(self.reset_seconds)


class RateLimiter:
    """Counts requests in `storage`. Where that can't be reached, requests pass: `unchecked` of
    them so far. The caller closes it."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._storage = storage or storage_of(settings)
        self._windows = FixedWindowRateLimiter(self._storage)
        self._rules: dict[tuple[str, int], Limit] = {}
        self._clock = clock
        self._retry_at = -math.inf
        self._is_down = False
        self.unchecked = 0

    async def aclose(self) -> None:
        if isinstance(self._storage, RedisStorage):
            assert isinstance(self._storage.bridge, RedispyBridge)
            await self._storage.bridge.storage.aclose()

    async def count(self, request: Request, requests: int = 1) -> Allowance | None:
        """Counts one request, or one that is worth several; None where no limit applies, or none
        can be looked up."""
        rule = self._rule(request)
        if rule is None:
            return None
        return await self._counted(rule, rule.key_func(request), requests)

    async def count_choices(self, scope: Scope, n: int) -> None:
        """Counts what `n` answers cost beyond the one that was counted already. Raises
        LimitExceeded."""
        if n > 1 and (allowance := await self.count(Request(scope), n - 1)) and allowance.exceeded:
            raise allowance.error()

    def _rule(self, request: Request) -> Limit | None:
        """A key's own limit counts even where general limits are off."""
        group = group_of(request.scope["path"])
        principal: Principal | None = request.scope["state"]["principal"]
        per_minute = getattr(self._settings, f"rate_limit_{group}_per_minute")
        if principal and principal.requests_per_minute and group == "chat":
            per_minute = principal.requests_per_minute
        elif not self._settings.rate_limit_enabled:
            return None
        known = self._rules.get((group, per_minute))
        return known or self._rules.setdefault((group, per_minute), self._made(group, per_minute))

    def _made(self, group: str, per_minute: int) -> Limit:
        text = f"{per_minute}/minute"
        [rule] = LimitGroup(text, self._caller, group, False, None, None, None, 1, False)
        return rule

    def _caller(self, request: Request) -> str:
        principal: Principal | None = request.scope["state"]["principal"]
        if principal and principal.key_id:
            return f"key:{principal.name}"
        return f"ip:{counted_as(client_address(request.scope, self._settings.trusted_proxies))}"

    async def _counted(self, rule: Limit, caller: str, requests: int) -> Allowance | None:
        if self._clock() < self._retry_at:
            self.unchecked += 1
            return None
        where = (KEY_PREFIX, caller, rule.scope)
        try:
            async with asyncio.timeout(STORE_SECONDS):
                passed = await self._windows.hit(rule.limit, *where, cost=requests)
                window = await self._windows.get_window_stats(rule.limit, *where)
        except (StorageError, TimeoutError, OSError) as error:
            self._note_failure(error)
            return None
        self._note_success()
        seconds = max(1, math.ceil(window.reset_time - time.time()))
        return Allowance(rule.limit.amount, max(0, window.remaining), seconds, not passed)

    def _note_failure(self, error: Exception) -> None:
        self.unchecked += 1
        self._retry_at = self._clock() + RETRY_SECONDS
        if not self._is_down:
            log.warning("Rate limits are not counted, Redis fails: %s", type(error).__name__)
        self._is_down = True

    def _note_success(self) -> None:
        if self._is_down:
            log.warning("Rate limits are counted again; %s requests passed", self.unchecked)
        self._is_down = False


def storage_of(settings: Settings) -> Storage:
    """Memory, or the Redis of REDIS_URL; nothing is opened yet."""
    if settings.redis_url is None:
        return MemoryStorage()
    url = settings.redis_url
    scheme = "async+redis+" if url.startswith("unix:") else "async+"
    return RedisStorage(
        scheme + url,
        wrap_exceptions=True,
        implementation="redispy",
        socket_timeout=STORE_SECONDS,
        socket_connect_timeout=STORE_SECONDS,
    )


def group_of(path: str) -> str:
    """The limit that a path counts against; unknown paths count too, so that probing is not
    free."""
    parts = path.split("/", 3)
    return GROUPS.get("/".join(parts[:3])) or GROUPS.get("/".join(parts[:2]), GENERAL)


def as_duration(seconds: int) -> str:
    """`59s`, `1m0s`: as OpenAI writes it."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
