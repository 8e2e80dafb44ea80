"""What is known of a model beside what the CLI tells."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine.known_models import KNOWN_MODELS, ModelCard


@pytest.mark.parametrize(
    ("model", "window", "length", "released"),
    [
        ("claude-opus-4-5-20251101", 200_000, 64_000, datetime(2025, 11, 1, tzinfo=UTC)),
        ("us.anthropic.claude-sonnet-4-6-v1[1m]", 1_000_000, 128_000, None),
        ("claude-haiku-5-5", 1_000_000, 128_000, None),
        ("claude-opus-4", 200_000, 32_000, datetime(2025, 5, 14, tzinfo=UTC)),
        ("claude-opus-9", None, None, None),
        ("claude-opus-9-20991399", None, None, None),
    ],
)
def test_a_model_is_known_whatever_its_provider_calls_it(
    model: str, window: int | None, length: int | None, released: datetime | None
) -> None:
    limits = ModelCard(model, "").limits
    assert (limits.context_window, limits.max_output_tokens) == (window, length)
    assert limits.released == released


def test_every_model_that_is_listed_without_asking_has_limits() -> None:
    assert [card.id for card in KNOWN_MODELS if card.limits.context_window is None] == []
