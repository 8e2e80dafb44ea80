"""Waiting for tasks that must run to completion."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any


async def finished(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Waits until these tasks are done, whatever their outcome; each must be bounded in time.

    Raises CancelledError if the caller was cancelled meanwhile, but only once they are done.
    `asyncio.gather` would cancel them, and leave a process half-closed.
    """
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
