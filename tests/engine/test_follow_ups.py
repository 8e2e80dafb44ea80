"""A follow-up reaches the model as the client wrote it, by whatever process."""

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

    async def says(self, *messages: JsonObject, **fields: Any) -> JsonObject:
        self.messages += messages
        body = {**self.fields, "messages": self.messages, **fields}
        answer = await self.gateway.http.post(URL, json=body)
        assert answer.status_code == 200, answer.text
        message: JsonObject = answer.json()["choices"][0]["message"]
        self.messages.append(message)
        return message

    @property
    def last_received(self) -> list[tuple[str, list[JsonObject]]]:
        return [said(message) for message in self.gateway.upstream.requests[-1].messages]


def user(text: Any) -> JsonObject:
    return {"role": "user", "content": text}


def text(*texts: str) -> list[JsonObject]:
    return [{"type": "text", "text": each} for each in texts]


def result(call: JsonObject, content: Any = "42") -> JsonObject:
    return {"role": "tool", "tool_call_id": call["id"], "content": content}


def as_it_came(message: JsonObject) -> JsonObject:
    return message


def plain_script(message: JsonObject) -> JsonObject:
    return {"role": "assistant", "content": message["content"]}


def like_langchain(message: JsonObject) -> JsonObject:
    return {**message, "name": None, "tool_calls": message.get("tool_calls") or [], "refusal": None}


def with_reasoning(message: JsonObject) -> JsonObject:
    return {**message, "reasoning_content": "hm", "reasoning": "hm", "annotations": []}


def trimmed(message: JsonObject) -> JsonObject:
    return {"role": "assistant", "content": message["content"].strip()}


def in_parts(message: JsonObject) -> JsonObject:
    content = message["content"]
    return {"role": "assistant", "content": text(content[:5], content[5:])}


ANSWER = "  The answer\n\nis 4.  "
WAYS: dict[Callable[[JsonObject], JsonObject], list[str]] = {
    as_it_came: [ANSWER],
    plain_script: [ANSWER],
    like_langchain: [ANSWER],
    with_reasoning: [ANSWER],
    trimmed: [ANSWER.strip()],
    in_parts: [ANSWER[:5], ANSWER[5:]],
}
"""How a client sends an answer back, and the texts that the model receives of it."""


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_goes_back_as_the_client_wrote_it(
    gateway: Gateway, way: Callable[[JsonObject], JsonObject]
) -> None:
    client = Client(gateway)
    order = f"!demo text={json.dumps(ANSWER)}"
    await client.says(user(order))
    client.messages[-1] = way(client.messages[-1])
    await client.says(user("And now?"))
    assert client.last_received == [
        ("user", text(order)),
        ("assistant", text(*WAYS[way])),
        ("user", text("And now?")),
    ]


def changed_answer(messages: list[JsonObject]) -> None:
    messages[1]["content"] += " No."


def changed_question(messages: list[JsonObject]) -> None:
    messages[0]["content"] = "Something else"


def shorter_history(messages: list[JsonObject]) -> None:
    messages[:] = messages[2:]


@pytest.mark.parametrize("change", [changed_answer, changed_question, shorter_history])
async def test_nothing_is_remembered_of_what_a_client_changed(
    gateway: Gateway, change: Callable[[list[JsonObject]], None]
) -> None:
    client = Client(gateway)
    await client.says(user(f"{change.__name__} "))
    await client.says(user("two"))
    change(client.messages)
    await client.says(user("three"))
    assert client.last_received == [said(message) for message in plain(client.messages[:-1])]


def plain(messages: list[JsonObject]) -> list[JsonObject]:
    return [{"role": message["role"], "content": message["content"]} for message in messages]


async def test_model_and_parameters_may_change_in_a_conversation(gateway: Gateway) -> None:
    client = Client(gateway, model="claude-haiku-4-5")
    await client.says(user("another model"))
    await client.says(user("warmer"), temperature=0.7, max_tokens=99)
    body = gateway.upstream.requests[-1].body
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("claude-haiku-4-5", 0.7, 99)
    await client.says(user("another"), model=MODEL)
    body = gateway.upstream.requests[-1].body
    assert (body["model"], "temperature" in body) == (MODEL, False)
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


async def test_arguments_that_a_client_wrote_anew_are_the_same_input(gateway: Gateway) -> None:
    client = Client(gateway, tools=[LOOK])
    answer = await client.says(user('!demo call=look args={"q": "a", "r": 1}'))
    [call] = answer["tool_calls"]
    arguments = json.loads(call["function"]["arguments"])
    call["function"]["arguments"] = json.dumps(arguments, indent=2, sort_keys=True)
    answer["content"] = ""
    await client.says(result(call), user("And be brief."))
    use, results = client.last_received[1:]
    assert use[1] == [{"type": "tool_use", "id": call["id"], "name": "look", "input": arguments}]
    assert [block["type"] for block in results[1]] == ["tool_result", "text"]


async def test_a_continuation_needs_no_process_of_its_own(gateway: Gateway) -> None:
    """The one that answered is killed; any other goes on."""
    client = Client(gateway, tools=[LOOK])
    answer = await client.says(user("gone\n!demo call=look"))
    for slot in gateway.engine.pool.in_state("idle"):
        slot.worker.kill()
    last = await client.says(result(answer["tool_calls"][0], "it is 42"))
    assert "it is 42" in last["content"]
    assert [role for role, _ in client.last_received] == ["user", "assistant", "user"]
