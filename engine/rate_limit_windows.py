"""The windows of a subscription, as the CLI reports them: what is used, and when each resets."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.conversation import JsonObject


class RateLimitWindows:
    """The latest report of each window (`five_hour`, `seven_day`, …), in the CLI's own words. A
    window that rejects outlives the turn that met it. Times are Unix seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._latest: dict[str, JsonObject] = {}

    def note(self, info: JsonObject) -> None:
        self._latest[str(info.get("rateLimitType") or "unknown")] = info

    @property
    def latest(self) -> dict[str, JsonObject]:
        return dict(self._latest)

    def retry_after(self) -> float | None:
        """Seconds until the last of the windows that reject now resets; None where none does."""
        now = self._clock()
        resets = [
            float(info["resetsAt"])
            for info in self._latest.values()
            if info.get("status") == "rejected" and isinstance(info.get("resetsAt"), int | float)
        ]
        seconds = max(resets, default=0.0) - now
        return max(1.0, seconds) if seconds > 0 else None
