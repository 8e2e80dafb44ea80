"""The usage ledger on the wire: its sums are what the upstream reported, whatever became of a
request. `LEDGER_REQUESTS=1000` mixes as many."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.errors import StoreUnavailable
from core.events import Usage
from demo import FakeAnthropic
from demo.recording import RecordedRequest
from stores import StoreLimits, make_store, make_usage_stores
from stores.usage import TurnFilter, TurnRecord, UsageFilter
from stores.usage_memory import MemoryKeyStore, MemoryUsageLedger
from tests.conftest import MakeGateway
from tests.support.harness import Gateway
from tests.support.postgres import Postgres
from tests.support.server_process import server_process
from tests.support.wire import URL, asking, streaming, until
from turns.dialects import DIALECTS
from turns.usage import Meter, UsageRecorder


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


BODIES: dict[str, Callable[..., dict[str, Any]]] = {
    "chat": chat,
    "messages": lambda text, **fields: {"max_tokens": 500, **chat(text, **fields)},
    "responses": lambda text, **fields: {"input": text, **fields},
    "completions": lambda text, **fields: {"prompt": text, **fields},
}
"""A body of each dialect: a new one must be measured too."""

MODEL = "claude-sonnet-5"
REQUESTS = int(os.environ.get("LEDGER_REQUESTS", "160"))


def upstream_usage(requests: Iterable[RecordedRequest]) -> Usage:
    """What the upstream reported of these requests, in sum."""
    total = Usage()
    for request in requests:
        told = request.usage
        total += Usage(
            told.get("input_tokens", 0),
            told.get("cache_read_input_tokens", 0),
            told.get("cache_creation_input_tokens", 0),
            told.get("output_tokens", 0),
        )
    return total


async def ledger_usage(gateway: Gateway, key: str | None = None) -> Usage:
    found = (await gateway.http.get("/v1/usage", params={"key": key} if key else None)).json()
    total = found["total"]
    return Usage(
        total["input_tokens"],
        total["cache_read_tokens"],
        total["cache_write_tokens"],
        total["output_tokens"],
    )


def test_every_dialect_is_measured() -> None:
    assert set(DIALECTS) <= set(BODIES)


async def ask(http: httpx.AsyncClient, dialect: str, text: str, **fields: Any) -> int:
    body = BODIES[dialect](text, model=MODEL, **fields)
    response = await http.post(DIALECTS[dialect].wire.path, json=body, timeout=60)
    return response.status_code


async def leave(http: httpx.AsyncClient, dialect: str, number: int) -> int:
    """Reads the first words of an answer, and leaves."""
    text = f"Number {number}\n!demo tokens=50 rate=40 input=100 cached=30"
    body = BODIES[dialect](text, model=MODEL, stream=True)
    path = DIALECTS[dialect].wire.path
    async with http.stream("POST", path, json=body, timeout=60) as response:
        async for line in response.aiter_lines():
            if "word" in line:
                break
    return 499


FATES = (
    "!demo tokens=20 cached=40 cache_write=7",
    "!demo thinking=hm tokens=5",
    "!demo error=400 message=no",
    "!demo error=529 message=no",
    "!demo error=429 message=no",
    "!demo error_midstream=overloaded_error error_after=3 message=no",
    "!demo cut=4 rate=10",  # slowly: a reset takes back what was sent and not yet read
    "!demo stop=refusal text=no",
    "!demo tokens=40",
)


async def mixed(https: list[httpx.AsyncClient], number: int, chance: random.Random) -> int:
    http, dialect = chance.choice(https), chance.choice(sorted(DIALECTS))
    if chance.random() < 0.15:
        return await leave(http, dialect, number)
    fields: dict[str, Any] = {"stream": chance.random() < 0.5}
    fate = chance.choice(FATES)
    # where one of several answers fails, the others end, maybe between the upstream's first words
    # and the moment that they are read: only the upstream knows of those
    if dialect == "chat" and "tokens" in fate and chance.random() < 0.3:
        fields["n"] = 2
    return await ask(http, dialect, f"Number {number}\n{fate}", **fields)


async def all_records(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Page by page, the newest first."""
    found: list[dict[str, Any]] = []
    has_more = True
    while has_more:
        before = {"before": found[-1]["number"]} if found else {}
        page = await http.get("/v1/usage/requests", params={"limit": 100, **before})
        found += page.json()["data"]
        has_more = page.json()["has_more"]
    return found


