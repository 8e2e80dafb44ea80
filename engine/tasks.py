"""Waiting for tasks that must come to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any


async def finished(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Waits until these tasks are done, whatever their outcome; each must be bounded.

    Where the caller is cancelled meanwhile, CancelledError comes after their end: unlike
    `asyncio.gather`, it does not cancel them, since a process would be left half-closed.
    """
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
