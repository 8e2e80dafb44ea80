"""`seed`: the same request gets the recorded answer again, for a while."""

from __future__ import annotations

from typing import Any

from core.events import ChoiceEvent, Finished, TextDelta
from core.turn import Turn
from tests.support.harness import Gateway
from tests.support.wire import URL, asking, chunks, streamed_text
from turns.seed_cache import SeedCache


async def test_the_same_seed_gives_the_recorded_answer(gateway: Gateway) -> None:
    body = asking("!demo tokens=5", seed=11)
    first = (await gateway.http.post(URL, json=body)).json()
    again = await gateway.http.post(URL, json={**body, "stream": True})
    assert streamed_text(again.text) == first["choices"][0]["message"]["content"]
    assert chunks(again.text)[0]["system_fingerprint"] == first["system_fingerprint"]
    assert len(gateway.upstream.requests) == 1
    assert first["id"] != chunks(again.text)[0]["id"]
    for changed in ({**body, "seed": 12}, {**body, "max_tokens": 7}, {**body, "n": 2}):
        await gateway.http.post(URL, json=changed)
    assert len(gateway.upstream.requests) == 5


async def test_a_failure_is_not_kept_for_a_seed(gateway: Gateway) -> None:
    body = asking("!demo error=529 error_times=1 text=fine", seed=3)
    assert (await gateway.http.post(URL, json=body)).status_code == 503
    answer = await gateway.http.post(URL, json=body)
    assert answer.json()["choices"][0]["message"]["content"] == "fine"


TURN = Turn("m", ())


async def answer_of(cache: SeedCache, text: str, seed: int = 1, turn: Turn = TURN) -> str:
    async def fresh() -> Any:
        yield ChoiceEvent(0, TextDelta(text))
        yield ChoiceEvent(0, Finished("end_turn", cost_usd=0.5))

    items = [item async for item in cache.answer(turn, seed, 1, fresh())]
    return "".join(item.event.text for item in items if isinstance(item.event, TextDelta))


async def test_recorded_answers_expire_and_belong_to_one_principal() -> None:
    now = [0.0]
    cache = SeedCache(10, clock=lambda: now[0])
    assert await answer_of(cache, "a") == "a"
    assert await answer_of(cache, "b") == "a"
    assert await answer_of(cache, "c", turn=Turn("m", (), principal="other")) == "c"
    now[0] = 10.0
    assert await answer_of(cache, "d") == "d"


async def test_recorded_answers_are_bounded_in_bytes() -> None:
    cache = SeedCache(10, max_bytes=5_000)
    for seed in range(50):
        await answer_of(cache, "x" * 100, seed)
    assert 0 < cache.size <= 5_000
    assert await answer_of(cache, "new", 49) == "x" * 100
    assert await answer_of(cache, "new", 0) == "new"
    assert await answer_of(SeedCache(0), "a") == "a"
