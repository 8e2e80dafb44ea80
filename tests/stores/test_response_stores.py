"""What every response store promises (stores/response_store.py)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from core.errors import (
    ConversationLocked,
    ConversationNotFound,
    ItemNotFound,
    NotFound,
    ResponseNotFound,
)
from stores.response_store import ABANDONED, ResponseStore, ids_of
from tests.support.response_bench import ResponseBench, begun, said, stored


async def test_a_response_comes_back_as_it_was(responses: ResponseBench) -> None:
    await responses.store.add(stored("r1"))
    assert await responses.other.get("a", "r1") == stored("r1")


async def test_a_chain_has_the_oldest_first(responses: ResponseBench) -> None:
    await responses.store.add(stored("r1"))
    await responses.store.add(stored("r2", previous_id="r1"))
    await responses.store.add(stored("r3", previous_id="r2"))
    await responses.store.add(stored("other", previous_id="r1"))
    assert [r.id for r in await responses.other.chain("a", "r3")] == ["r1", "r2", "r3"]


async def test_a_chain_with_a_gap_cannot_be_continued(responses: ResponseBench) -> None:
    await responses.store.add(stored("r1"))
    await responses.store.add(stored("r2", previous_id="r1"))
    await responses.store.delete("a", "r1")
    with pytest.raises(ResponseNotFound):
        await responses.other.chain("a", "r2")
    assert (await responses.other.get("a", "r2")).id == "r2"


async def test_items_are_found_by_their_ids(responses: ResponseBench) -> None:
    await responses.store.add(stored("r1"))
    await responses.store.create_conversation("a", "c1", {}, [said("i1", "hi")])
    found = await responses.other.items("a", ["r1_in", "r1_out", "i1", "gone"])
    assert set(found) == {"r1_in", "r1_out", "i1"}
    assert found["r1_in"] == stored("r1").input[0]
    assert await responses.other.items("b", ["r1_in", "i1"]) == {}


async def test_a_deleted_response_is_gone_with_its_items(responses: ResponseBench) -> None:
    await responses.store.add(stored("r1"))
    await responses.store.delete("a", "r1")
    with pytest.raises(ResponseNotFound):
        await responses.other.get("a", "r1")
    assert await responses.other.items("a", ["r1_in"]) == {}


Ask = Callable[[ResponseStore, str, str], Awaitable[Any]]
OF_RESPONSES: dict[str, Ask] = {
    "get": lambda store, owner, id: store.get(owner, id),
    "chain": lambda store, owner, id: store.chain(owner, id),
    "delete": lambda store, owner, id: store.delete(owner, id),
    "cancel": lambda store, owner, id: store.cancel(owner, id),
}
OF_CONVERSATIONS: dict[str, Ask] = {
    "conversation": lambda store, owner, id: store.conversation(owner, id),
    "set_metadata": lambda store, owner, id: store.set_metadata(owner, id, {}),
    "conversation_items": lambda store, owner, id: store.conversation_items(owner, id),
    "add_items": lambda store, owner, id: store.add_items(owner, id, [said("i", "x")]),
    "delete_item": lambda store, owner, id: store.delete_item(owner, id, "i1"),
    "delete_conversation": lambda store, owner, id: store.delete_conversation(owner, id),
}


@pytest.mark.parametrize("ask", [*OF_RESPONSES.values(), *OF_CONVERSATIONS.values()])
async def test_another_owner_finds_nothing(responses: ResponseBench, ask: Ask) -> None:
    await responses.store.add(stored("x"))
    await responses.store.create_conversation("a", "x", {}, [said("i1", "hi")])
    with pytest.raises(NotFound):
        await ask(responses.other, "b", "x")
    await ask(responses.other, "a", "x")


@pytest.mark.parametrize("ask", [*OF_RESPONSES.values(), *OF_CONVERSATIONS.values()])
async def test_what_has_expired_is_not_found(responses: ResponseBench, ask: Ask) -> None:
    await responses.store.add(stored("x"))
    await responses.store.create_conversation("a", "x", {}, [said("i1", "hi")])
    responses.clock.now += 1_001
    with pytest.raises(NotFound):
        await ask(responses.other, "a", "x")


async def test_using_a_chain_makes_its_time_run_anew(responses: ResponseBench) -> None:
    await responses.store.add(stored("r1"))
    responses.clock.now += 900
    await responses.store.add(stored("r2", previous_id="r1"))
    await responses.store.chain("a", "r2")
    responses.clock.now += 900
    assert [r.id for r in await responses.other.chain("a", "r2")] == ["r1", "r2"]


async def test_a_sweep_deletes_what_has_expired(responses: ResponseBench) -> None:
    await responses.store.add(stored("r1"))
    await responses.store.create_conversation("a", "c1", {}, [])
    responses.clock.now += 900
    await responses.store.add(stored("r2"))
    responses.clock.now += 200
    assert await responses.other.sweep_responses() == 1
    assert await responses.other.sweep_responses() == 0
    responses.clock.now -= 1_000
    with pytest.raises(ResponseNotFound):
        await responses.store.get("a", "r1")
    with pytest.raises(ConversationNotFound):
        await responses.store.conversation("a", "c1")
    assert (await responses.store.get("a", "r2")).id == "r2"


async def test_a_leased_response_ends_once(responses: ResponseBench) -> None:
    await responses.store.add(begun("r1"), "t")
    assert await responses.store.renew("a", "r1", "t")
    assert not await responses.other.renew("a", "r1", "other")
    assert not await responses.other.finish(stored("r1"), "other")
    assert (await responses.other.get("a", "r1")).status == "in_progress"
    assert await responses.store.finish(stored("r1", background=True), "t")
    assert await responses.other.get("a", "r1") == stored("r1", background=True)
    assert not await responses.store.finish(stored("r1"), "t")
    assert not await responses.store.renew("a", "r1", "t")


async def test_a_lease_that_ran_out_is_a_failure(responses: ResponseBench) -> None:
    await responses.store.add(begun("r1"), "t")
    responses.clock.now += 14
    assert await responses.store.renew("a", "r1", "t")
    responses.clock.now += 14
    assert (await responses.other.get("a", "r1")).status == "in_progress"
    responses.clock.now += 2
    seen = await responses.other.get("a", "r1")
    assert (seen.status, seen.body["status"], seen.body["error"]) == ("failed", "failed", ABANDONED)
    assert await responses.other.sweep_responses() == 1
    assert not await responses.store.finish(stored("r1"), "t")
    assert await responses.other.get("a", "r1") == seen


async def test_a_cancelled_response_cannot_be_finished(responses: ResponseBench) -> None:
    await responses.store.add(begun("r1"), "t")
    assert (await responses.other.cancel("a", "r1")).status == "cancelled"
    assert not await responses.store.renew("a", "r1", "t")
    assert not await responses.store.finish(stored("r1"), "t")
    seen = await responses.other.cancel("a", "r1")
    assert (seen.status, seen.body["status"]) == ("cancelled", "cancelled")


async def test_a_complete_response_stays_as_it_is_when_cancelled(responses: ResponseBench) -> None:
    await responses.store.add(stored("r1"))
    assert await responses.other.cancel("a", "r1") == stored("r1")


async def test_events_are_kept_in_their_order(responses: ResponseBench) -> None:
    await responses.store.add(begun("r1", streamed=True), "t")
    await responses.store.add_events("a", "r1", "t", 0, ["zero", "one"])
    await responses.store.add_events("a", "r1", "t", 2, ["two"])
    await responses.store.add_events("a", "r1", "other", 3, ["never"])
    assert await responses.other.events("a", "r1", -1) == ["zero", "one", "two"]
    assert await responses.other.events("a", "r1", 0) == ["one", "two"]
    assert await responses.other.events("a", "r1", 2) == []


async def test_a_response_adds_its_items_to_its_conversation(responses: ResponseBench) -> None:
    await responses.store.create_conversation("a", "c1", {}, [said("i1", "hi")])
    await responses.store.add(stored("r1", conversation_id="c1", seen_items=1))
    await responses.store.add(begun("r2", conversation_id="c1"), "t")
    assert ids_of(await responses.other.conversation_items("a", "c1")) == ["i1", "r1_in", "r1_out"]
    await responses.store.finish(stored("r2", conversation_id="c1", seen_items=3), "t")
    failed = stored("r3", conversation_id="c1", status="failed")
    await responses.store.add(failed)
    items = ids_of(await responses.other.conversation_items("a", "c1"))
    assert items == ["i1", "r1_in", "r1_out", "r2_in", "r2_out"]


async def test_only_one_of_two_answers_to_the_same_items_is_added(responses: ResponseBench) -> None:
    await responses.store.create_conversation("a", "c1", {}, [said("i1", "hi")])
    await responses.store.add(begun("r2", conversation_id="c1"), "t")
    await responses.store.add(stored("r1", conversation_id="c1", seen_items=1))
    with pytest.raises(ConversationLocked):
        await responses.other.add(stored("r3", conversation_id="c1", seen_items=1))
    late = stored("r2", conversation_id="c1", seen_items=1)
    with pytest.raises(ConversationLocked):
        await responses.other.finish(late, "t", 0, ["never"])
    with pytest.raises(ResponseNotFound):
        await responses.store.get("a", "r3")
    assert (await responses.store.get("a", "r2")).status == "in_progress"
    assert await responses.store.events("a", "r2", -1) == []
    assert ids_of(await responses.store.conversation_items("a", "c1")) == ["i1", "r1_in", "r1_out"]


async def test_the_end_of_a_stream_is_kept_with_its_response(responses: ResponseBench) -> None:
    await responses.store.add(begun("r1", streamed=True), "t")
    await responses.store.add_events("a", "r1", "t", 0, ["zero"])
    assert await responses.store.finish(stored("r1", streamed=True), "t", 1, ["one", "two"])
    assert await responses.other.events("a", "r1", -1) == ["zero", "one", "two"]


async def test_the_latest_come_first_and_without_items(responses: ResponseBench) -> None:
    for number in range(3):
        await responses.store.add(stored(f"r{number}"))
    await responses.store.add(stored("theirs", owner="b"))
    latest = await responses.other.latest("a", 2)
    assert [(each.id, [*each.input], [*each.output]) for each in latest] == [
        ("r2", [], []),
        ("r1", [], []),
    ]


async def test_what_an_owner_stores_is_counted_in_bytes(responses: ResponseBench) -> None:
    await responses.store.add(stored("r1"))
    one = await responses.other.stored_bytes("a")
    assert one > len("é\x00\ud800") + len("x")
    await responses.store.add(begun("r2"), "t")
    await responses.store.finish(stored("r2"), "t")
    await responses.store.create_conversation("a", "c1", {}, [said("i1", "1" * 1000)])
    two = await responses.other.stored_bytes("a")
    assert 2 * one + 1000 < two < 2 * one + 1200
    assert await responses.other.stored_bytes("b") == 0
    await responses.store.delete("a", "r1")
    await responses.store.delete_conversation("a", "c1")
    assert await responses.other.stored_bytes("a") == one


async def test_a_response_of_a_conversation_that_is_gone_is_not_kept(
    responses: ResponseBench,
) -> None:
    with pytest.raises(ConversationNotFound):
        await responses.store.add(stored("r1", conversation_id="c1"))
    with pytest.raises(ResponseNotFound):
        await responses.other.get("a", "r1")


async def test_a_conversation_is_what_was_put_into_it(responses: ResponseBench) -> None:
    made = await responses.store.create_conversation("a", "c1", {"k": "v"}, [said("i1", "1")])
    assert made.created_at == int(responses.clock.now)
    await responses.other.add_items("a", "c1", [said("i2", "2"), said("i3", "3")])
    assert await responses.store.conversation("a", "c1") == made
    assert ids_of(await responses.store.conversation_items("a", "c1")) == ["i1", "i2", "i3"]
    assert await responses.other.delete_item("a", "c1", "i2") == made
    with pytest.raises(ItemNotFound):
        await responses.other.delete_item("a", "c1", "i2")
    assert ids_of(await responses.store.conversation_items("a", "c1")) == ["i1", "i3"]
    changed = await responses.store.set_metadata("a", "c1", {"k": "w"})
    assert (changed.metadata, changed.created_at) == ({"k": "w"}, made.created_at)
    await responses.store.delete_conversation("a", "c1")
    with pytest.raises(ConversationNotFound):
        await responses.other.conversation("a", "c1")
    assert await responses.other.items("a", ["i1"]) == {}
