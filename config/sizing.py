"""How many CLI processes this machine can hold, from its free memory, and its cores."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

PROCESS_BYTES = 220 * 1024 * 1024
"""Resident memory of one CLI process (docs/claude-cli.md, "Costs on 2 cores"), rounded up."""

CGROUP_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def processes_for(available_bytes: int) -> int:
    """Half of the free memory in CLI processes, at least 2. What the processor can do is the
    pool's to see."""
    return max(2, available_bytes // 2 // PROCESS_BYTES)


def default_max_processes() -> int:
    return processes_for(min(psutil.virtual_memory().available, *_container_room()))


def cores() -> int:
    """Cores this process may use: a container's CPU set is smaller than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _container_room() -> list[int]:
    """Bytes left under the container's memory limit (cgroup v2 or v1), which psutil ignores."""
    room = [2**63]
    for limit, usage in CGROUP_LIMITS:
        try:
            room.append(max(0, int(limit.read_text()) - int(usage.read_text())))
        except (OSError, ValueError):  # no such cgroup, or no limit ("max")
            continue
    return room
