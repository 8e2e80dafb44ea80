"""Looks up the addresses of names in threads of its own, so many for each principal.

The system's resolver can neither be cancelled nor be given a deadline. In the event loop's own
threads a few slow names would stop every other look-up, and the end of the server.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakValueDictionary

MAX_LOOKUPS = 4
"""At the same time for one principal; an abandoned look-up counts too."""

GetAddresses = Callable[[str, int], list[str]]


def system_addresses(host: str, port: int) -> list[str]:
    """Every address of a host, as the system resolves it. Blocks; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Resolver:
    """Looks names up. The threads do not keep the server from ending."""

    def __init__(self, addresses: GetAddresses = system_addresses) -> None:
        self._addresses = addresses
        self._slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def __call__(self, host: str, port: int, principal: str = "") -> list[str]:
        """Raises OSError. A caller that is cancelled leaves; the thread goes on."""
        slots = self._slots.setdefault(principal, asyncio.Semaphore(MAX_LOOKUPS))
        await slots.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[str]] = loop.create_future()

        def done(result: list[str] | Exception) -> None:
            slots.release()
            if found.cancelled():
                return
            if isinstance(result, Exception):
                found.set_exception(result)
            else:
                found.set_result(result)

        def look_up() -> None:
            try:
                result: list[str] | Exception = self._addresses(host, port)
            except Exception as error:
                result = error
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(done, result)

        threading.Thread(target=look_up, name="resolver", daemon=True).start()
        return await found
