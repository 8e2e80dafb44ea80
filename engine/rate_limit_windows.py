"""The windows of a subscription, as the CLI reports them: what is used, and when each resets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from core.conversation import JsonObject

log = logging.getLogger(__name__)

OVERAGE = "overage"
MOST_WINDOWS = 32


@dataclass(frozen=True, slots=True)
class Window:
    """One window (`five_hour`, `seven_day`, `seven_day_opus`, …, `overage`), in the CLI's words.

    `status` is `allowed`, `allowed_warning` or `rejected`; `utilization` a share of 1. Times are
    Unix seconds; None was not reported.
    """

    name: str
    status: str
    utilization: float | None
    resets_at: float | None
    reported_at: float


class RateLimitWindows:
    """The latest report of each window. A window that rejects outlives the turn that met it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._windows: dict[str, Window] = {}

    def note(self, info: JsonObject) -> None:
        name = str(info.get("rateLimitType") or "unknown")
        self._put(name, info.get("status"), info.get("utilization"), info.get("resetsAt"))
        if info.get("overageStatus") is not None:
            self._put(OVERAGE, info["overageStatus"], None, info.get("overageResetsAt"))

    def _put(self, name: str, status: object, utilization: object, resets_at: object) -> None:
        before = self._windows.get(name)
        if before is None and len(self._windows) >= MOST_WINDOWS:
            return
        window = self._windows[name] = Window(
            name, str(status or "unknown"), _number(utilization), _number(resets_at), self._clock()
        )
        if window.status != "allowed" and (before is None or before.status != window.status):
            used = "" if window.utilization is None else f", {window.utilization:.0%} used"
            log.warning("the subscription's window %s: %s%s", name, window.status, used)

    def all(self) -> list[Window]:
        return [self._windows[name] for name in sorted(self._windows)]

    def headers(self) -> dict[str, str]:
        """`x-claude-ratelimit-<window>-status`, `-utilization` and `-reset` (Unix seconds)."""
        found: dict[str, str] = {}
        for window in self._windows.values():
            prefix = f"x-claude-ratelimit-{_header_name(window.name)}"
            found[f"{prefix}-status"] = _header_name(window.status)
            if window.utilization is not None:
                found[f"{prefix}-utilization"] = f"{window.utilization:g}"
            if window.resets_at is not None:
                found[f"{prefix}-reset"] = f"{window.resets_at:.0f}"
        return found

    def retry_after(self) -> float | None:
        """Seconds until the last of the windows that reject now resets; None where none does."""
        now = self._clock()
        resets = [
            window.resets_at
            for window in self._windows.values()
            if window.status == "rejected" and window.resets_at is not None
        ]
        seconds = max(resets, default=0.0) - now
        return max(1.0, seconds) if seconds > 0 else None


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]  # it is one


def _header_name(text: str) -> str:
    """Upstream chose it: nothing but letters, digits and hyphens."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text)
    return kept[:40].lower()
