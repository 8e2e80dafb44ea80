"""The shape of streams and bodies, and where a turn ends. Real CLI."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest

from demo import FakeAnthropic
from engine.leases import State
from tests.support.harness import Gateway, gateway_at
from tests.support.openai_types import typed_body, typed_chunks
from tests.support.wire import MODEL, URL, asking, chunks, frames, streamed_text


async def stream(gateway: Gateway, text: str, **fields: Any) -> list[dict[str, Any]]:
    return chunks((await gateway.http.post(URL, json=asking(text, stream=True, **fields))).text)


async def body(gateway: Gateway, text: str, **fields: Any) -> dict[str, Any]:
    answer = await gateway.http.post(URL, json=asking(text, **fields))
    assert answer.status_code == 200, answer.text
    parsed: dict[str, Any] = answer.json()
    return parsed


async def test_a_stream_starts_with_the_role_and_ends_with_the_reason(gateway: Gateway) -> None:
    sent = await stream(gateway, "!demo tokens=3")
    first, *middle, last = [chunk["choices"][0]["delta"] for chunk in sent]
    assert first == {"role": "assistant", "content": "", "refusal": None}
    assert "".join(delta["content"] for delta in middle) == "word1 word2 word3"
    assert all(set(delta) == {"content"} for delta in middle)  # what came at once is one
    assert last == {}
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in sent]
    assert reasons == [*[None] * (len(sent) - 1), "stop"]
    constant = [{key: chunk[key] for key in ("id", "object", "created", "model")} for chunk in sent]
    assert constant == [constant[0]] * len(sent)
    assert constant[0]["object"] == "chat.completion.chunk"
    assert constant[0]["model"] == MODEL
    assert not any("usage" in chunk for chunk in sent)


async def test_the_usage_chunk_is_the_last_and_the_others_say_null(gateway: Gateway) -> None:
    asked = "!demo tokens=3 input=100 cached=40 cache_write=7"
    *sent, last = await stream(gateway, asked, stream_options={"include_usage": True})
    assert [chunk["usage"] for chunk in sent] == [None] * len(sent)
    assert last["choices"] == []
    assert {key: last[key] for key in ("id", "created", "model")} == {
        key: sent[0][key] for key in ("id", "created", "model")
    }
    usage = last["usage"]
    assert usage["prompt_tokens"] == 147
    assert usage["prompt_tokens_details"]["cached_tokens"] == 40
    assert (usage["completion_tokens"], usage["total_tokens"]) == (3, 150)
    assert usage["cost_usd"] > 0
    answer = await body(gateway, asked)
    assert answer["usage"] == usage


async def test_the_cost_is_in_the_body_and_in_a_header(gateway: Gateway) -> None:
    answer = await gateway.http.post(URL, json=asking("!demo tokens=30"))
    cost = answer.json()["usage"]["cost_usd"]
    assert cost > 0
    assert float(answer.headers["x-claude-cost-usd"]) == cost


@pytest.mark.parametrize("streams", [False, True])
async def test_fields_without_effect_are_named_in_a_header(gateway: Gateway, streams: bool) -> None:
    fields = {"mirostat": 2, "user": "u", "logprobs": False, "top_k": 5, "stream": streams}
    answer = await gateway.http.post(URL, json=asking("hi", **fields))
    assert answer.headers["x-ignored-parameters"] == "mirostat, top_k"
    plain = await gateway.http.post(URL, json=asking("hi", stream=streams))
    assert "x-ignored-parameters" not in plain.headers


@pytest.mark.parametrize(
    "text",
    [
        "hi",
        "two\n\nparagraphs, é ✓ 𝄞 \u2028 and data: [DONE]",
        "!demo tokens=40",
        '!demo json={"a":"\\n\\n"}',
    ],
)
async def test_stream_and_body_say_the_same(gateway: Gateway, text: str) -> None:
    raw = (await gateway.http.post(URL, json=asking(text, stream=True))).text
    message = (await body(gateway, text))["choices"][0]["message"]
    assert streamed_text(raw) == message["content"]


async def test_thinking_is_beside_the_text(gateway: Gateway) -> None:
    text = '!demo thinking_force thinking="a b" text=so'
    sent = await stream(gateway, text)
    deltas = [chunk["choices"][0]["delta"] for chunk in sent]
    thought = "".join(delta.get("reasoning_content", "") for delta in deltas)
    message = (await body(gateway, text))["choices"][0]["message"]
    assert thought == message["reasoning_content"] == "a b"
    assert message["content"] == joined(sent) == "so"


@pytest.fixture(scope="module")
async def shared_narrow(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A server of one process, which soon fills a silence."""
    home = tmp_path_factory.mktemp("narrow")
    narrow = {"max_processes": 1, "pool_warm": 0, "heartbeat_seconds": 0.05}
    async with gateway_at(shared_upstream, home, **narrow) as gateway:
        yield gateway


@pytest.fixture
def narrow(shared_narrow: Gateway, upstream: FakeAnthropic) -> Gateway:
    return shared_narrow


async def test_silence_is_filled_with_comments(narrow: Gateway) -> None:
    asked = asking("!demo tokens=4 delay_after=2:0.3", stream=True)
    raw = (await narrow.http.post(URL, json=asked)).text
    reported = frames(raw)
    second, third = (
        at for at, frame in enumerate(reported) if "word2" in frame or "word3" in frame
    )
    silence = reported[second + 1 : third]
    assert len(silence) >= 2
    assert all(frame.startswith(":") for frame in silence)
    assert streamed_text(raw) == "word1 word2 word3 word4"


