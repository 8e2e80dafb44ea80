"""What a key may use: limits a minute, at once, a day and a month."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """None is no limit. Days and months are UTC's. Tokens are all that were read and written."""

    tokens_per_minute: int | None = None
    parallel_requests: int | None = None
    usd_per_day: float | None = None
    usd_per_month: float | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(getattr(self, field.name) is not None for field in fields(self))


NO_LIMITS = KeyLimits()
