"""Rate limits: one conformance suite over memory and a real Redis, then a live server. Two servers
that share a limit: tests/system/test_scale_out.py."""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from starlette.requests import Request

import rate_limiter
from auth import LOCAL, Principal
from config.settings import Settings
from core.errors import LimitExceeded
from rate_limiter import RETRY_SECONDS, Allowance, RateLimiter, as_duration, group_of
from tests.conftest import MakeGateway
from tests.support.redis_server import redis_server

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with (
        tempfile.TemporaryDirectory(prefix="redis-") as folder,  # short: a socket's path is bounded
        redis_server(Path(folder) / "s") as url,
    ):
        yield url


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted is the matter here: on a busy machine a real Redis takes its time."""
    monkeypatch.setattr(rate_limiter, "STORE_SECONDS", 10)


class MakeLimiter(Protocol):
    def __call__(self, **settings: Any) -> RateLimiter: ...


@pytest.fixture(params=["memory", "redis"])
async def make_limiter(request: pytest.FixtureRequest) -> AsyncIterator[MakeLimiter]:
    """Limiters over one kind of storage; each test counts under addresses of its own."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    async with AsyncExitStack() as stack:

        def make(**settings: Any) -> RateLimiter:
            chosen = {"rate_limit_enabled": True, "redis_url": url, **settings}
            limiter = RateLimiter(Settings.model_construct(**chosen))
            stack.push_async_callback(limiter.aclose)
            return limiter

        yield make


ADDRESSES = (f"192.0.2.{number}" for number in range(1, 255))


@pytest.fixture
def address() -> str:
    """One that no other test counts under."""
    return next(ADDRESSES)


def asking(address: str, path: str = CHAT, principal: Principal | None = LOCAL) -> Request:
    client = (address, 50000)
    state = {"principal": principal}
    scope = {"type": "http", "path": path, "headers": [], "client": client, "state": state}
    return Request(scope)


async def counted(limiter: RateLimiter, request: Request) -> Allowance:
    allowance = await limiter.count(request)
    assert allowance is not None
    return allowance


async def test_requests_pass_until_the_window_is_full(
    make_limiter: MakeLimiter, address: str
) -> None:
    limiter = make_limiter(rate_limit_chat_per_minute=3)
    seen = [await counted(limiter, asking(address)) for _ in range(5)]
    assert [allowance.exceeded for allowance in seen] == [False, False, False, True, True]
    assert [allowance.remaining for allowance in seen] == [2, 1, 0, 0, 0]
    assert {allowance.limit for allowance in seen} == {3}
    assert all(0 < allowance.reset_seconds <= 60 for allowance in seen)
    assert limiter.unchecked == 0


async def test_requests_at_the_same_time_are_all_counted(
    make_limiter: MakeLimiter, address: str
) -> None:
    limiter = make_limiter(rate_limit_chat_per_minute=10)
    seen = await asyncio.gather(*(counted(limiter, asking(address)) for _ in range(25)))
    assert sum(not allowance.exceeded for allowance in seen) == 10


async def test_addresses_do_not_share(make_limiter: MakeLimiter, address: str) -> None:
    limiter = make_limiter(rate_limit_chat_per_minute=1)
    assert not (await counted(limiter, asking(address))).exceeded
    assert (await counted(limiter, asking(address))).exceeded
    assert not (await counted(limiter, asking(next(ADDRESSES)))).exceeded


async def test_one_ipv6_network_is_one_caller(make_limiter: MakeLimiter, address: str) -> None:
    limiter = make_limiter(rate_limit_chat_per_minute=1)
    network = f"2001:db8:0:{address.rpartition('.')[2]}"
    assert not (await counted(limiter, asking(f"{network}::1"))).exceeded
    assert (await counted(limiter, asking(f"{network}:ffff::9"))).exceeded


async def test_groups_do_not_share_and_all_chat_endpoints_do(
    make_limiter: MakeLimiter, address: str
) -> None:
    limiter = make_limiter(rate_limit_chat_per_minute=1, rate_limit_general_per_minute=1)
    assert not (await counted(limiter, asking(address))).exceeded
    assert (await counted(limiter, asking(address, "/v1/messages"))).exceeded
    assert not (await counted(limiter, asking(address, "/v1/models"))).exceeded
    assert (await counted(limiter, asking(address, "/wp-login.php"))).exceeded


async def test_a_key_counts_wherever_it_is_used_from(
    make_limiter: MakeLimiter, address: str
) -> None:
    limiter = make_limiter(rate_limit_chat_per_minute=1)
    alice = Principal(f"alice-{address}", "0badf00d")
    assert not (await counted(limiter, asking(address, principal=alice))).exceeded
    assert (await counted(limiter, asking(next(ADDRESSES), principal=alice))).exceeded
    assert not (await counted(limiter, asking(address, principal=None))).exceeded


async def test_a_keys_own_limit_replaces_the_chat_limit_even_where_limits_are_off(
    make_limiter: MakeLimiter, address: str
) -> None:
    limiter = make_limiter(rate_limit_enabled=False)
    alice = Principal(f"alice-{address}", "0badf00d", requests_per_minute=2)
    seen = [await counted(limiter, asking(address, principal=alice)) for _ in range(3)]
    assert [allowance.exceeded for allowance in seen] == [False, False, True]
    assert await limiter.count(asking(address, "/v1/models", alice)) is None
    assert await limiter.count(asking(address)) is None


