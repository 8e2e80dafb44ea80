"""The events of the turn that a process runs, from the reader of its output to their consumer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from core.conversation import JsonObject
from core.errors import UpstreamError
from core.events import Event, TextDelta
from engine.failures import Failure
from engine.merged_events import add_event
from engine.translate import AnswerReader


class TurnFailed(Exception):
    """The call of the API failed; its own words are still to be waited for."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class RunningTurn:
    """What has come of one request and waits to be taken. `over`: the CLI is done with it."""

    def __init__(
        self,
        reader: AnswerReader,
        on_asked: Callable[[], None],
        on_done: Callable[[], None],
        *,
        settings_id: str = "gw_0",
    ) -> None:
        self.reader = reader
        self.on_asked = on_asked
        self.on_done = on_done
        self.settings_id = settings_id
        self.block_id = ""
        self.kind: str | None = None
        self.cost_usd: float | None = None
        self.confirmed = False
        self.blocked = False
        self.is_discarded = False
        self.asked = asyncio.Event()
        self.over = asyncio.Event()
        self._events: deque[Event] = deque()
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        return len(self._events)

    def put(self, event: JsonObject) -> None:
        try:
            translated = list(self.reader.feed(event))
        except (KeyError, TypeError, AttributeError):
            self.fail(UpstreamError("Claude Code sent malformed output."))
            return
        if not self.is_discarded:
            for each in translated:
                add_event(self._events, each)
            self._wake()

    def finish(self, cost_usd: float | None) -> None:
        if not self.is_discarded:
            self._events.append(self.reader.finished(cost_usd))
        self._set_over()

    def fail(self, error: Exception, *, is_over: bool = False) -> None:
        self._error = self._error or error
        if is_over:
            self._set_over()
        else:
            self._wake()

    def discard(self) -> None:
        """The rest will not be taken."""
        self.is_discarded = True
        self._events.clear()

    def _set_over(self) -> None:
        self.over.set()
        self.asked.set()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> Event | None:
        """The next event, None after the last. Raises what the turn failed with."""
        while not self._events:
            if self._error is not None:
                raise self._error
            if self.over.is_set():
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        event = self._events.popleft()
        return self._with_what_follows(event) if isinstance(event, TextDelta) else event

    def _with_what_follows(self, event: TextDelta) -> TextDelta:
        """Text that has come meanwhile goes out in one piece. At a model's pace there is none."""
        texts = [event.text]
        while self._events and isinstance(following := self._events[0], TextDelta):
            texts.append(following.text)
            self._events.popleft()
        return event if len(texts) == 1 else TextDelta("".join(texts))
