"""Ends a process with all that it started, also what left its group, session or parent.

Claude Code runs every command in a session of its own, and a command may detach itself further. On
Linux such orphans come to the process that was started with `adopt`; elsewhere, and for what
slips through, a variable in the environment marks all that it started.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress

import psutil

PR_SET_CHILD_SUBREAPER = 36
PRCTL = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None

MARK = "CLAUDE_GATEWAY_MARK"
PASSES = 20
"""A process may start another while we look; each pass finds what the one before did not."""


def kill_group(pid: int) -> None:
    """SIGKILL to the process and its group, now; nothing where it is gone already."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def adopt() -> None:
    """Makes this process the one that orphans among its descendants come to (Linux: prctl(2),
    PR_SET_CHILD_SUBREAPER); it survives `exec`. To be called between fork and exec."""
    if PRCTL is not None:
        PRCTL(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_tree(pid: int) -> None:
    """`kill_group`, and to all its descendants: some milliseconds. It is stopped first, so that it
    starts nothing more and orphans still come to it."""
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        root.suspend()
        for _ in range(PASSES):
            descendants = [each for each in root.children(recursive=True) if _lives(each)]
            if not descendants:
                break
            for process in descendants:
                with suppress(psutil.Error):
                    process.kill()
    kill_group(pid)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


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
