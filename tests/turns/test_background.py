"""Responses that are worked on after their request has ended."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.conftest import MakeGateway
from tests.support.harness import Gateway
from tests.support.responses_wire import asking, outcome, until_over


async def test_a_background_response_is_polled(gateway: Gateway) -> None:
    begun = await gateway.client.responses.create(
        **asking("!demo tokens=5 rate=20", background=True)
    )
    assert begun.status == "queued"
    done = await until_over(gateway.client, begun.id)
    assert (done.status, done.output_text) == ("completed", "word1 word2 word3 word4 word5")
    assert done.background


async def test_a_background_stream_is_resumed_where_it_broke_off(gateway: Gateway) -> None:
    asked = asking("!demo tokens=20 rate=50", background=True, stream=True)
    whole = []
    async for event in await gateway.client.responses.create(**asked):
        whole.append(event)
        if event.sequence_number == 7:
            break
    created: Any = whole[0]
    rest = await gateway.client.responses.retrieve(
        created.response.id, stream=True, starting_after=7
    )
    whole += [event async for event in rest]
    assert [event.sequence_number for event in whole] == list(range(len(whole)))
    last: Any = whole[-1]
    assert last.type == "response.completed"
    assert last.response.output_text.endswith("word20")
    again = await gateway.client.responses.retrieve(created.response.id, stream=True)
    assert [event.to_dict() async for event in again] == [event.to_dict() for event in whole]


async def test_only_a_stream_in_the_background_is_resumed(gateway: Gateway) -> None:
    response = await gateway.client.responses.create(**asking("hi"))
    with pytest.raises(openai.BadRequestError):
        await gateway.client.responses.retrieve(response.id, stream=True)


async def test_a_cancelled_response_ends_its_turn(gateway: Gateway) -> None:
    begun = await gateway.client.responses.create(
        **asking("!demo tokens=500 rate=20", background=True)
    )
    await gateway.upstream.wait_for_requests(1)
    assert (await gateway.client.responses.cancel(begun.id)).status == "cancelled"
    assert await outcome(gateway.upstream) == "disconnected"
    assert (await gateway.client.responses.cancel(begun.id)).status == "cancelled"
    assert (await gateway.client.responses.retrieve(begun.id)).status == "cancelled"


async def until_gone(gateway: Gateway, id: str) -> None:
    job = gateway.app.state.gateway.background.job("local", id)
    if job is not None and not job.is_over:
        await job.news.wait()


async def test_only_work_in_the_background_is_cancelled(gateway: Gateway) -> None:
    response = await gateway.client.responses.create(**asking("hi"))
    with pytest.raises(openai.BadRequestError, match="background"):
        await gateway.client.responses.cancel(response.id)


async def test_work_that_fails_is_a_failed_response(gateway: Gateway) -> None:
    begun = await gateway.client.responses.create(**asking("!demo error=500", background=True))
    done = await until_over(gateway.client, begun.id)
    assert (done.status, done.error.code) == ("failed", "server_error")
    with pytest.raises(openai.BadRequestError, match="cannot be continued"):
        await gateway.client.responses.create(**asking("so", previous_response_id=begun.id))


async def test_a_response_at_work_cannot_be_continued_yet(gateway: Gateway) -> None:
    begun = await gateway.client.responses.create(
        **asking("!demo tokens=100 rate=20", background=True)
    )
    with pytest.raises(openai.BadRequestError, match="cannot be continued"):
        await gateway.client.responses.create(**asking("so", previous_response_id=begun.id))
    await gateway.client.responses.cancel(begun.id)


async def test_work_in_the_background_has_a_bound(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_background_responses=1) as gateway:
        asked = asking("!demo tokens=500 rate=20", background=True)
        begun = await gateway.client.responses.create(**asked)
        with pytest.raises(openai.InternalServerError, match="MAX_BACKGROUND_RESPONSES"):
            await gateway.client.responses.create(**asked)
        await gateway.client.responses.cancel(begun.id)
        await until_gone(gateway, begun.id)
        begun = await gateway.client.responses.create(**asking("hi", background=True))
        assert (await until_over(gateway.client, begun.id)).status == "completed"


async def test_a_server_that_stops_leaves_its_work_failed(
    make_gateway: MakeGateway, tmp_path: Any
) -> None:
    database = {"database_url": f"sqlite:///{tmp_path}/r.db"}
    async with make_gateway(**database) as gateway:
        asked = asking("!demo tokens=500 rate=20", background=True)
        begun = await gateway.client.responses.create(**asked)
        await gateway.upstream.wait_for_requests(1)
    async with make_gateway(**database) as gateway:
        seen = await gateway.client.responses.retrieve(begun.id)
        assert seen.status == "failed"
        assert seen.error is not None
        assert seen.error.message == "The server was stopped."
