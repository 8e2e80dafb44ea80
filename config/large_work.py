"""Work on large bodies, one after the other.

Parsing or writing megabytes of JSON holds the interpreter for tens of milliseconds. Threads that do
so at the same time would keep the event loop waiting for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_one_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-work")


async def in_turn(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `function`, called in a thread that has one such call at a time."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_one_thread, lambda: function(*args, **kwargs))
