"""One turn at a time in a session: waiting for its lease, keeping it, giving it back."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import anyio

from core.errors import SessionBusy, StoreUnavailable
from stores.holders import new_token
from stores.protocols import Lease, SessionStore

log = logging.getLogger(__name__)

FIRST_POLL_SECONDS = 0.01
LONGEST_POLL_SECONDS = 0.25
BUSY_RETRY_SECONDS = 2.0
RELEASE_SECONDS = 5.0


class Leases:
    """Leases of a store's sessions. `lease_seconds` is how long the store's last unrenewed."""

    def __init__(self, store: SessionStore, wait_seconds: float, lease_seconds: float) -> None:
        self._store = store
        self._wait_seconds = wait_seconds
        self._lease_seconds = lease_seconds
        self._lines: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, owner: str, session_id: str) -> AsyncIterator[Lease]:
        """The session's lease, kept alive. Requests of this process are queued, first come first
        served; only the first of them asks the database."""
        token = new_token(self._lease_seconds)
        deadline = asyncio.get_running_loop().time() + self._wait_seconds
        line = self._lines.setdefault((owner, session_id), asyncio.Lock())
        await _wait_in(line, session_id, deadline)
        lease: Lease | None = None
        may_hold = True
        try:
            try:
                lease = await self._acquire(owner, session_id, token, deadline)
            except StoreUnavailable:
                may_hold = False  # and giving back would wait for the database again
                raise
            async with self._renewed(lease):
                yield lease
        finally:
            try:
                with anyio.CancelScope(shield=True), anyio.move_on_after(RELEASE_SECONDS):
                    if may_hold and (lease is None or not lease.over):
                        await self._give_back(owner, session_id, token)
            finally:
                line.release()

    @asynccontextmanager
    async def _renewed(self, lease: Lease) -> AsyncIterator[None]:
        done = asyncio.Event()
        renewing = asyncio.create_task(self._renew(lease, done))
        try:
            yield
        finally:
            done.set()
            with anyio.CancelScope(shield=True), anyio.move_on_after(RELEASE_SECONDS):
                await renewing

    async def _acquire(self, owner: str, session_id: str, token: str, deadline: float) -> Lease:
        delay = FIRST_POLL_SECONDS
        while (lease := await self._store.acquire(owner, session_id, token)) is None:
            if asyncio.get_running_loop().time() + delay > deadline:
                raise _busy(session_id)
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 1.5, LONGEST_POLL_SECONDS)
        return lease

    async def _renew(self, lease: Lease, done: asyncio.Event) -> None:
        """Until `done`, or until the lease is lost: then the turn's write finds out. Never ended
        in the middle of a transaction."""
        while not await happened(done, self._lease_seconds / 3):
            try:
                if not await self._store.renew(lease.session.key, lease.token):
                    return
            except StoreUnavailable as error:
                log.warning("a session's lease could not be renewed: %s", error.message)

    async def _give_back(self, owner: str, session_id: str, token: str) -> None:
        try:
            await self._store.release(owner, session_id, token)
        except StoreUnavailable as error:
            log.warning("a session's lease could not be given back: %s", error.message)


async def happened(event: asyncio.Event, seconds: float) -> bool:
    """Whether it happens within that time."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


async def _wait_in(line: asyncio.Lock, session_id: str, deadline: float) -> None:
    try:
        async with asyncio.timeout_at(deadline):
            await line.acquire()
    except TimeoutError:
        raise _busy(session_id) from None


def _busy(session_id: str) -> SessionBusy:
    return SessionBusy(
        f"Another request is running in session {session_id!r}.",
        param="session_id",
        retry_after=BUSY_RETRY_SECONDS,
    )
