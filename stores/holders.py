"""Who holds a lease, so that a dead holder's lease is seen to be free at once.

A token names its holder: the machine, the process and when it began, and for how long the lease is
taken. What cannot be known of a holder on another machine is left to the lease's own end.
"""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import psutil

CLOCK_MARGIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Holder:
    """`began` is in the system's own unit, for comparison only."""

    machine: str
    pid: int
    began: int
    lease_seconds: float

    def is_gone(self) -> bool:
        """Whether it was a process of this machine and has ended."""
        return self.machine == machine() and began(self.pid) != self.began


def new_token(lease_seconds: float) -> str:
    """A token of this process's, at most 64 characters, which cannot be guessed."""
    own, pid = began(os.getpid()) or 0, os.getpid()
    return f"{machine()}.{pid}.{own}.{round(lease_seconds * 1000)}.{secrets.token_hex(8)}"


def holder_of(token: str) -> Holder | None:
    """None for a token of another form."""
    try:
        name, pid, start, milliseconds, _ = token.split(".")
        return Holder(name, int(pid), int(start), int(milliseconds) / 1000)
    except ValueError:
        return None


def is_void(token: str, until: float, now: float) -> bool:
    """Whether a lease that ends `until` need not be waited for: its holder is dead, or it ends
    later than any lease can (the clock was set back since)."""
    holder = holder_of(token)
    if holder is None:
        return False
    return holder.is_gone() or until > now + holder.lease_seconds + CLOCK_MARGIN_SECONDS


@cache
def machine() -> str:
    """Where process ids mean the same: a boot of a host, and in it a container."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return sha256("\n".join(parts).encode()).hexdigest()[:12]


def began(pid: int) -> int | None:
    """When a process began; None where it has ended. One that can't be looked at has not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    try:
        return _began_on_linux(pid) if Path("/proc/self/stat").exists() else _began(pid)
    except (OSError, psutil.Error):
        return None


def _began_on_linux(pid: int) -> int | None:
    """proc(5), the fields of `stat` behind the name in parentheses: state, and the 22nd, in ticks
    since the boot, which no change of the clock moves."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _began(pid: int) -> int | None:
    process = psutil.Process(pid)
    return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time())