@pytest.mark.timeout(300)
async def test_the_sums_of_two_servers_are_what_the_upstream_reported(
    make_gateway: MakeGateway, postgres: Postgres, upstream: FakeAnthropic
) -> None:
    chance, count = random.Random(20), REQUESTS
    url = postgres.new_database()
    async with AsyncExitStack() as stack:
        gateways = [
            await stack.enter_async_context(make_gateway(database_url=url, max_processes=3))
            for _ in range(2)
        ]
        https = [gateway.http for gateway in gateways]
        slots = asyncio.Semaphore(6)

        async def one(number: int) -> int:
            async with slots:
                return await mixed(https, number, chance)

        statuses = await asyncio.gather(*(one(number) for number in range(count)))
        await until(lambda: not any(g.app.state.gateway.usage.running for g in gateways))
        await gateways[1].app.state.gateway.usage.flush()
        assert await ledger_usage(gateways[0]) == upstream_usage(upstream.requests)
        total = (await https[1].get("/v1/usage")).json()["total"]
        assert total["turns"] == count
        assert 499 in statuses
        records = await all_records(https[0])
        assert len(records) == count
        assert total["errors"] == sum(record["status"] >= 400 for record in records) > 0


async def test_a_record_says_who_asked_what_and_how_long_it_took(make_gateway: MakeGateway) -> None:
    async with make_gateway() as gateway:
        body = asking("hi\n!demo input=9 cached=4", session_id="s", stream=False)
        answer = await gateway.http.post(URL, json=body)
        request_id = answer.headers["x-request-id"]
        found = (await gateway.http.get(f"/v1/usage/requests/{request_id}")).json()
        assert (found["key"], found["session_id"], found["dialect"]) == ("local", "s", "chat")
        assert (found["model_asked"], found["model"]) == (MODEL, answer.json()["model"])
        assert (found["status"], found["error"], found["stream"]) == (200, None, False)
        assert (found["input_tokens"], found["cache_read_tokens"]) == (9, 4)
        assert found["cost_usd"] == answer.json()["usage"]["cost_usd"]
        split = found["queue_ms"] + found["process_ms"] + found["upstream_ms"]
        assert 0 < split <= found["first_token_ms"] <= found["duration_ms"]


async def test_what_is_refused_before_the_model_is_asked_is_recorded_too(
    make_gateway: MakeGateway, upstream: FakeAnthropic
) -> None:
    async with make_gateway() as gateway:
        await gateway.http.post(URL, json=asking("hi", model="none/such"))
        await gateway.http.post(URL, json=asking("hi", n=2, session_id="s"))
        found = (await gateway.http.get("/v1/usage/requests")).json()["data"]
        assert [r["status"] for r in found] == [400, 404]
        assert found[1]["error"] == "model_not_found"
        assert [r["output_tokens"] for r in found] == [0, 0]
        assert not upstream.requests


async def test_a_client_that_leaves_is_recorded_with_what_was_read(
    make_gateway: MakeGateway, upstream: FakeAnthropic
) -> None:
    async with make_gateway() as gateway:
        async with streaming(gateway.http, "!demo tokens=90 rate=30 input=77") as lines:
            async for line in lines:
                if "word2" in line:
                    break
        usage = gateway.app.state.gateway.usage
        await until(lambda: not usage.running)
        [found] = (await gateway.http.get("/v1/usage/requests")).json()["data"]
        assert (found["status"], found["error"]) == (499, "client_left")
        assert (found["input_tokens"], found["output_tokens"]) == (77, 1)
        assert upstream_usage(upstream.requests) == Usage(77, 0, 0, 1)


