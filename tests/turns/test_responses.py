"""`/v1/responses` with the official client, the real CLI and the fake upstream: turns and state."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.conftest import MakeGateway
from tests.support.harness import Gateway, openai_client
from tests.support.responses_cases import PATCH, WEATHER, events
from tests.support.responses_types import of_openai, typed_event, typed_response
from tests.support.responses_wire import ENCRYPTED, URL, asking, outcome, outputs, received, user

THINKING: dict[str, Any] = {"reasoning": {"effort": "high", "summary": "auto"}}


async def test_a_text_is_answered(gateway: Gateway) -> None:
    response = await gateway.client.responses.create(**asking("hi", instructions="Be brief."))
    assert response.output_text == 'Demo model: you said "hi".'
    assert (response.status, response.instructions) == ("completed", "Be brief.")
    [request] = received(gateway.upstream)
    assert request["messages"] == [("user", [{"type": "text", "text": "hi"}])]
    assert request["system"][-1] == "Be brief."


async def test_a_body_and_a_stream_are_of_the_clients_strict_types(gateway: Gateway) -> None:
    asked = asking("!demo thinking=hm tokens=3", **THINKING, **ENCRYPTED)
    typed_response((await gateway.http.post(URL, json=asked)).json())
    stream = await gateway.http.post(URL, json={**asked, "stream": True})
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    for event in events(stream.text):
        typed_event(event)


async def test_the_stream_helper(gateway: Gateway) -> None:
    asked = asking('!demo call=get_weather args={"city":"Rome"}', tools=[WEATHER])
    async with gateway.client.responses.stream(**asked) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    [call] = final.output
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("get_weather", '{"city": "Rome"}')


class City(BaseModel):
    city: str


async def test_the_parse_helper(gateway: Gateway) -> None:
    asked = asking('!demo json={"city":"Rome"}')
    response = await gateway.client.responses.parse(**asked, text_format=City)
    assert response.output_parsed == City(city="Rome")
    [request] = gateway.upstream.requests
    assert request.body["output_config"]["format"]["type"] == "json_schema"


async def test_a_response_continues_another_without_its_instructions(gateway: Gateway) -> None:
    client = gateway.client
    first = await client.responses.create(**asking("one", instructions="Be brief."))
    await client.responses.create(**asking("two", previous_response_id=first.id))
    _, second = received(gateway.upstream)
    assert [role for role, _ in second["messages"]] == ["user", "assistant", "user"]
    assert "Be brief." not in second["system"]


STEPS = (
    '!demo thinking=hm text=Done. steps=[["get_weather"],["apply_patch"],["get_weather",'
    '"apply_patch"],["get_weather"],["apply_patch"]]'
)


async def tool_loop(gateway: Gateway, how: str) -> list[dict[str, Any]]:
    """Five rounds of calls and the answer; what the model received in each."""
    gateway.upstream.clear()
    client = gateway.client
    asked: dict[str, Any] = {"tools": [WEATHER, PATCH], **THINKING, **ENCRYPTED}
    new: list[Any] = [user(STEPS)]
    history: list[Any] = []
    if how == "conversation":
        asked["conversation"] = (await client.conversations.create()).id
    for round_number in range(6):
        given = [*history, *new] if how == "stateless" else new
        asked["store"] = how != "stateless"
        response = await client.responses.create(**asking(given, **asked))
        history += [*new, *(item.to_dict() for item in response.output)]
        new = outputs(response, f"result {round_number}")
        if how == "previous":
            asked["previous_response_id"] = response.id
    assert response.output_text == "Done."
    return received(gateway.upstream)


async def test_a_tool_loop_is_the_same_whoever_keeps_the_history(gateway: Gateway) -> None:
    stateless = await tool_loop(gateway, "stateless")
    assert len(stateless) == 6
    calls = [block for _, said in stateless[-1]["messages"] for block in said]
    assert [b["type"] for b in calls].count("tool_use") == 6
    assert [b["type"] for b in calls].count("thinking") >= 1
    assert await tool_loop(gateway, "previous") == unnumbered(stateless)
    assert await tool_loop(gateway, "conversation") == unnumbered(stateless)


def unnumbered(requests: list[dict[str, Any]]) -> Any:
    """Equal to requests whose calls have other ids, in the same order."""

    class Same:
        def __eq__(self, other: object) -> bool:
            assert isinstance(other, list)
            return _ids_by_order(other) == _ids_by_order(requests)

    return Same()


def _ids_by_order(requests: list[dict[str, Any]]) -> list[Any]:
    """The last request, which holds all before it, with its calls' ids replaced by numbers."""
    names: dict[str, str] = {}
    found: list[Any] = []
    for role, blocks in requests[-1]["messages"]:
        for block in blocks:
            known = {
                key: names.setdefault(value, f"call {len(names)}")
                for key, value in block.items()
                if key in ("id", "tool_use_id")
            }
            found.append((role, {**block, **known}))
    return [found, requests[-1]["tools"], requests[-1]["system"], len(requests)]


