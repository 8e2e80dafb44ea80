"""Headers that every dialect's answer has."""

from __future__ import annotations

from collections.abc import Iterable


def answer_headers(ignored: Iterable[str], cost_usd: float | None) -> dict[str, str]:
    """Which of the request's parameters had no effect, and what the answer cost, where known."""
    headers = {}
    if names := sorted(set(ignored)):
        headers["x-ignored-parameters"] = ", ".join(names)
    if cost_usd is not None:
        headers["x-claude-cost-usd"] = f"{cost_usd:.10f}".rstrip("0").rstrip(".")
    return headers
