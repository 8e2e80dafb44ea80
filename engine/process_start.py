"""Starts a process without keeping the event loop waiting, and reads and writes its pipes.

To fork a server of two hundred megabytes copies its page tables and waits for the child to run: 20
ms in which nobody is served, 150 on a busy machine. vfork(2), which Python takes where no code is
to run in the child, copies nothing; what must be done there `bound_exec.py` does. It waits for the
child, too, so a thread calls it: always the same one, which never ends, since the parent-death
signal is a thread's.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeAlias

from engine import bound_exec

OUTPUT_BYTES = 32 * 1024
"""What a process may write ahead, so what is read of it before others have their turn: a round of
the event loop reads all that is there. Linux counts twice what is asked for, and a part is for its
own use."""

_one_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="process-start")


Started: TypeAlias = tuple[subprocess.Popen[bytes], list[socket.socket]]
"""A process, and our ends of its standard input, output and error."""


async def start_process(
    argv: Sequence[str], environment: Mapping[str, str], directory: Path, *, adopts: bool
) -> Started:
    """In a session of its own; the caller closes the sockets. With `adopts` orphans among its
    descendants come to it (Linux). Raises OSError where it cannot be started."""
    loop = asyncio.get_running_loop()
    start = partial(_started, argv, environment, directory, adopts=adopts)
    return await loop.run_in_executor(_one_thread, start)


def _binding(*, adopts: bool) -> list[str]:
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", bound_exec.__file__, str(os.getpid()), str(int(adopts))]


def _started(
    argv: Sequence[str], environment: Mapping[str, str], directory: Path, *, adopts: bool
) -> Started:
    if not os.access(argv[0], os.X_OK):  # what `bound_exec` finds out comes too late
        missing = errno.EACCES if Path(argv[0]).exists() else errno.ENOENT
        raise OSError(missing, os.strerror(missing), argv[0])
    with ExitStack() as ours, ExitStack() as theirs:
        pairs = [socket.socketpair() for _ in range(3)]
        for our, their in pairs:
            ours.enter_context(our)
            theirs.enter_context(their)
        pairs[1][1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, OUTPUT_BYTES)
        stdin, stdout, stderr = (their.fileno() for _, their in pairs)
        process = subprocess.Popen(
            [*_binding(adopts=adopts), *argv],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
        )
        ours.pop_all()
    for our, _ in pairs:
        our.setblocking(False)
    return process, [our for our, _ in pairs]


class Pipes:
    """Output is handed on the moment it is there: each task in between would cost the event loop a
    round, with its system call, for every piece of an answer."""

    def __init__(
        self,
        read: Callable[[bytes], None],
        read_log: Callable[[bytes], None],
        output_ended: Callable[[], None],
    ) -> None:
        self._read = read
        self._read_log = read_log
        self._on_output_ended = output_ended
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._is_paused = False
        self.output_ended = asyncio.Event()

    async def connect(self, sockets: Sequence[socket.socket]) -> None:
        """Takes over the three sockets."""
        loop = asyncio.get_running_loop()
        stdin, stdout, stderr = sockets
        writer, reader = _Writer(self._may_write), _Reader(self._read, self._end)
        log = _Reader(self._read_log, lambda: None)
        self.input, _ = await loop.create_unix_connection(lambda: writer, sock=stdin)
        self._output, _ = await loop.create_unix_connection(lambda: reader, sock=stdout)
        self._log, _ = await loop.create_unix_connection(lambda: log, sock=stderr)

    def _end(self) -> None:
        self._may_write.set()
        self.output_ended.set()
        self._on_output_ended()

    async def write(self, data: bytes) -> None:
        """Raises RuntimeError or ConnectionError where the input is closed."""
        if self.input.is_closing():
            raise ConnectionError("the input is closed")
        self.input.write(data)
        await self._may_write.wait()

    def pause_output(self) -> None:
        if not self._is_paused and not self._output.is_closing():
            self._is_paused = True
            self._output.pause_reading()

    def resume_output(self) -> None:
        if self._is_paused and not self._output.is_closing():
            self._is_paused = False
            self._output.resume_reading()

    def close(self) -> None:
        for pipe in (self.input, self._output, self._log):
            pipe.abort()


class _Writer(asyncio.Protocol):
    def __init__(self, may_write: asyncio.Event) -> None:
        self._may_write = may_write

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._may_write.set()


class _Reader(asyncio.Protocol):
    def __init__(self, read: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self.data_received = read  # type: ignore[assignment, method-assign]  # one call less
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()