async def test_two_limiters_over_one_redis_share_a_count(redis_url: str, address: str) -> None:
    settings = Settings.model_construct(rate_limit_enabled=True, redis_url=redis_url)
    first, second = RateLimiter(settings), RateLimiter(settings)
    seen = [await counted(which, asking(address)) for which in [first, second] * 3]
    assert [allowance.remaining for allowance in seen] == [9, 8, 7, 6, 5, 4]
    await first.aclose()
    await second.aclose()


async def test_without_redis_requests_pass_and_one_line_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    settings = Settings.model_construct(
        rate_limit_enabled=True, rate_limit_chat_per_minute=1, redis_url=f"unix://{tmp_path}/none"
    )
    limiter = RateLimiter(settings, clock=lambda: now)
    for number in range(1, 6):
        assert await limiter.count(asking("192.0.2.1")) is None
        assert limiter.unchecked == number
        now += RETRY_SECONDS / 2
    lines = [record.getMessage() for record in caplog.records if record.name == "rate_limiter"]
    assert lines == ["Rate limits are not counted, Redis fails: StorageError"]
    await limiter.aclose()


async def test_a_redis_that_comes_back_counts_again(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        socket = Path(folder) / "s"
        settings = Settings.model_construct(rate_limit_enabled=True, redis_url=f"unix://{socket}")
        limiter = RateLimiter(settings, clock=lambda: now)
        assert await limiter.count(asking("192.0.2.1")) is None
        with redis_server(socket):
            assert await limiter.count(asking("192.0.2.1")) is None  # it is left alone for a while
            now += RETRY_SECONDS
            assert (await counted(limiter, asking("192.0.2.1"))).remaining == 9
        await limiter.aclose()
    assert caplog.messages[-1] == "Rate limits are counted again; 2 requests passed"


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/v1/chat/completions", "chat"),
        ("/v1/completions", "chat"),
        ("/v1/responses/resp_1", "chat"),
        ("/v1/messages/count_tokens", "chat"),
        ("/v1/debug/request", "debug"),
        ("/v1/auth/status", "auth"),
        ("/health", "health"),
        ("/health/ready", "health"),
        ("/v1/sessions/s/messages", "session"),
        ("/v1/models", "general"),
        ("/v1/chatter", "general"),
        ("/", "general"),
        ("/assets/app.js", "page"),
        ("/v1/approvals/all", "page"),
        ("/sign-in", "general"),
        ("", "general"),
        ("//v1/chat", "general"),
    ],
)
def test_every_path_has_a_limit(path: str, group: str) -> None:
    assert group_of(path) == group


@pytest.mark.parametrize(("seconds", "text"), [(1, "1s"), (59, "59s"), (60, "1m0s")])
def test_durations_are_written_as_openai_does(seconds: int, text: str) -> None:
    assert as_duration(seconds) == text


def test_the_error_is_the_documented_one() -> None:
    error = Allowance(10, 0, 60, exceeded=True).error()
    assert error.openai_body() == {
        "error": {
            "message": "Rate limit exceeded. Try again in 60 seconds.",
            "type": "rate_limit_exceeded",
            "code": "too_many_requests",
            "retry_after": 60,
        }
    }
    assert (error.status, error.headers()) == (429, {"retry-after": "60"})
    assert LimitExceeded(0.2).openai_body()["error"]["message"].endswith("in 1 second.")


async def test_a_limited_server_tells_of_its_limits_in_every_answer(
    make_gateway: MakeGateway,
) -> None:
    limits: dict[str, Any] = {"rate_limit_enabled": True, "rate_limit_chat_per_minute": 3}
    async with make_gateway(max_processes=1, **limits) as gateway:
        answers = [
            await gateway.http.post(CHAT, content="{"),
            await gateway.http.post(CHAT, json={"model": "no-such-model", "messages": []}),
            await gateway.http.post(
                CHAT, json={"stream": True, "messages": [{"role": "user", "content": "hi"}]}
            ),
            await gateway.http.post(CHAT, json={}),
        ]
        health = await gateway.http.get("/health")
        missing = await gateway.http.get("/nowhere")
    assert [answer.status_code for answer in answers] == [400, 400, 200, 429]
    remaining = [answer.headers["x-ratelimit-remaining-requests"] for answer in answers]
    assert remaining == ["2", "1", "0", "0"]
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {"3"}
    for answer in answers:
        assert re.fullmatch(r"1m0s|\d\ds", answer.headers["x-ratelimit-reset-requests"])
    retry_after = answers[-1].json()["error"]["retry_after"]
    assert answers[-1].headers["retry-after"] == str(retry_after)
    assert health.headers["x-ratelimit-limit-requests"] == "30"
    assert (missing.status_code, missing.headers["x-ratelimit-remaining-requests"]) == (404, "29")


async def test_without_limits_no_answer_tells_of_any(gateway: Any) -> None:
    answer = await gateway.http.get("/health")
    assert not [name for name in answer.headers if "ratelimit" in name]


async def test_a_limit_logs_no_secret_of_the_redis_url(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    settings = Settings.model_construct(
        rate_limit_enabled=True, redis_url="redis://user:s3cret@127.0.0.1:9/0"
    )
    limiter = RateLimiter(settings)
    assert await limiter.count(asking("192.0.2.1")) is None
    await limiter.aclose()
    assert caplog.messages
    assert "s3cret" not in caplog.text
