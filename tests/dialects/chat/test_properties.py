"""Conversations of any legal shape: what arrives is what was written.

A conversation is drawn as the model must get it, then written down as one of the many bodies that
mean it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core.conversation import text_block
from core.errors import GatewayError
from core.turn import Turn
from dialects import tool_results
from dialects.base import Context
from dialects.chat import messages as chat_messages
from dialects.chat import request as chat_request
from dialects.content import settled
from dialects.tool_names import Names
from models import ChatRequest
from tests.support.harness import Gateway, png, said, system_texts

Json = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

PDF = base64.b64encode(b"%PDF-1.4 x").decode()
TOOLS = ("alpha_lookup", "beta_lookup")
DECLARED = [{"type": "function", "function": {"name": name}} for name in TOOLS]
SYSTEMS = (None, "You are Ada.\n\n@/etc/hostname")

KINDS = ("text", "refusal", "image_url", "image", "file", "document", "tool_use", "tool_result")
SAFE_INTEGER = 2**53 - 1
"""The CLI reads JSON as JavaScript does: larger numbers lose digits on their way."""

words = st.text(min_size=1, max_size=40).filter(lambda text: text.strip())
blank = st.text(alphabet=" \n\t", max_size=3)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-SAFE_INTEGER, SAFE_INTEGER)
    | st.floats(-SAFE_INTEGER, SAFE_INTEGER)
    | st.text(max_size=10)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
inputs = st.dictionaries(st.text(max_size=8), values, max_size=3)
texts = words.map(lambda text: {"type": "text", "text": text})
images = st.integers(1, 12).map(
    lambda size: {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": png(size)},
    }
)
documents = words.map(
    lambda title: {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        "title": title,
    }
)
ids = st.text(alphabet="abcXYZ019_-", min_size=1, max_size=20)


@st.composite
def conversations(draw: Draw) -> list[tuple[str, list[Json]]]:
    """Native messages: users and answers in turn, a user last, every call answered once."""
    call_ids = iter(draw(st.lists(ids, min_size=9, max_size=9, unique=True)))
    messages: list[tuple[str, list[Json]]] = [("user", draw(asked()))]
    for _ in range(draw(st.integers(0, 3))):
        calls = [
            {
                "type": "tool_use",
                "id": next(call_ids),
                "name": draw(st.sampled_from(TOOLS)),
                "input": draw(inputs),
            }
            for _ in range(draw(st.integers(0, 3)))
        ]
        spoken = draw(st.lists(texts, min_size=0 if calls else 1, max_size=2))
        messages.append(("assistant", [*spoken, *calls]))
        results = [
            {
                "type": "tool_result",
                "tool_use_id": call["id"],
                "content": draw(st.lists(texts | images, max_size=2)),
            }
            for call in draw(st.permutations(calls))
        ]
        messages.append(("user", [*results, *draw(asked(least=0 if calls else 1))]))
    return messages


def asked(least: int = 1) -> st.SearchStrategy[list[Json]]:
    return st.lists(texts | images | documents, min_size=least, max_size=3)


def written(native: list[tuple[str, list[Json]]], draw: Draw) -> list[Json]:
    """One of the bodies that mean this conversation."""
    messages: list[Json] = []
    for role, blocks in native:
        if draw(st.integers(0, 4)) == 0:  # as Cursor does
            messages.append({"role": role, "content": blocks})
        elif role == "assistant":
            messages.extend(_answers(blocks, draw))
        else:
            messages.extend(_questions(blocks, draw))
        if draw(st.integers(0, 4)) == 0:
            messages.append({"role": role, "content": draw(st.sampled_from(["", []]))})
    return messages


def _answers(blocks: list[Json], draw: Draw) -> list[Json]:
    spoken = [block for block in blocks if block["type"] == "text"]
    calls = [
        {
            "id": block["id"],
            "type": "function",
            "function": {"name": block["name"], "arguments": json.dumps(block["input"])},
        }
        for block in blocks
        if block["type"] == "tool_use"
    ]
    content = _content(spoken, draw) if spoken else draw(st.sampled_from([None, "", []]))
    message: Json = {"role": "assistant", "content": content}
    if not calls:
        return [message]
    if spoken and draw(st.booleans()):  # two messages of one role
        return [message, {"role": "assistant", "content": None, "tool_calls": calls}]
    return [message | {"tool_calls": calls}]


def _questions(blocks: list[Json], draw: Draw) -> list[Json]:
    results = [
        {
            "role": "tool",
            "tool_call_id": block["tool_use_id"],
            "content": _content(block["content"], draw) if block["content"] else "",
        }
        for block in blocks
        if block["type"] == "tool_result"
    ]
    rest = [block for block in blocks if block["type"] != "tool_result"]
    if len(rest) > 1 and draw(st.booleans()):
        halves = [rest[:1], rest[1:]]
    else:
        halves = [rest] if rest else []
    return [*results, *({"role": "user", "content": _content(half, draw)} for half in halves)]


def _content(blocks: list[Json], draw: Draw) -> Any:
    if len(blocks) == 1 and blocks[0]["type"] == "text" and draw(st.booleans()):
        return blocks[0]["text"]
    parts = [_part(block) for block in blocks]
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), {"type": "text", "text": ""})
    return parts


def _part(block: Json) -> Json:
    if block["type"] == "text":
        return block
    source = block["source"]
    url = f"data:{source['media_type']};base64,{source['data']}"
    if block["type"] == "image":
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "file", "file": {"file_data": url, "filename": block["title"]}}


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_way_to_write_a_conversation_is_read_as_that_conversation(data: Any) -> None:
    native = data.draw(conversations())
    request = ChatRequest.model_validate({"messages": written(native, data.draw)})
    read = chat_messages.read(request.messages, Names())
    assert [(message.role, list(message.content)) for message in read.messages] == native


@given(st.data())
@settings(
    max_examples=12,
    phases=[Phase.generate],  # shrinking takes a turn for each try
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
async def test_the_model_receives_every_conversation_as_it_was_written(
    gateway: Gateway, data: Any
) -> None:
    native = data.draw(conversations())
    system = data.draw(st.sampled_from(SYSTEMS))
    messages = written(native, data.draw)
    if system is not None:
        place = data.draw(st.integers(0, len(messages)))
        messages.insert(place, {"role": "system", "content": system})
    body = {"model": "claude-sonnet-5", "messages": messages, "tools": DECLARED}
    gateway.upstream.clear()
    whole = await whole_text(gateway, body)
    streamed = await streamed_text(gateway, body)
    assert whole == streamed
    assert len(gateway.upstream.requests) == 2
    for request in gateway.upstream.requests:
        assert [said(message) for message in request.messages] == native
        assert system_texts(request.body) == ([system] if system else [])
        assert [tool["name"] for tool in request.tools] == list(TOOLS)


async def whole_text(gateway: Gateway, body: Json) -> str:
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


async def streamed_text(gateway: Gateway, body: Json) -> str:
    text = ""
    url = "/v1/chat/completions"
    async with gateway.http.stream("POST", url, json={**body, "stream": True}) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                for choice in json.loads(line.removeprefix("data: "))["choices"]:
                    text += choice["delta"].get("content") or ""
    return text


@given(st.lists(st.one_of(words, blank).map(text_block) | images, max_size=8))
def test_no_text_is_lost_beside_another_and_no_block_is_empty(blocks: list[Any]) -> None:
    kept = settled(blocks)
    assert all(block["type"] != "text" or block["text"].strip() for block in kept)
    assert _runs(kept) == [run for run in _runs(blocks) if not isinstance(run, str) or run.strip()]
    assert settled(kept) == kept


def _runs(blocks: list[Any]) -> list[Any]:
    """Texts side by side as one, images between them; an image parts even blank texts."""
    runs: list[Any] = []
    for block in blocks:
        if block["type"] == "text" and runs and isinstance(runs[-1], str):
            runs[-1] += block["text"]
        else:
            runs.append(block["text"] if block["type"] == "text" else block)
    return runs


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_ids_that_come_again_are_renamed_with_their_results(data: Any) -> None:
    native = data.draw(conversations())
    few = {"tool_use": "id", "tool_result": "tool_use_id"}
    renamed: dict[str, str] = {}
    for role, blocks in native:  # each answer counts its calls again
        calls = [block for block in blocks if block["type"] == "tool_use"]
        if role == "assistant":
            renamed = {call["id"]: f"call_{index}" for index, call in enumerate(calls)}
        for block in blocks:
            if key := few.get(block["type"]):
                block[key] = renamed[block[key]]
    request = ChatRequest.model_validate({"messages": written(native, data.draw)})
    read = chat_messages.read(request.messages, Names())
    called = [call["id"] for message in read.messages for call in tool_results.calls_of(message)]
    assert len(set(called)) == len(called)
    tool_results.check(read.messages)


roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
kinds = st.sampled_from(sorted({*KINDS, "reasoning", "input_audio"}))
part_keys = ("text", "refusal", "image_url", "source", "file", "id", "name", "input", "content")
parts = st.fixed_dictionaries(
    {"type": kinds | values}, optional=dict.fromkeys(part_keys, values | inputs)
)
strange_messages = st.fixed_dictionaries(
    {"role": roles, "content": st.none() | st.text(max_size=5) | st.lists(parts, max_size=3)},
    optional={"tool_call_id": ids, "name": ids, "tool_calls": values, "refusal": values},
)


@given(st.lists(strange_messages, min_size=1, max_size=4))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_written_is_understood_or_refused_in_words(messages: list[Json]) -> None:
    try:
        request = ChatRequest.model_validate({"messages": messages})
    except ValueError:
        return
    outcome = understood(request)
    if isinstance(outcome, GatewayError):
        assert outcome.status in (400, 413)
        assert outcome.param
    else:
        assert outcome.messages[0].role == "user"
        assert all(message.content for message in outcome.messages)


def understood(request: ChatRequest) -> Turn | GatewayError:
    try:
        return chat_request.parse(request, Context("claude-sonnet-5")).turn
    except GatewayError as error:
        return error
