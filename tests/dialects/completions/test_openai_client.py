"""Legacy completions through the official `openai` client. Real CLI against the fake upstream."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.support.harness import Gateway, said
from tests.support.wire import MODEL


async def test_a_prompt_is_answered(gateway: Gateway) -> None:
    answer = await gateway.client.completions.create(model=MODEL, prompt="!demo tokens=3", user="u")
    [choice] = answer.choices
    assert (choice.text, choice.finish_reason) == ("word1 word2 word3", "stop")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    [request] = gateway.upstream.requests
    assert [said(message) for message in request.messages] == [
        ("user", [{"type": "text", "text": "!demo tokens=3"}])
    ]
    assert not request.system


async def test_prompts_and_answers_are_streamed_side_by_side(gateway: Gateway) -> None:
    stream = await gateway.client.completions.create(
        model=MODEL,
        prompt=["!demo tokens=2", "!demo text=other"],
        n=2,
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=50,
    )
    texts, reasons, usage = [""] * 4, [""] * 4, None
    async for chunk in stream:
        usage = chunk.usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            reason: str | None = (
                choice.finish_reason
            )  # null but in the last, whatever its type says
            reasons[choice.index] += reason or ""
    assert texts == ["word1 word2", "word1 word2", "other", "other"]
    assert reasons == ["stop"] * 4
    assert usage is not None
    assert usage.completion_tokens == 6
    assert len(gateway.upstream.requests) == 4


async def test_limits_and_stops_reach_the_model(gateway: Gateway) -> None:
    asked: Any = {"model": MODEL, "prompt": "!demo text=abXcd", "stop": ["X"], "echo": True}
    answer = await gateway.client.completions.create(**asked)
    assert answer.choices[0].text == "!demo text=abXcdab"
    body = gateway.upstream.requests[-1].body
    assert body["stop_sequences"] == ["X"]
    cut = await gateway.client.completions.create(
        model=MODEL, prompt="!demo tokens=9", max_tokens=2
    )
    assert (cut.choices[0].finish_reason, cut.choices[0].text) == ("length", "word1 word2 ")


async def test_what_claude_has_not_is_refused_by_name(gateway: Gateway) -> None:
    fields: list[dict[str, Any]] = [{"suffix": "end"}, {"logprobs": 1}, {"prompt": [1, 2]}]
    for more in fields:
        with pytest.raises(openai.BadRequestError) as caught:
            await gateway.client.completions.create(**{"model": MODEL, "prompt": "hi", **more})
        assert caught.value.param == next(iter(more))
        assert caught.value.code == "unsupported_parameter"
    assert not gateway.upstream.requests


async def test_the_same_seed_gives_the_recorded_answer(gateway: Gateway) -> None:
    asked: Any = {"model": MODEL, "prompt": "!demo tokens=4", "seed": 11}
    first = await gateway.client.completions.create(**asked)
    second = await gateway.client.completions.create(**asked)
    assert first.choices[0].text == second.choices[0].text
    assert len(gateway.upstream.requests) == 1
