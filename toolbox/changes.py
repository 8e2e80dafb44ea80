"""What turns changed in their directory: snapshots before them, compared with what is there now.

Snapshots are in memory, and bounded: a file that is large, or one of too many, is compared by size
and time, without a diff.
"""

from __future__ import annotations

import difflib
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from core.errors import GatewayError, NotFound
from toolbox import workspace_files

MOST_FILE_BYTES = 128 * 1024
MOST_SNAPSHOT_BYTES = 4 * 1024 * 1024
MOST_KEPT_BYTES = 64 * 1024 * 1024
ENTRY_BYTES = 300
"""What a file costs whose content is not kept."""

MOST_TURNS = 20
"""Of a session, that can be undone one after the other."""

Change = Literal["added", "modified", "deleted"]


@dataclass(frozen=True, slots=True)
class FileState:
    """`content` is None where it is not kept."""

    size: int
    modified_at: float
    content: bytes | None
    mode: int = 0o600


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of a directory, by path. `taken_at` in Unix seconds; not `complete` where there
    were more files than are looked at. It takes `bytes` of memory, `added_bytes` beside the one
    before it, with which it shares the contents that are the same."""

    directory: str
    taken_at: float
    files: Mapping[str, FileState]
    complete: bool
    bytes: int
    added_bytes: int


@dataclass(frozen=True, slots=True)
class FileChange:
    """`diff` is a unified one, None for what is no text or too large."""

    path: str
    change: Change
    diff: str | None


@dataclass(frozen=True, slots=True)
class Changes:
    """By path, since `since` (Unix seconds)."""

    since: float
    files: tuple[FileChange, ...]
    complete: bool


def snapshot(directory: str, before: Snapshot | None = None) -> Snapshot:
    """Blocks. Links are not followed."""
    listing = workspace_files.listed(directory)
    files, left, shared = {}, MOST_SNAPSHOT_BYTES, 0
    for found in listing.files:
        content, mode = None, 0o600
        if found.bytes <= min(MOST_FILE_BYTES, left):
            with suppress(GatewayError):  # it is gone, or has grown
                with workspace_files.opened(directory, found.path, MOST_FILE_BYTES) as file:
                    content = file.read(MOST_FILE_BYTES)
                    mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                left -= len(content)
                old = before.files.get(found.path) if before else None
                if old is not None and old.content == content:
                    content, shared = old.content, shared + len(content)
        files[found.path] = FileState(found.bytes, found.modified_at, content, mode)
    size = MOST_SNAPSHOT_BYTES - left + ENTRY_BYTES * len(files)
    return Snapshot(directory, time.time(), files, listing.complete, size, size - shared)


@dataclass(frozen=True, slots=True)
class Undone:
    """The paths of the files that are as they were, and of those that could not be put back."""

    files: tuple[str, ...]
    left: tuple[str, ...]


def undone(before: Snapshot) -> Undone:
    """Makes the directory as it was. Blocks. What is too large to be kept, or may have been there
    unseen, stays as it is; so do links and folders."""
    done, left = [], []
    for changed in compared(before, snapshot(before.directory)).files:
        old = before.files.get(changed.path)
        try:
            if old is None and before.complete:
                workspace_files.removed(before.directory, changed.path)
            elif old is not None and old.content is not None:
                workspace_files.restored(before.directory, changed.path, old.content, old.mode)
            else:
                left.append(changed.path)
                continue
        except (GatewayError, OSError):  # a folder in its place, or one that may not be written
            left.append(changed.path)
            continue
        done.append(changed.path)
    return Undone(tuple(done), tuple(left))


def compared(before: Snapshot, after: Snapshot) -> Changes:
    complete = before.complete and after.complete
    return Changes(before.taken_at, tuple(_changes(before, after)), complete)


def _changes(before: Snapshot, after: Snapshot) -> Iterator[FileChange]:
    for path in sorted({*before.files, *after.files}):
        old, new = before.files.get(path), after.files.get(path)
        if old is None:
            yield FileChange(path, "added", _diff(path, b"", new.content if new else None))
        elif new is None:
            yield FileChange(path, "deleted", _diff(path, old.content, b""))
        elif _differ(old, new):
            yield FileChange(path, "modified", _diff(path, old.content, new.content))


def _differ(old: FileState, new: FileState) -> bool:
    if old.content is None or new.content is None:
        return (old.size, old.modified_at) != (new.size, new.modified_at)
    return old.content != new.content


def _diff(path: str, old: bytes | None, new: bytes | None) -> str | None:
    if old is None or new is None:
        return None
    try:
        texts = [content.decode().splitlines(keepends=True) for content in (old, new)]
    except UnicodeDecodeError:
        return None
    names = (f"a/{path}" if old else "/dev/null", f"b/{path}" if new else "/dev/null")
    lines = difflib.unified_diff(texts[0], texts[1], *names)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


class Snapshots:
    """Those before the last turns of each session, within a bound; the session that is unused for
    longest goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], list[Snapshot]] = OrderedDict()

    def last(self, owner: str, session_id: str) -> Snapshot | None:
        """The one before the last turn that was not undone."""
        taken = self._kept.get((owner, session_id))
        return taken[-1] if taken else None

    def put(self, owner: str, session_id: str, taken: Snapshot) -> None:
        earlier = self._kept.pop((owner, session_id), [])[1 - MOST_TURNS :]
        if earlier and earlier[-1].directory != taken.directory:
            earlier = []
        self._kept[owner, session_id] = [*earlier, taken]
        while sum(map(_bytes, self._kept.values())) > MOST_KEPT_BYTES:
            self.discard(*next(iter(self._kept)))

    def get(self, owner: str, session_id: str) -> Snapshot:
        """As `last`. Raises NotFound."""
        taken = self.last(owner, session_id)
        if taken is None:
            raise NotFound(
                "No turn of this session has worked on files at this server lately.",
                param="session_id",
            )
        self._kept.move_to_end((owner, session_id))
        return taken

    def drop_last(self, owner: str, session_id: str) -> None:
        """The last turn was undone."""
        *earlier, _ = self._kept.pop((owner, session_id))
        if earlier:
            self._kept[owner, session_id] = earlier

    def discard(self, owner: str, session_id: str) -> None:
        self._kept.pop((owner, session_id), None)


def _bytes(taken: Sequence[Snapshot]) -> int:
    """What they take together: each shares with the one before it."""
    first, *later = taken
    return first.bytes + sum(one.added_bytes for one in later)
