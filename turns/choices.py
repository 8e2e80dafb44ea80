"""Several answers to one request: turns that run at the same time and share one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import anyio

from core.events import ChoiceEvent, Event, Finished
from core.turn import Turn

CLOSE_SECONDS = 5
"""Longest wait for the end of a turn that is closed."""

Run = Callable[[Turn], AsyncGenerator[Event, None]]


async def choices(run: Run, turns: Sequence[Turn]) -> AsyncGenerator[ChoiceEvent, None]:
    """The events of all turns, each with its index, as they come.

    The first to fail ends the others, and its error is raised; nothing is yielded before all have
    begun, so that an early failure can still be the whole answer's. Closing it ends all.
    """
    if len(turns) == 1:
        async with aclosing(run(turns[0])) as events:
            async for event in events:
                yield ChoiceEvent(0, event)
        return
    queue: asyncio.Queue[ChoiceEvent | Exception] = asyncio.Queue()
    pumps = (_pump(run, turn, index, queue) for index, turn in enumerate(turns))
    tasks = [asyncio.create_task(pump) for pump in pumps]
    try:
        async with aclosing(_merged(queue, len(turns))) as events_of_all:
            async for item in events_of_all:
                yield item
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(
    run: Run, turn: Turn, index: int, queue: asyncio.Queue[ChoiceEvent | Exception]
) -> None:
    try:
        async with aclosing(run(turn)) as events:
            async for event in events:
                queue.put_nowait(ChoiceEvent(index, event))
    except Exception as error:  # raised again where the events are read
        queue.put_nowait(error)


async def _merged(
    queue: asyncio.Queue[ChoiceEvent | Exception], n: int
) -> AsyncGenerator[ChoiceEvent, None]:
    waiting: list[ChoiceEvent] = []
    begun: set[int] = set()
    running = n
    while running:
        item = await queue.get()
        if isinstance(item, Exception):
            raise item
        begun.add(item.choice)
        running -= isinstance(item.event, Finished)
        waiting.append(item)
        if len(begun) == n:
            for ready in waiting:
                yield ready
            waiting.clear()
