"""What outlives a killed server by a moment, to end what the server started.

A shell waits at a pipe whose other end only the server has. A server that stops says so; one that
is killed says nothing, and the pipe ends: then this module runs and ends every process that carries
the server's mark, and deletes its scratch directory. Where the guardian was killed with the server,
the next start does the same (`clear_abandoned`).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from config.scratch import ROOT, abandoned
from engine.process_tree import kill_marked

log = logging.getLogger(__name__)

WATCH = 'read -r _ && exit 0; exec "$@"'
"""Ends at a line, and becomes its arguments where there is none."""

STOP_SECONDS = 2.0


class Guardian:
    """Watches over one server's processes. An async context manager; `scratch` is the directory
    whose name is the mark of all of them."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._shell: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Guardian:
        self._shell = await asyncio.to_thread(self._start)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self._stop)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-E", "-s", "-m", "engine.guardian", str(self._scratch)]
        return subprocess.Popen(
            ["/bin/sh", "-c", WATCH, "guardian", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={},
            start_new_session=True,  # Ctrl-C on a terminal ends the server, which ends this
        )

    def _stop(self) -> None:
        assert self._shell is not None
        with suppress(BrokenPipeError):
            self._shell.communicate(b"stopped\n", STOP_SECONDS)
        self._shell.kill()
        self._shell.wait(STOP_SECONDS)


def clear(scratch: Path) -> None:
    """Ends all processes of a dead server and deletes its scratch directory. Blocks for some
    milliseconds."""
    kill_marked(scratch.name)
    shutil.rmtree(scratch, ignore_errors=True)


def clear_abandoned() -> None:
    """What dead servers of this installation left. Blocks."""
    for path in abandoned():
        log.warning("a server that was killed left %s: its processes are ended", path.name)
        clear(path)


if __name__ == "__main__":
    clear(Path(sys.argv[1]))