async def test_a_reference_stands_for_a_stored_item(gateway: Gateway) -> None:
    first = await gateway.client.responses.create(**asking("one"))
    reference = {"type": "item_reference", "id": first.output[0].id}
    await gateway.client.responses.create(**asking([user("one"), reference, user("two")]))
    first_answer = {"type": "text", "text": 'Demo model: you said "one".'}
    assert received(gateway.upstream)[-1]["messages"][1] == ("assistant", [first_answer])
    with pytest.raises(openai.BadRequestError, match="msg_gone"):
        await gateway.client.responses.create(**asking([{"id": "msg_gone"}, user("two")]))


async def test_reasoning_that_a_client_returns_by_its_id_is_native_again(gateway: Gateway) -> None:
    asked = asking("!demo thinking=hm text=so", **THINKING)
    first = await gateway.client.responses.create(**asked)
    items: Any = [user("hi"), *(item.to_dict() for item in first.output), user("and?")]
    assert "encrypted_content" not in items[1]
    await gateway.client.responses.create(**asking(items, **THINKING))
    _, blocks = received(gateway.upstream)[-1]["messages"][1]
    assert [block["type"] for block in blocks] == ["thinking", "text"]


async def test_changed_reasoning_is_a_clear_400(gateway: Gateway) -> None:
    asked = asking("!demo thinking=hm text=so", **THINKING, **ENCRYPTED)
    first = await gateway.client.responses.create(**asked)
    reasoning = first.output[0].to_dict()
    reasoning["encrypted_content"] = str(reasoning["encrypted_content"])[:-3] + "AAA"
    with pytest.raises(openai.BadRequestError) as caught:
        await gateway.client.responses.create(**asking([reasoning, user("and?")]))
    assert caught.value.code == "invalid_encrypted_content"


async def test_a_stored_response_is_what_was_answered(gateway: Gateway) -> None:
    asked = asking("!demo thinking=hm text=so", metadata={"k": "v"}, **THINKING)
    told = (await gateway.http.post(URL, json=asked)).json()
    kept = (await gateway.http.get(f"{URL}/{told['id']}")).json()
    assert kept == told
    asked_for = {"include": ["reasoning.encrypted_content"]}
    whole = (await gateway.http.get(f"{URL}/{told['id']}", params=asked_for)).json()
    assert whole["output"][0]["encrypted_content"].startswith("cct1.")


async def test_a_streamed_response_is_stored_too(gateway: Gateway) -> None:
    stream = await gateway.http.post(URL, json=asking("hi", stream=True))
    told = events(stream.text)[-1]["response"]
    assert (await gateway.http.get(f"{URL}/{told['id']}")).json() == told


async def test_store_false_keeps_nothing(gateway: Gateway) -> None:
    response = await gateway.client.responses.create(**asking("hi", store=False))
    with pytest.raises(openai.NotFoundError):
        await gateway.client.responses.retrieve(response.id)
    with pytest.raises(openai.NotFoundError, match="not found"):
        await gateway.client.responses.create(**asking("so", previous_response_id=response.id))


