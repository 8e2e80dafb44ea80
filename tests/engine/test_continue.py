"""A follow-up goes to the process that remembers, however the client writes the history back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.harness import Gateway, said
from tests.support.wire import MODEL, URL

JsonObject = dict[str, Any]

LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks it up",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
    },
}


class Client:
    """Talks, and keeps what the server said as the client `resends` it."""

    def __init__(self, gateway: Gateway, **fields: Any) -> None:
        self.gateway = gateway
        self.fields = {"model": MODEL, **fields}
        self.messages: list[JsonObject] = []
        gateway.engine.pool.counts.clear()

    async def says(self, *messages: JsonObject, **fields: Any) -> JsonObject:
        self.messages += messages
        body = {**self.fields, "messages": self.messages, **fields}
        answer = await self.gateway.http.post(URL, json=body)
        assert answer.status_code == 200, answer.text
        message: JsonObject = answer.json()["choices"][0]["message"]
        self.messages.append(message)
        return message

    @property
    def kinds(self) -> dict[str, int]:
        counts = self.gateway.engine.pool.counts
        return {kind: counts[kind] for kind in ("continue", "reuse", "blank") if counts[kind]}

    @property
    def last_received(self) -> list[tuple[str, list[JsonObject]]]:
        return [said(message) for message in self.gateway.upstream.requests[-1].messages]


def user(text: Any) -> JsonObject:
    return {"role": "user", "content": text}


def result(call: JsonObject, content: Any = "42", **fields: Any) -> JsonObject:
    return {"role": "tool", "tool_call_id": call["id"], "content": content, **fields}


def as_it_came(message: JsonObject) -> JsonObject:
    return message


def plain_script(message: JsonObject) -> JsonObject:
    return {"role": "assistant", "content": message["content"]}


def trimmed(message: JsonObject) -> JsonObject:
    return {"role": "assistant", "content": message["content"].strip()}


def with_a_line_break(message: JsonObject) -> JsonObject:
    return {"role": "assistant", "content": message["content"] + "\n"}


def in_parts(message: JsonObject) -> JsonObject:
    text = message["content"]
    parts = [{"type": "text", "text": part} for part in (text[:5], text[5:])]
    return {"role": "assistant", "content": parts}


def like_langchain(message: JsonObject) -> JsonObject:
    return {**message, "name": None, "tool_calls": message.get("tool_calls") or [], "refusal": None}


def with_reasoning(message: JsonObject) -> JsonObject:
    return {**message, "reasoning_content": "hm", "reasoning": "hm", "annotations": []}


WAYS = [
    as_it_came,
    plain_script,
    trimmed,
    with_a_line_break,
    in_parts,
    like_langchain,
    with_reasoning,
]


@pytest.mark.parametrize("way", WAYS)
async def test_a_follow_up_is_continued(
    gateway: Gateway, way: Callable[[JsonObject], JsonObject]
) -> None:
    client = Client(gateway)
    order = r'!demo text="  The answer\n\nis 4.  "'
    await client.says(user(f"{way.__name__}\n{order}"))
    client.messages[-1] = way(client.messages[-1])
    gateway.engine.pool.counts.clear()
    await client.says(user("And now?"))
    assert client.kinds == {"continue": 1}
    assert [role for role, _ in client.last_received] == ["user", "assistant", "user"]
    [answer] = client.last_received[1][1]
    assert answer["text"].strip() == "The answer\n\nis 4."
    assert client.last_received[2] == said(user("And now?"))


def changed_answer(messages: list[JsonObject]) -> None:
    messages[1]["content"] += " No."


def changed_question(messages: list[JsonObject]) -> None:
    messages[0]["content"] = "Something else"


def shorter_history(messages: list[JsonObject]) -> None:
    messages[:] = messages[2:]


def trimmed_question(messages: list[JsonObject]) -> None:
    messages[0]["content"] = messages[0]["content"].strip()


@pytest.mark.parametrize(
    "change", [changed_answer, changed_question, shorter_history, trimmed_question]
)
async def test_a_near_miss_is_replayed(
    gateway: Gateway, change: Callable[[list[JsonObject]], None]
) -> None:
    client = Client(gateway)
    await client.says(user(f"{change.__name__} "))
    await client.says(user("two"))
    change(client.messages)
    gateway.engine.pool.counts.clear()
    await client.says(user("three"))
    assert client.kinds == {"reuse": 1}
    assert client.last_received == [said(message) for message in plain(client.messages[:-1])]


def plain(messages: list[JsonObject]) -> list[JsonObject]:
    return [{"role": message["role"], "content": message["content"]} for message in messages]


async def test_another_model_is_replayed_other_parameters_are_not(gateway: Gateway) -> None:
    client = Client(gateway, model="claude-haiku-4-5")
    await client.says(user("another model"))
    gateway.engine.pool.counts.clear()
    await client.says(user("warmer"), temperature=0.7, max_tokens=99)
    assert client.kinds == {"continue": 1}
    assert gateway.upstream.requests[-1].body["temperature"] == 0.7
    await client.says(user("another"), model=MODEL)
    assert client.kinds == {"continue": 1, "reuse": 1}
    assert client.last_received == [said(message) for message in plain(client.messages[:-1])]


async def test_two_conversations_that_began_alike_do_not_mix(gateway: Gateway) -> None:
    first, second = Client(gateway), Client(gateway)
    await first.says(user("alike"))
    second.messages = list(first.messages)
    await first.says(user("one"))
    await second.says(user("two"))
    assert second.last_received == [said(message) for message in plain(second.messages[:-1])]
    await first.says(user("three"))
    assert first.last_received == [said(message) for message in plain(first.messages[:-1])]


def calls_in_another_order(message: JsonObject) -> None:
    message["tool_calls"].reverse()


def arguments_written_anew(message: JsonObject) -> None:
    for call in message["tool_calls"]:
        arguments = json.loads(call["function"]["arguments"])
        call["function"]["arguments"] = json.dumps(arguments, indent=2, sort_keys=True)


def empty_content(message: JsonObject) -> None:
    message["content"] = ""


@pytest.mark.parametrize("change", [calls_in_another_order, arguments_written_anew, empty_content])
async def test_results_go_to_the_process_that_waits_for_them(
    gateway: Gateway, change: Callable[[JsonObject], None]
) -> None:
    client = Client(gateway, tools=[LOOK])
    order = '!demo call=look,look args=[{"q": "a", "r": 1}, {"q": "b"}]'
    answer = await client.says(user(f"{change.__name__}\n{order}"))
    calls = list(answer["tool_calls"])
    change(client.messages[-1])
    gateway.engine.pool.counts.clear()
    await client.says(*(result(call, f"{call['id']} is good") for call in calls))
    assert client.kinds == {"continue": 1}
    role, blocks = client.last_received[-1]
    assert role == "user"
    assert [(block["tool_use_id"], texts(block)) for block in blocks] == [
        (call["id"], [f"{call['id']} is good"]) for call in calls
    ]


def texts(block: JsonObject) -> list[str]:
    content = block["content"]
    return [content] if isinstance(content, str) else [part["text"] for part in content]


async def test_results_with_more_words_are_replayed(gateway: Gateway) -> None:
    client = Client(gateway, tools=[LOOK])
    answer = await client.says(user("more words\n!demo call=look"))
    [call] = answer["tool_calls"]
    gateway.engine.pool.counts.clear()
    await client.says(result(call), user("And be brief."))
    assert "continue" not in client.kinds
    _, blocks = client.last_received[-1]
    assert [block["type"] for block in blocks] == ["tool_result", "text"]


async def test_results_of_a_process_that_is_gone_are_replayed(gateway: Gateway) -> None:
    client = Client(gateway, tools=[LOOK])
    answer = await client.says(user("gone\n!demo call=look"))
    for slot in gateway.engine.pool.in_state("held"):
        slot.worker.kill()
    gateway.engine.pool.counts.clear()
    last = await client.says(result(answer["tool_calls"][0], "it is 42"))
    assert "it is 42" in last["content"]
    assert "continue" not in client.kinds
    assert [role for role, _ in client.last_received] == ["user", "assistant", "user"]
