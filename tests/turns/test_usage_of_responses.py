"""Responses in the usage ledger: those in the background end after their request."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from stores.usage import TurnFilter, TurnRecord
from tests.conftest import MakeGateway
from tests.support.harness import Gateway
from tests.support.responses_wire import asking, outcome, until_over


@pytest.fixture
async def gateway(make_gateway: MakeGateway) -> AsyncIterator[Gateway]:
    """One for each test, with an empty ledger."""
    async with make_gateway() as made:
        yield made


async def records(gateway: Gateway) -> list[TurnRecord]:
    usage = gateway.app.state.gateway.usage
    await usage.flush()
    return [record for _, record in await usage.ledger.recent(TurnFilter(), 100)]


async def test_a_response_is_found_by_its_id(gateway: Gateway) -> None:
    response = await gateway.client.responses.create(**asking("hi"))
    [record] = await records(gateway)
    assert (record.response_id, record.dialect, record.status) == (response.id, "responses", 200)


async def test_a_background_response_is_measured_to_its_end(gateway: Gateway) -> None:
    begun = await gateway.client.responses.create(
        **asking("!demo tokens=5 rate=50", background=True)
    )
    assert gateway.app.state.gateway.usage.running.total() == 1
    await until_over(gateway.client, begun.id)
    [record] = await records(gateway)
    assert (record.response_id, record.status, record.error) == (begun.id, 200, None)
    [asked] = gateway.upstream.requests
    assert record.usage.output_tokens == asked.usage["output_tokens"] > 0
    assert gateway.app.state.gateway.usage.running.total() == 0


async def test_a_background_response_that_fails_is_recorded_as_failed(gateway: Gateway) -> None:
    begun = await gateway.client.responses.create(**asking("!demo error=500", background=True))
    assert (await until_over(gateway.client, begun.id)).status == "failed"
    [record] = await records(gateway)
    assert record.status >= 500
    assert record.error


async def test_a_cancelled_response_is_recorded(gateway: Gateway) -> None:
    begun = await gateway.client.responses.create(
        **asking("!demo tokens=500 rate=20", background=True)
    )
    await gateway.upstream.wait_for_requests(1)
    job = gateway.app.state.gateway.background.job("local", begun.id)
    await gateway.client.responses.cancel(begun.id)
    assert await outcome(gateway.upstream) == "disconnected"
    while not job.is_over:
        await job.news.wait()
    [record] = await records(gateway)
    assert (record.response_id, record.error) == (begun.id, "client_left")
    assert gateway.app.state.gateway.usage.running.total() == 0


async def test_a_count_of_tokens_is_no_turn(gateway: Gateway) -> None:
    counted = await gateway.client.responses.input_tokens.count(model="sonnet", input="hi")
    assert counted.input_tokens > 0
    assert await records(gateway) == []
    assert gateway.app.state.gateway.usage.running.total() == 0


async def test_a_compaction_is_measured(gateway: Gateway) -> None:
    await gateway.client.responses.compact(model="sonnet", input="hi")
    [record] = await records(gateway)
    assert (record.status, record.dialect) == (200, "responses")
    [asked] = gateway.upstream.requests
    assert record.usage.output_tokens == asked.usage["output_tokens"] > 0