async def test_an_operator_may_keep_all_from_being_stored(make_gateway: MakeGateway) -> None:
    async with make_gateway(store_responses=False) as gateway:
        response = await gateway.client.responses.create(**asking("hi"))
        with pytest.raises(openai.NotFoundError):
            await gateway.client.responses.retrieve(response.id)
        with pytest.raises(openai.BadRequestError, match="STORE_RESPONSES"):
            await gateway.client.responses.create(**asking("hi", background=True))


async def test_a_deleted_response_is_gone(gateway: Gateway) -> None:
    response = await gateway.client.responses.create(**asking("hi"))
    await gateway.client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        await gateway.client.responses.retrieve(response.id)
    with pytest.raises(openai.NotFoundError):
        await gateway.client.responses.delete(response.id)


async def test_input_items_hold_the_whole_history_in_pages(gateway: Gateway) -> None:
    client = gateway.client
    first = await client.responses.create(**asking("one"))
    second = await client.responses.create(**asking("two", previous_response_id=first.id))
    listed = await client.responses.input_items.list(second.id, limit=2, order="asc")
    items = [item async for item in listed]
    texts = [item.to_dict()["content"][0]["text"] for item in items]  # type: ignore[index]
    assert texts == ["one", 'Demo model: you said "one".', "two"]


async def test_another_key_finds_nothing(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_keys="alice:sk-one, bob:sk-two") as gateway:
        mine, theirs = (openai_client(gateway.url, key) for key in ("sk-one", "sk-two"))
        async with mine, theirs:
            await nothing_is_shared(mine, theirs)


async def nothing_is_shared(mine: AsyncOpenAI, theirs: AsyncOpenAI) -> None:
    response = await mine.responses.create(**asking("hi"))
    conversation = await mine.conversations.create()
    for asked in (
        theirs.responses.retrieve(response.id),
        theirs.responses.create(**asking("so", previous_response_id=response.id)),
        theirs.responses.delete(response.id),
        theirs.responses.cancel(response.id),
        theirs.responses.create(**asking("so", conversation=conversation.id)),
        theirs.conversations.retrieve(conversation.id),
    ):
        with pytest.raises(openai.NotFoundError):
            await asked
    reference: Any = {"type": "item_reference", "id": response.output[0].id}
    with pytest.raises(openai.BadRequestError):
        await theirs.responses.create(**asking([reference, user("so")]))
    assert (await mine.responses.retrieve(response.id)).id == response.id


