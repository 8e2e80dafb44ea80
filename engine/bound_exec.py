"""Becomes the program of its arguments, bound to the process that started it.

    python -I -S bound_exec.py PARENT ADOPTS PROGRAM [ARGUMENT …]

It is killed when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG), and with ADOPTS 1
orphans among its descendants come to it (PR_SET_CHILD_SUBREAPER). Where processors are short it
gives way to the server, which needs little for each of many clients. All this survives `exec`.
Linux only.
A program of its own, since the server cannot run code in a child without copying itself
(`process_start.py`).
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FAILED = 126
NICENESS = 5
AUTOGROUP = "/proc/self/autogroup"
"""Whose niceness counts, where there is one, in the place of the processes' own (sched(7))."""


def main(parent: int, *, adopts: bool, argv: list[str]) -> int:
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL.value, 0, 0, 0)
    if os.getppid() != parent:  # it ended before it was asked for
        return FAILED
    if adopts:
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.nice(NICENESS)
    with suppress(OSError), open(AUTOGROUP, "w") as file:  # noqa: PTH123  # pathlib is slow to load
        file.write(str(NICENESS))
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"{argv[0]} cannot be started: {error.strerror}\n")
        return FAILED


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), adopts=sys.argv[2] == "1", argv=sys.argv[3:]))
