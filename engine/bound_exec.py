"""Becomes the program of its arguments, bound to the process that started it.

    python -I -S bound_exec.py PARENT ADOPTS PROGRAM [ARGUMENT …]

It is killed when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG), and with ADOPTS 1
orphans among its descendants come to it (PR_SET_CHILD_SUBREAPER). Both survive `exec`. Linux only.
A program of its own, since the server cannot run code in a child without copying itself
(`process_start.py`).
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FAILED = 126


def main(parent: int, *, adopts: bool, argv: list[str]) -> int:
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL.value, 0, 0, 0)
    if os.getppid() != parent:  # it ended before it was asked for
        return FAILED
    if adopts:
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"{argv[0]} cannot be started: {error.strerror}\n")
        return FAILED


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), adopts=sys.argv[2] == "1", argv=sys.argv[3:]))
