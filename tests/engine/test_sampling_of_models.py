"""Every model takes what chat clients send as a matter of course: what it refuses is left out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from demo import FakeAnthropic
from engine.known_models import KNOWN_MODELS, UNLISTED_MODELS
from tests.support.harness import Gateway, gateway_at
from tests.support.wire import URL, asking

MODELS = [card.id for card in (*KNOWN_MODELS, *UNLISTED_MODELS)]
SAMPLINGS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 0.7, "top_p": 0.9},
    {"top_p": 0.5},
    {"temperature": 0.2, "top_p": 0.5, "top_k": 40},
]
EFFORTS = ["", "high"]


@pytest.fixture(scope="module")
async def models(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    async with gateway_at(shared_upstream, home, max_processes=1, pool_warm=0) as gateway:
        yield gateway


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("model", MODELS)
async def test_a_model_answers_whatever_it_is_to_sample_with(
    models: Gateway, upstream: FakeAnthropic, model: str, effort: str
) -> None:
    for sampling in SAMPLINGS:
        body = {**asking("hi"), **sampling, "model": model}
        if effort:
            body["reasoning_effort"] = effort
        first = await models.http.post(URL, json=body)
        assert first.status_code == 200, (sampling, first.text)
        before = len(upstream.requests)
        again = await models.http.post(URL, json=body)
        assert len(upstream.requests) == before + 1  # what is refused is known by now
        assert again.headers.get("x-ignored-parameters") == first.headers.get(
            "x-ignored-parameters"
        )
        sent = upstream.requests[-1].body
        left_out = {name for name in sampling if name not in sent}
        told = set((first.headers.get("x-ignored-parameters") or "").split(", "))
        assert left_out <= told