@pytest.mark.parametrize("streams", [False, True])
async def test_the_turn_ends_at_max_tokens_with_one_request(
    gateway: Gateway, streams: bool
) -> None:
    # a model takes its time; without it a busy machine may lose the race against the CLI
    asked = asking("!demo tokens=50 delay_after=2:0.2", max_tokens=5, stream=streams)
    answer = (await gateway.http.post(URL, json=asked)).text
    choice = (chunks(answer)[-1] if streams else json.loads(answer))["choices"][0]
    assert choice["finish_reason"] == "length"
    text = streamed_text(answer) if streams else choice["message"]["content"]
    assert text.split() == [f"word{n}" for n in range(1, 6)]
    await after_the_next_turn(gateway)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("!demo stop=refusal text=No.", "content_filter"), ("!demo empty first_delay=0.3", "stop")],
)
async def test_a_refusal_and_an_empty_answer_end_the_turn_with_one_request(
    gateway: Gateway, text: str, reason: str
) -> None:
    streamed, whole = await both(gateway, text)
    assert streamed[-2]["choices"][0]["finish_reason"] == reason
    choice = whole["choices"][0]
    assert choice["finish_reason"] == reason
    assert choice["message"]["content"] == joined(streamed)
    if reason == "stop":
        assert choice["message"]["content"] == ""
    await after_the_next_turn(gateway, turns=2)


async def both(gateway: Gateway, text: str, **fields: Any) -> tuple[list[dict[str, Any]], Any]:
    """The answer's chunks with their usage, and its body; of the official client's types."""
    streamed = await stream(gateway, text, **fields, stream_options={"include_usage": True})
    whole = await body(gateway, text, **fields)
    typed_chunks(streamed)
    typed_body(whole)
    return streamed, whole


def joined(sent: list[dict[str, Any]]) -> str:
    deltas = [chunk["choices"][0]["delta"] for chunk in sent if chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


async def after_the_next_turn(gateway: Gateway, turns: int = 1) -> None:
    """One more turn, so that a second request of an earlier one would have been seen."""
    await body(gateway, "and now?")
    asked = [request.messages[-1]["content"] for request in gateway.upstream.requests]
    assert len(asked) == turns + 1
    assert "and now?" in str(asked[-1])


async def test_a_stream_that_is_cut_ends_with_an_error_and_is_not_asked_again(
    gateway: Gateway,
) -> None:
    asked = asking("!demo tokens=9 rate=50 cut=3", stream=True)
    raw = (await gateway.http.post(URL, json=asked)).text
    *shown, failure = chunks(raw)
    assert "word1 word2 word3 ".startswith(streamed_text(raw))  # the last may be lost in the break
    assert "word1" in streamed_text(raw)
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in shown)
    assert failure["error"]["code"] == "upstream_error"
    assert len(gateway.upstream.requests) == 1


async def test_a_body_whose_stream_was_cut_is_an_error(gateway: Gateway) -> None:
    answer = await gateway.http.post(URL, json=asking("!demo tokens=9 rate=50 cut=3"))
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_error"
    assert len(gateway.upstream.requests) == 1


async def test_an_error_inside_the_stream_ends_it(gateway: Gateway) -> None:
    asked = "!demo tokens=9 rate=50 error_midstream=overloaded_error error_after=2"
    *shown, failure = await stream(gateway, asked, stream_options={"include_usage": True})
    assert failure == {
        "error": {
            "message": "Overloaded",
            "type": "server_error",
            "param": None,
            "code": "overloaded",
        }
    }
    assert [chunk["usage"] for chunk in shown] == [None] * len(shown)  # no usage chunk either


async def test_a_stop_sequence_ends_the_answer_before_it(gateway: Gateway) -> None:
    streamed, whole = await both(gateway, "!demo tokens=9", stop=["word4", "never"])
    assert streamed[-2]["choices"][0]["finish_reason"] == "stop"
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert joined(streamed).split() == ["word1", "word2", "word3"]
    assert whole["choices"][0]["message"]["content"].split() == ["word1", "word2", "word3"]
    assert [request.body["stop_sequences"] for request in gateway.upstream.requests] == [
        ["word4", "never"]
    ] * 2


@pytest.mark.parametrize(
    ("order", "fields"),
    [
        ("text=fine", {}),
        ("empty", {}),
        ("stop=refusal text=no", {}),
        ("tokens=50", {"max_tokens": 3}),
        ("error=429", {}),
        ("cut=3 tokens=9", {}),
    ],
)
async def test_a_process_serves_on_however_its_turn_ended_and_remembers_nothing(
    narrow: Gateway, order: str, fields: dict[str, Any]
) -> None:
    def pids() -> list[int]:
        slots = narrow.engine.pool.in_state(*get_args(State))
        return [slot.worker.describe()["pid"] for slot in slots]

    await body(narrow, "one")
    clean = pids()
    await narrow.http.post(URL, json=asking(f"two\n!demo {order}", **fields))
    answer = await body(narrow, "!demo recall")
    assert pids() == clean
    assert json.loads(answer["choices"][0]["message"]["content"]) == [["user", "!demo recall"]]
