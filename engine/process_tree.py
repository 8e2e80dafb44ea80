"""Ends a process with all that it started, also what left its group, session or parent.

Claude Code runs every command in a session of its own, and a command may detach itself further. On
Linux such orphans come to the process that was started as a subreaper; elsewhere, and for what
slips through, a variable in the environment marks all that it started.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil

PROCESS_MARK_VARIABLE = "CLAUDE_GATEWAY_MARK"
"""Its value is the name of the server's scratch directory, and behind a slash what is one process's
own."""

PASSES = 20
"""A process may start another while we look; each pass finds what the one before did not."""


def kill_group(pid: int) -> None:
    """SIGKILL to the process and its group, now; nothing where it is gone already."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


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
    """SIGKILL to every process that carries this mark, or one that begins with it and a slash.
    Reads the environment of all processes of this user, some milliseconds: not for the event
    loop."""
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
            value = process.environ().get(PROCESS_MARK_VARIABLE, "")
            if f"{value}/".startswith(f"{mark}/") and _lives(process):
                yield process