async def test_a_conversation_grows_with_each_response(gateway: Gateway) -> None:
    client = gateway.client
    start: Any = [user("one"), {"role": "assistant", "content": "Well"}]
    conversation = await client.conversations.create(items=start, metadata={"k": "v"})
    response = await client.responses.create(**asking("two", conversation=conversation.id))
    assert response.conversation is not None
    assert response.conversation.id == conversation.id
    await client.responses.create(**asking("three", conversation={"id": conversation.id}))
    roles = [role for role, _ in received(gateway.upstream)[-1]["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    items = [item async for item in await client.conversations.items.list(conversation.id)]
    assert len(items) == 6


async def test_a_conversation_has_one_answer_at_a_time(gateway: Gateway) -> None:
    client = gateway.client
    conversation = await client.conversations.create()
    asked = asking("!demo first_delay=1 text=one", conversation=conversation.id)
    first = asyncio.create_task(client.responses.create(**asked))
    await gateway.upstream.wait_for_requests(1)
    with pytest.raises(openai.ConflictError) as caught:
        await client.responses.create(**asking("two", conversation=conversation.id))
    assert (caught.value.code, caught.value.param) == ("conversation_locked", "conversation")
    assert (await first).output_text == "one"
    await client.responses.create(**asking("three", conversation=conversation.id))
    items = await client.conversations.items.list(conversation.id)
    assert len(items.data) == 4


async def test_a_response_that_breaks_off_is_stored_as_failed(gateway: Gateway) -> None:
    asked = asking("!demo tokens=9 error_midstream=overloaded_error", stream=True)
    stream = await gateway.http.post(URL, json=asked)
    created, *_, last = events(stream.text)
    assert last["type"] == "response.failed"
    kept = await gateway.client.responses.retrieve(created["response"]["id"])
    assert (kept.status, kept.error) == ("failed", typed_response(last["response"]).error)
    with pytest.raises(openai.BadRequestError):
        await gateway.client.responses.create(**asking("on", previous_response_id=kept.id))


async def test_a_key_stores_a_bounded_number_of_bytes(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_stored_bytes=2_000) as gateway:
        client = gateway.client
        much: Any = [user("x" * 1_500)]
        for _ in range(2):
            await client.responses.create(**asking("x" * 400))
        for full in (
            client.responses.create(**asking("x" * 1_500)),
            client.conversations.create(items=much),
        ):
            with pytest.raises(openai.APIStatusError) as caught:
                await full
            assert (caught.value.status_code, caught.value.code) == (413, "store_full")
        assert len(gateway.upstream.requests) == 2
        await client.responses.create(**asking("x" * 1_500, store=False))
        counted = await client.responses.input_tokens.count(model="sonnet", input="x" * 1_500)
        assert counted.input_tokens > 0  # nothing is stored of what is only counted


async def test_a_failed_turn_leaves_a_conversation_as_it_is(gateway: Gateway) -> None:
    conversation = await gateway.client.conversations.create()
    asked = asking("!demo error=500", conversation=conversation.id)
    with pytest.raises(openai.InternalServerError):
        await gateway.client.responses.create(**asked)
    listed = await gateway.client.conversations.items.list(conversation.id)
    assert listed.data == []


async def test_conversations_are_read_changed_and_deleted(gateway: Gateway) -> None:
    client = gateway.client.conversations
    made = await client.create(items=[{"role": "user", "content": "one"}])
    added: Any = [user("two")]
    [two] = (await client.items.create(made.id, items=added)).data
    assert (await client.items.retrieve(two.id or "", conversation_id=made.id)).id == two.id
    await client.items.delete(two.id or "", conversation_id=made.id)
    assert len((await client.items.list(made.id)).data) == 1
    with pytest.raises(openai.NotFoundError):
        await client.items.retrieve(two.id or "", conversation_id=made.id)
    assert (await client.update(made.id, metadata={"k": "v"})).metadata == {"k": "v"}
    assert (await client.delete(made.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.retrieve(made.id)


@pytest.mark.parametrize("items", [[{"type": "computer_call"}], [{"id": "msg_1"}]])
async def test_a_conversation_takes_no_items_that_nothing_could_use(
    gateway: Gateway, items: Any
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await gateway.client.conversations.create(items=items)
    assert str(caught.value.param).startswith("items[0]")


async def test_a_long_conversation_is_made_short(gateway: Gateway) -> None:
    items: Any = [user("one"), {"role": "assistant", "content": "Well"}, user("three")]
    answer = await gateway.http.post(
        f"{URL}/compact", json=asking(items, instructions="!demo text=Sum.")
    )
    compacted = answer.json()
    kept: Any = compacted["output"]
    assert [item["type"] for item in kept] == ["message", "message", "compaction"]
    assert compacted["usage"]["output_tokens"] > 0
    await gateway.client.responses.create(**asking([*kept, user("two")]))
    [(role, blocks)] = received(gateway.upstream)[-1]["messages"]
    assert role == "user"
    assert [block["text"] for block in blocks][-2:] == [
        "Summary of the conversation so far:\n\nSum.",
        "two",
    ]
    assert "Well" not in str(blocks)


async def test_all_that_is_read_is_of_openais_schemas(gateway: Gateway) -> None:
    async def got(path: str, schema: str, body: Any = None) -> Any:
        method = "GET" if body is None else "POST"
        answer = await gateway.http.request(method, f"/v1/{path}", json=body)
        of_openai(answer.json(), schema)
        return answer.json()["id"] if "id" in answer.json() else answer.json()

    thinking = asking("!demo thinking=hm text=so", **THINKING)
    first = await got("responses", "Response", thinking)
    await got(f"responses/{first}", "Response")
    custom = asking("!demo call=apply_patch", tools=[PATCH], previous_response_id=first)
    call = await got("responses", "Response", custom)
    result = outputs(await gateway.client.responses.retrieve(call), "ok")
    last = await got("responses", "Response", asking(result, previous_response_id=call))
    await got(f"responses/{last}/input_items", "ResponseItemList")
    await got("responses/input_tokens", "TokenCountsResource", asking("hi"))
    await got("responses/compact", "CompactResource", asking([user("hi")]))
    made = await got("conversations", "ConversationResource", {"items": [user("hi")]})
    await got("responses", "Response", {**thinking, "conversation": made})
    await got(f"conversations/{made}/items", "ConversationItemList", {"items": [user("so")]})
    listed = await got(f"conversations/{made}/items", "ConversationItemList")
    for item in listed["data"]:
        await got(f"conversations/{made}/items/{item['id']}", "ConversationItem")


async def test_input_tokens_are_estimated_without_asking_the_model(gateway: Gateway) -> None:
    first = await gateway.client.responses.create(**asking("one"))
    count = gateway.client.responses.input_tokens.count
    short = await count(**asking("one two three"))
    longer = await count(**asking("one two three", previous_response_id=first.id))
    assert 3 <= short.input_tokens < longer.input_tokens
    assert len(gateway.upstream.requests) == 1


async def test_an_error_before_the_first_event_has_its_status(gateway: Gateway) -> None:
    answer = await gateway.http.post(URL, json=asking("!demo error=429", stream=True))
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert answer.headers["retry-after"]


async def test_an_error_in_the_stream_is_raised_by_the_client(gateway: Gateway) -> None:
    asked = asking("!demo tokens=9 error_midstream=overloaded_error error_after=3", stream=True)
    stream = await gateway.client.responses.create(**asked)
    deltas = []

    async def read() -> None:
        async for event in stream:
            if event.type == "response.output_text.delta":
                deltas.append(event.delta)

    with pytest.raises(openai.APIError):
        await read()
    assert "".join(deltas) == "word1 word2 word3 "
    sent = events((await gateway.http.post(URL, json=asked)).text)
    assert [event["type"] for event in sent[-2:]] == ["error", "response.failed"]


async def test_a_client_that_leaves_ends_its_turn(gateway: Gateway) -> None:
    stream = await gateway.client.responses.create(
        **asking("!demo tokens=500 rate=20", stream=True)
    )
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    assert await outcome(gateway.upstream) == "disconnected"


async def test_a_provider_without_a_search_refuses_it_by_name(make_gateway: MakeGateway) -> None:
    async with make_gateway(form="bedrock") as gateway:
        with pytest.raises(openai.BadRequestError, match=r"web_search .* Bedrock") as caught:
            await gateway.client.responses.create(**asking("hi", tools=[{"type": "web_search"}]))
        assert (caught.value.param, caught.value.code) == ("tools", "unsupported_parameter")
        unsearched: Any = {"type": "web_search", "external_web_access": False}
        answer = await gateway.client.responses.with_raw_response.create(
            **asking("hi", tools=[unsearched])
        )
        assert answer.headers["x-ignored-parameters"] == "tools.web_search"


async def test_a_search_is_claudes_own_and_its_sources_are_annotations(gateway: Gateway) -> None:
    asked = asking('!demo search="rivers of Rome"', tools=[{"type": "web_search"}])
    response = await gateway.client.responses.create(**asked)
    search, message = response.output[0], response.output[-1]
    assert search.type == "web_search_call"
    assert search.action.to_dict()["query"] == "rivers of Rome"
    assert message.type == "message"
    [part] = message.content
    assert part.type == "output_text"
    [source] = part.annotations
    assert source.type == "url_citation"
    assert 0 <= source.start_index < source.end_index <= len(part.text)
    assert source.url.startswith("http")
    [tool] = gateway.upstream.requests[-1].body["tools"]
    assert tool["type"] == "web_search_20250305"
