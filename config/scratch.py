"""Temporary directories that go with this server, and those that a dead one left.

Each holds a lock, which the system releases when its server ends, however it ends. The name says
which installation it belongs to, so that a start clears up after this one's dead servers only.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = "lock"
NEW_SECONDS = 10.0
"""A directory so young may not have its lock yet."""


def prefix() -> str:
    """How the names of this installation's directories begin."""
    identity = f"{os.getuid()} {ROOT}"
    return f"claude-gateway-{sha256(identity.encode()).hexdigest()[:8]}-"


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory of this process's own, deleted in the end. Only this user can read it."""
    path = Path(tempfile.mkdtemp(prefix=prefix())).resolve()
    lock = os.open(path / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def abandoned(now: float | None = None) -> Iterator[Path]:
    """The directories whose servers are dead, each locked while it is looked at: two servers that
    start together do not clear the same. `now` is for tests, in Unix seconds."""
    for path in Path(tempfile.gettempdir()).resolve().glob(f"{prefix()}*"):
        with suppress(OSError):
            status = path.lstat()
            age_seconds = (time.time() if now is None else now) - status.st_mtime
            if status.st_uid != os.getuid() or path.is_symlink() or age_seconds < NEW_SECONDS:
                continue
            lock = os.open(path / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield path
            except BlockingIOError:
                continue
            finally:
                os.close(lock)
