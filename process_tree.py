"""Ends a process with all that it started, also what left its group, session or parent.

Claude Code runs every command in a session of its own, and a command may detach itself further.
What it cannot shed is the environment that it was started with: a variable marks them all.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil

MARK = "CLAUDE_GATEWAY_MARK"
PASSES = 20
"""A process may start another while we look; each pass finds what the one before did not."""


def kill_group(pid: int) -> None:
    """SIGKILL to the process and its group, now; nothing where it is gone already."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def kill_tree(pid: int) -> None:
    """`kill_group`, and to all its descendants: some milliseconds."""
    descendants: list[psutil.Process] = []
    with suppress(psutil.Error):
        descendants = psutil.Process(pid).children(recursive=True)
    kill_group(pid)
    for process in descendants:
        with suppress(psutil.Error):
            process.kill()


def kill_marked(mark: str) -> None:
    """SIGKILL to every process that carries this value of `MARK`. Reads the environment of all
    processes of this user, some milliseconds: not for the event loop."""
    for _ in range(PASSES):
        found = list(_marked(mark))
        if not found:
            return
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=0.1)


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process
