"""What the fake upstream was asked, and events to wait for it."""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

Provider = Literal["anthropic", "bedrock", "vertex"]

_MODEL_IN_PATH = re.compile(r"/(?:model|models)/(.+?)(?:/invoke(?:-with-response-stream)?|:\w+)$")


@dataclass(slots=True)
class Outcome:
    """How a request ended; it changes while the answer is written."""

    text: str = "open"
    usage: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request to the model as it arrived.

    `headers` have lower-case names, `received_at` is in monotonic seconds (`time.monotonic`).
    `raw` are the bytes of its body, and `body` the JSON object that they are, with its keys in the
    order in which they came; it is empty when it could not be parsed.
    """

    provider: Provider
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    received_at: float
    raw: bytes = field(default=b"", repr=False)
    _outcome: Outcome = field(default_factory=Outcome, repr=False, compare=False)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation; an empty list when there is none."""
        return list(self.body.get("messages") or [])

    @property
    def system(self) -> str:
        """The text of the system prompt, blocks joined by a newline; "" without one."""
        system = self.body.get("system") or ""
        if isinstance(system, str):
            return system
        return "\n".join(block.get("text", "") for block in system)

    @property
    def model(self) -> str:
        """The model's name, from the body or (Bedrock, Vertex) from the path; "" if absent."""
        if name := self.body.get("model"):
            return str(name)
        found = _MODEL_IN_PATH.search(self.path)
        return found[1] if found else ""

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The tools offered to the model; an empty list when there are none."""
        return list(self.body.get("tools") or [])

    @property
    def outcome(self) -> str:
        """One of "open", "answered", "disconnected", "error <status>".

        A body the fake upstream broke off on purpose (`cut`) counts as "answered"; an error inside
        the stream as "error <status>".
        """
        return self._outcome.text

    @property
    def usage(self) -> dict[str, int]:
        """The tokens that its answer has reported so far: those of `message_start`, then those of
        `message_delta`. Empty where no answer began."""
        return self._outcome.usage


class Recorder:
    """Keeps the last `limit` requests, counts open answers, wakes waiters. One event loop only."""

    def __init__(self, limit: int) -> None:
        self.requests: deque[RecordedRequest] = deque(maxlen=limit)
        self.other_requests: deque[RecordedRequest] = deque(maxlen=limit)
        self.received = 0
        self.open_streams = 0
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def clear(self) -> None:
        """Forget every request, so that `wait_for` counts from zero again."""
        self.requests.clear()
        self.other_requests.clear()
        self.received = 0

    @contextmanager
    def answering(self, request: RecordedRequest) -> Iterator[Outcome]:
        """Record a request to the model and count its answer as open inside the block."""
        self.requests.append(request)
        self.received += 1
        self.open_streams += 1
        self._wake()
        try:
            yield request._outcome
        finally:
            self.open_streams -= 1
            self._wake()

    async def wait_until(self, reached: Callable[[], bool], timeout_seconds: float) -> None:
        """Return once `reached()` holds; raise TimeoutError after `timeout_seconds`."""
        if reached():
            return
        future = asyncio.get_running_loop().create_future()
        waiter = (reached, future)
        self._waiters.append(waiter)
        try:
            await asyncio.wait_for(future, timeout_seconds)
        finally:
            self._waiters = [other for other in self._waiters if other is not waiter]

    def _wake(self) -> None:
        for reached, future in self._waiters:
            if reached() and not future.done():
                future.set_result(None)