async def test_a_repeated_answer_of_a_seed_costs_nothing(make_gateway: MakeGateway) -> None:
    async with make_gateway() as gateway:
        for _ in range(2):
            await gateway.http.post(URL, json=asking("hi", seed=3))
        again, first = (await gateway.http.get("/v1/usage/requests")).json()["data"]
        assert first["output_tokens"] > 0
        assert (again["status"], again["output_tokens"], again["cost_usd"]) == (200, 0, None)


async def test_a_stopped_server_loses_nothing(make_gateway: MakeGateway, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/u.db"
    async with make_gateway(database_url=url) as gateway:
        for number in range(5):
            await gateway.http.post(URL, json=asking(f"{number}"))
    assert len(await records(url)) == 5


async def records(url: str) -> list[TurnRecord]:
    store = make_store(url, StoreLimits())
    async with store:
        ledger, _ = make_usage_stores(store)
        return [record for _, record in await ledger.recent(TurnFilter(), 1_000)]


async def test_a_killed_server_loses_what_ended_in_its_last_second_at_most(
    tmp_path: Path, upstream: FakeAnthropic
) -> None:
    environ = {
        **upstream.environment("anthropic"),
        "HOME": str(tmp_path),
        "DATABASE_URL": f"sqlite:///{tmp_path}/k.db",
        "MAX_PROCESSES": "1",
    }
    async with server_process(tmp_path, environ) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
            for number in range(3):
                response = await http.post(URL, json=asking(f"{number}"))
                assert response.status_code == 200
            await asyncio.sleep(1.0)  # what is promised
        await server.kill()
    assert len(await records(environ["DATABASE_URL"])) == 3


# Pure


class Broken(MemoryUsageLedger):
    """A ledger whose database is down at first."""

    def __init__(self) -> None:
        super().__init__(MemoryKeyStore())
        self.is_down = True

    async def write(self, records: Any, running: Any) -> None:
        if self.is_down:
            raise StoreUnavailable("down")
        await super().write(records, running)


async def test_records_wait_for_a_database_that_is_down() -> None:
    ledger = Broken()
    async with UsageRecorder(ledger, keep_seconds=9e9) as recorder:
        for number in range(3):
            Meter(recorder, f"r{number}", "a", "chat").end()
        with pytest.raises(StoreUnavailable):
            await recorder.flush()
        assert len(recorder.unwritten("a")) == 3
        ledger.is_down = False
    [(_, total)] = await ledger.usage(UsageFilter())
    assert (total.turns, recorder.unwritten("a")) == (3, [])


async def test_a_meter_records_once_and_counts_what_runs() -> None:
    async with UsageRecorder(MemoryUsageLedger(MemoryKeyStore()), keep_seconds=9e9) as recorder:
        meters = [Meter(recorder, "r", "a", "chat") for _ in range(2)]
        assert recorder.running == {"a": 2}
        meters[0].end(ValueError("a bug"))
        meters[0].end()
        assert recorder.running == {"a": 1}
        meters[1].end()
        assert [r.status for r in recorder.unwritten("a")] == [500, 499]
        assert not recorder.running


@pytest.mark.parametrize("order", ["text=hi", "error=529", "error=400"])
async def test_the_model_of_a_turn_is_an_id_whatever_became_of_it(
    make_gateway: MakeGateway, order: str
) -> None:
    """So that a filter by it finds the failures too."""
    async with make_gateway() as gateway:
        found = (await gateway.http.get("/v1/models")).json()["data"]
        await gateway.http.post(URL, json=asking(f"!demo {order}", model="haiku"))
        [record] = (await gateway.http.get("/v1/usage/requests")).json()["data"]
    assert record["model_asked"] == "haiku"
    assert record["model"] != "haiku"
    assert record["model"] in {model["id"] for model in found}
