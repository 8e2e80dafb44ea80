"""Limits of keys: by day, month and minute, at once, and over several servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from auth import Principal
from core.errors import LimitExceeded, QuotaExceeded
from core.events import Usage
from core.limits import KeyLimits
from demo import FakeAnthropic
from stores.usage import TurnRecord
from stores.usage_memory import MemoryKeyStore, MemoryUsageLedger
from tests.conftest import MakeGateway
from tests.support.harness import Gateway
from tests.support.postgres import Postgres
from tests.support.wire import URL, asking, streaming
from turns.budgets import Budgets
from turns.usage import Meter, UsageRecorder

NOON = 1_795_608_000.0
"""2026-11-25 12:00 UTC."""


@dataclass(slots=True)
class Bench:
    recorder: UsageRecorder
    budgets: Budgets
    now: float = NOON

    def spend(self, key: str = "a", *, usd: float = 0.0, tokens: int = 0) -> None:
        usage = Usage(input_tokens=tokens)
        self.recorder.record(TurnRecord("r", self.now, key, "chat", usage=usage, cost_usd=usd))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with UsageRecorder(MemoryUsageLedger(MemoryKeyStore()), keep_seconds=9e9) as recorder:
        made = Bench(recorder, Budgets(recorder, clock=lambda: made.now))
        yield made


def key(name: str = "a", **limits: float) -> Principal:
    return Principal(name, "0" * 8, limits=KeyLimits(**limits))  # type: ignore[arg-type]  # numbers


async def test_a_key_without_limits_is_not_looked_up(bench: Bench) -> None:
    bench.spend(usd=1e9)
    await bench.budgets.check(key())


@pytest.mark.parametrize("flushed", [True, False])
async def test_a_day_s_budget_is_refused_until_midnight(bench: Bench, flushed: bool) -> None:
    asking = key(usd_per_day=1.0)
    bench.spend(usd=0.6)
    await bench.budgets.check(asking)
    bench.spend(usd=0.4)
    if flushed:
        await bench.recorder.flush()
    with pytest.raises(QuotaExceeded, match=r"\$1 a day. .*2026-11-26 00:00 UTC") as refused:
        await bench.budgets.check(asking)
    assert refused.value.retry_after == 12 * 3600
    assert (refused.value.status, refused.value.code) == (429, "insufficient_quota")
    bench.now += 12 * 3600
    await bench.recorder.flush()
    await bench.budgets.check(asking)


async def test_a_month_s_tokens_are_refused_until_the_first(bench: Bench) -> None:
    bench.spend(tokens=100)
    await bench.recorder.flush()
    bench.now += 2 * 86_400
    with pytest.raises(QuotaExceeded, match="2026-12-01 00:00 UTC"):
        await bench.budgets.check(key(tokens_per_month=100))
    await bench.budgets.check(key(tokens_per_day=100))
    await bench.budgets.check(key("b", tokens_per_month=100))


async def test_tokens_a_minute_are_refused_for_a_minute(bench: Bench) -> None:
    asking = key(tokens_per_minute=50)
    bench.spend(tokens=50)
    with pytest.raises(LimitExceeded):
        await bench.budgets.check(asking)
    await bench.recorder.flush()
    with pytest.raises(LimitExceeded):
        await bench.budgets.check(asking)
    bench.now += 61
    await bench.budgets.check(asking)


async def test_only_so_many_run_at_once(bench: Bench) -> None:
    asking = key(parallel_requests=1)
    first = Meter(bench.recorder, "1", "a", "chat")
    await bench.budgets.check(asking)
    second = Meter(bench.recorder, "2", "a", "chat")
    with pytest.raises(LimitExceeded):
        await bench.budgets.check(asking)
    first.end()
    await bench.budgets.check(asking)
    second.end()


async def test_nothing_is_counted_twice_or_forgotten_around_a_flush(bench: Bench) -> None:
    asking = key(usd_per_day=10.0)
    for number in range(9):
        bench.spend(usd=1.0)
        if number % 2:
            await asyncio.gather(bench.recorder.flush(), bench.budgets.check(asking))
        await bench.budgets.check(asking)
    bench.spend(usd=1.0)
    with pytest.raises(QuotaExceeded):
        await asyncio.gather(bench.recorder.flush(), bench.budgets.check(asking))


# On the wire


async def made_key(gateway: Gateway, **rules: object) -> dict[str, str]:
    """The headers of a new key."""
    made = await gateway.http.post("/v1/keys", json=rules, headers=OPERATOR)
    assert made.status_code == 201, made.text
    return {"authorization": f"Bearer {made.json()['key']}"}


OPERATOR = {"authorization": "Bearer sk-operator"}


async def test_a_spent_budget_is_a_429_that_names_its_reset(
    make_gateway: MakeGateway, upstream: FakeAnthropic
) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        alice = await made_key(gateway, name="alice", usd_per_day=0.000001)
        assert (await gateway.http.post(URL, json=asking("1"), headers=alice)).status_code == 200
        refused = await gateway.http.post(URL, json=asking("2"), headers=alice)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
        assert refused.headers["x-should-retry"] == "false"
        assert len(upstream.requests) == 1
        [window] = (await gateway.http.get("/v1/usage/limits", headers=alice)).json()["key"]
        assert (window["name"], window["used"] > window["limit"]) == ("usd_per_day", True)
        await gateway.http.patch("/v1/keys/alice", json={"usd_per_day": None}, headers=OPERATOR)
        assert (await gateway.http.post(URL, json=asking("3"), headers=alice)).status_code == 200


async def test_two_servers_on_one_database_share_a_budget_and_what_runs(
    make_gateway: MakeGateway, postgres: Postgres
) -> None:
    url = postgres.new_database()
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(
                make_gateway(api_key="sk-operator", database_url=url, max_processes=2)
            )
            for _ in range(2)
        ]
        alice = await made_key(one, name="alice", tokens_per_day=5)
        assert (await one.http.post(URL, json=asking("1"), headers=alice)).status_code == 200
        await one.app.state.gateway.usage.flush()
        assert (await two.http.post(URL, json=asking("2"), headers=alice)).status_code == 429
        bob = await made_key(one, name="bob", parallel_requests=1)
        one.http.headers.update(bob)
        assert (await two.http.get("/v1/models", headers=bob)).status_code == 200
        async with streaming(one.http, "!demo tokens=400 rate=50") as lines:
            await anext(lines)
            await one.app.state.gateway.usage.flush()
            refused = await two.http.post(URL, json=asking("2"), headers=bob)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
