"""Responses that are worked on after their request has ended.

Each is a task of this process with a lease in the store: a server that dies leaves it failed, and
a request to cancel it, here or elsewhere, ends it. Events are kept as they come, so that any
server can show them.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from types import TracebackType

import anyio

from core import sse
from core.errors import ConversationLocked, GatewayError, Overloaded, StoreUnavailable
from core.events import ChoiceEvent
from dialects.responses import ResponsesRenderer
from dialects.responses.stored import frames_of
from stores.response_store import OPEN, ResponseStore, StoredResponse
from turns.response import as_gateway_error

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
CLOSE_SECONDS = 5.0
STOPPED = "The server was stopped."


@dataclass(frozen=True, slots=True)
class BackgroundRules:
    """`max_running` counts the responses that this process works on at the same time."""

    max_running: int = 100
    lease_seconds: float = 15.0
    heartbeat_seconds: float = 15.0
    sweep_seconds: float = 60.0


OnEnd = Callable[[GatewayError | None], None]
"""Is called when the work on a response is over, with its failure if any; the first time counts."""


@dataclass(slots=True)
class Job:
    """One response at work: `frames` are those of its stream so far, `news` is set with each."""

    response: StoredResponse
    renderer: ResponsesRenderer
    on_end: OnEnd
    failure: GatewayError | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    frames: list[str] = field(default_factory=list)
    kept: int = 0
    is_over: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    keeping: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: asyncio.Task[None] | None = None

    def add(self, raw: bytes) -> None:
        self.frames += frames_of(raw)
        self._tell()

    def end(self) -> None:
        self.is_over = True
        self._tell()

    def _tell(self) -> None:
        before, self.news = self.news, asyncio.Event()
        before.set()

    def finished(self) -> StoredResponse:
        """The response as it is stored at its end."""
        body = {**self.renderer.response(), "output": []}
        return replace(
            self.response,
            status=body["status"],
            body=body,
            output=self.renderer.replayable(),
        )


class BackgroundJobs:
    """All jobs of this process. An async context manager: on its way out every job is ended, and
    its response has failed."""

    def __init__(self, store: ResponseStore, rules: BackgroundRules) -> None:
        self.store = store
        self._rules = rules
        self._jobs: dict[tuple[str, str], Job] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> BackgroundJobs:
        self._sweeper = asyncio.create_task(self._sweep_forever())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in [*tasks, *filter(None, [self._sweeper])]:
            task.cancel()
            tasks.append(task)
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)

    def job(self, owner: str, id: str) -> Job | None:
        return self._jobs.get((owner, id))

    def check_room(self) -> None:
        """Raises Overloaded where as many run as may."""
        if len(self._jobs) >= self._rules.max_running:
            raise Overloaded(
                f"There are {self._rules.max_running} background responses at work already "
                "(MAX_BACKGROUND_RESPONSES).",
                retry_after=5,
            )

    async def start(
        self,
        response: StoredResponse,
        renderer: ResponsesRenderer,
        events: AsyncGenerator[ChoiceEvent, None],
        on_end: OnEnd,
    ) -> Job:
        """Keeps the response and goes to work on it. Raises StoreUnavailable or Overloaded, and
        then never calls `on_end`."""
        self.check_room()
        job = Job(response, renderer, on_end)
        self._jobs[response.owner, response.id] = job
        try:
            await self.store.add(response, job.token)
        except BaseException:
            self._drop(job)
            raise
        job.task = asyncio.create_task(self._work(job, events))
        job.task.add_done_callback(lambda _: on_end(job.failure))  # one that never began, too
        return job

    def stop(self, owner: str, id: str) -> None:
        """Ends the work on a response that was cancelled or deleted, if it is done here."""
        job = self._jobs.get((owner, id))
        if job is not None and job.task is not None:
            job.task.cancel()

    def _drop(self, job: Job) -> None:
        self._jobs.pop((job.response.owner, job.response.id), None)
        job.end()

    async def _work(self, job: Job, events: AsyncGenerator[ChoiceEvent, None]) -> None:
        """Until the answer has ended, was cancelled or its lease is lost."""
        holding = asyncio.create_task(self._hold(job, asyncio.current_task()))
        try:
            last = await self._last_frames(job, events)
            await self._store_end(job, last)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS):
                await self._store_end(job, job.renderer.fail(Overloaded(STOPPED)))
        finally:
            holding.cancel()
            self._drop(job)

    async def _last_frames(self, job: Job, events: AsyncGenerator[ChoiceEvent, None]) -> bytes:
        """Feeds the events; what ends the stream, whatever happened."""
        try:
            async with aclosing(events):
                async for item in events:
                    job.add(job.renderer.feed(item))
            return job.renderer.finish()
        except Exception as error:
            failure = job.failure = as_gateway_error(error)
            log.warning("a background response failed with %s: %s", failure.code, failure.message)
            return job.renderer.fail(failure)
        finally:  # before the end is sent: a client that sees it finds the turn in the ledger
            job.on_end(job.failure)

    async def _store_end(self, job: Job, last: bytes) -> None:
        """The end is stored before it is sent. Where the response is cancelled, deleted or another
        server's to end, nothing is stored and nothing sent."""
        try:
            try:
                await self._finish(job, last)
            except ConversationLocked as error:
                job.failure = error
                await self._finish(job, job.renderer.fail(error))
        except GatewayError as error:
            log.warning("a background response could not be stored: %s", error.message)
            job.add(job.renderer.fail(error))

    async def _finish(self, job: Job, last: bytes) -> None:
        async with job.keeping:
            new = [*job.frames[job.kept :], *frames_of(last)] if job.response.streamed else []
            if await self.store.finish(job.finished(), job.token, job.kept, new):
                job.add(last)

    async def _keep_events(self, job: Job) -> None:
        """Stores the frames that are new."""
        if not job.response.streamed:
            return
        owner, id = job.response.owner, job.response.id
        async with job.keeping:
            frames = job.frames[job.kept :]
            await self.store.add_events(owner, id, job.token, job.kept, frames)
            job.kept += len(frames)

    async def _hold(self, job: Job, work: asyncio.Task[None] | None) -> None:
        """Renews the lease and keeps the events; ends the work where the lease is lost."""
        owner, id = job.response.owner, job.response.id
        while True:
            await asyncio.sleep(self._rules.lease_seconds / 3)
            try:
                if not await self.store.renew(owner, id, job.token):
                    break
                await self._keep_events(job)
            except StoreUnavailable as error:
                log.warning("a response's lease could not be renewed: %s", error.message)
        if work is not None:
            work.cancel()

    async def follow(self, response: StoredResponse, after: int) -> AsyncGenerator[bytes, None]:
        """The frames of a stream with a number greater than `after`, as they come, to its end."""
        job = self.job(response.owner, response.id)
        frames = self._kept(response, after) if job is None else self._live(job, after)
        async with aclosing(frames):
            async for frame in frames:
                yield frame
        yield sse.DONE

    async def _live(self, job: Job, after: int) -> AsyncGenerator[bytes, None]:
        place = after + 1
        while True:
            news, is_over = job.news, job.is_over
            if new := job.frames[place:]:
                yield "".join(new).encode()
                place += len(new)
            elif is_over:
                return
            elif not await _happened(news, self._rules.heartbeat_seconds):
                yield sse.HEARTBEAT

    async def _kept(self, response: StoredResponse, after: int) -> AsyncGenerator[bytes, None]:
        """Out of the store, where another server writes."""
        owner, id, silence = response.owner, response.id, 0.0
        while True:
            status = (await self.store.get(owner, id)).status
            frames = await self.store.events(owner, id, after)
            if frames:
                yield "".join(frames).encode()
                after, silence = after + len(frames), 0.0
            elif status not in OPEN:
                return
            elif silence >= self._rules.heartbeat_seconds:
                yield sse.HEARTBEAT
                silence = 0.0
            else:
                await asyncio.sleep(POLL_SECONDS)
                silence += POLL_SECONDS

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(self._rules.sweep_seconds)
            try:
                await self.store.sweep_responses()
            except StoreUnavailable as error:
                log.warning("expired responses could not be swept: %s", error.message)


async def _happened(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
