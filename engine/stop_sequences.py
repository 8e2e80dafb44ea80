"""Stop sequences that the API does not take, watched for while the answer streams.

The API refuses white space alone (`stop_sequences: each stop sequence must contain
non-whitespace`), and some models take no stop sequences at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core.events import Event, Finished, Started, TextDelta, Usage


class StopFilter:
    """Passes events on up to the first of `stops` in the text; the stop itself is never shown, also
    where it comes in pieces. Then `hit` is true, the last event was `Finished`, and the turn is to
    be ended: nothing more passes."""

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self._usage = Usage()
        self.hit = False

    def __bool__(self) -> bool:
        return bool(self._stops)

    def feed(self, event: Event) -> Iterator[Event]:
        if self.hit:
            return
        if isinstance(event, Started):
            self._usage = event.usage
        if isinstance(event, TextDelta):
            yield from self._text(self._held + event.text)
            return
        if self._held:
            yield TextDelta(self._held)
            self._held = ""
        yield event

    def _text(self, text: str) -> Iterator[Event]:
        found = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            at, stop = min(found)
            self.hit = True
            if at:
                yield TextDelta(text[:at])
            # What the answer cost is not known: the API tells at its end.
            yield Finished("stop_sequence", self._usage, None, stop)
            return
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        if shown := text[: len(text) - kept]:
            yield TextDelta(shown)


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text may be the beginning of the stop."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
