"""Everything that a whole test run writes to the log, searched for what must never be there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from config.logs import JsonLine, is_loggable

PRIVATE = (
    "!demo",  # a directive: it stands in most of the suite's prompts, and nowhere else
    "Demo model: ",  # the fake upstream's answers
    "sk-alice",  # keys that callers send
    "sk-bob",
    "m4rker",  # tests/system/test_no_leaks.py
)


class Watch(logging.Handler):
    """Reads each line as the server would write it; keeps those that hold something private."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(JsonLine())
        self.addFilter(is_loggable)
        self.lines = 0
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self.lines += 1
        if any(text in line for text in PRIVATE):
            self.leaks.append(line)


@contextmanager
def watched() -> Iterator[Watch]:
    """While the block runs, everything down to INFO is logged, as it is by default."""
    watch, root = Watch(), logging.getLogger()
    level = root.level
    root.addHandler(watch)
    root.setLevel(logging.INFO)
    try:
        yield watch
    finally:
        root.removeHandler(watch)
        root.setLevel(level)
