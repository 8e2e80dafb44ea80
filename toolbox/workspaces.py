"""Where Claude Code's built-in tools work: directories below WORKSPACE_ROOT, one for each session.

    ROOT/PROJECT/…                                 what a request may name as its `cwd`
    ROOT/.sessions/OWNER/SESSION/{files,lock}      made when first needed, deleted with the session

A process that works in a session's directory holds the shared lock of its `lock` file, which ends
with the process at the latest. Deleting one needs that lock alone, and moves the directory away
under it. So any number of servers may share a root.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeAlias, TypeVar

from config.settings import SESSIONS_FOLDER
from core.errors import InvalidRequest, PermissionDenied, SessionTooLarge, WorkspaceUnavailable
from toolbox import workspace_files
from toolbox.changes import Changes, Snapshots, Undone, compared, snapshot, undone
from toolbox.workspace_files import FoundFile, Listing

DELETED = ".deleted"
FILES = "files"
LOCK = "lock"
PRIVATE = 0o700
HASH_DIGITS = 8
SWEEP_BATCH = 500
TRIES = 100

Exists: TypeAlias = Callable[[str, Sequence[str]], Awaitable[Collection[str]]]
"""Which of these ids of an owner's sessions there are."""

P = ParamSpec("P")
T = TypeVar("T")


class Workspaces:
    """The directories of one root. Nothing is made before it is needed."""

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().resolve()
        self._sessions = self._root / SESSIONS_FOLDER
        self._deleted = self._sessions / DELETED
        self._snapshots = Snapshots()

    async def directory(self, owner: str, session_id: str | None, cwd: str | None) -> str | None:
        """The absolute, resolved directory of a request: the one that it names, else its session's;
        None where it has neither.

        Raises PermissionDenied for what is not below the root or is another's, InvalidRequest where
        there is no such directory, and WorkspaceUnavailable.
        """
        if cwd is not None:
            return await _in_thread(self._named, owner, cwd)
        if session_id is None:
            return None
        return await self.session_directory(owner, session_id)

    async def session_directory(self, owner: str, session_id: str) -> str:
        """The directory of a session, which is there now. Raises WorkspaceUnavailable."""
        return await _in_thread(self._made, self._home(owner, session_id))

    async def check_size(self, directory: str | None, max_bytes: int) -> None:
        """Raises SessionTooLarge where a session's own directory holds more, or more files than are
        counted. Does nothing for any other."""
        home = self._home_of(directory)
        if home is None:
            return
        size = await _in_thread(workspace_files.total_bytes, str(home / FILES))
        if size is None or size > max_bytes:
            raise SessionTooLarge(
                f"The session's files have more than {max_bytes} bytes (MAX_WORKSPACE_BYTES), or "
                "there are too many of them: delete the session, or go on in a new one.",
                param="session_id",
            )

    @asynccontextmanager
    async def held(self, directory: str | None) -> AsyncIterator[None]:
        """A session's directory stays while this lasts, and is made again where it was deleted
        before. Does nothing for any other. Raises WorkspaceUnavailable."""
        home = self._home_of(directory)
        if home is None:
            yield
            return
        with await _in_thread(self._lock_to_use, home):
            yield

    async def listed(self, owner: str, session_id: str) -> Listing:
        """Raises WorkspaceUnavailable; so do the next two."""
        return await _in_thread(workspace_files.listed, self._files(owner, session_id))

    async def opened(self, owner: str, session_id: str, path: str, max_bytes: int) -> BinaryIO:
        """A file for reading. Raises NotFound, InvalidRequest or RequestTooLarge."""
        directory = self._files(owner, session_id)
        return await _in_thread(workspace_files.opened, directory, path, max_bytes)

    async def write(self, owner: str, session_id: str, path: str, data: bytes) -> FoundFile:
        """Puts a file there. Raises InvalidRequest or PermissionDenied."""
        directory = self._files(owner, session_id)
        async with self.held(directory):
            return await _in_thread(workspace_files.written, directory, path, data)

    async def remember(self, owner: str, session_id: str, directory: str | None) -> None:
        """Keeps what is in a session's directory before a turn, for `changes`. Does nothing for any
        other, in which others may work too. Raises WorkspaceUnavailable."""
        if directory is not None and self._home_of(directory) is not None:
            last = self._snapshots.last(owner, session_id)
            taken = await _in_thread(snapshot, directory, last)
            self._snapshots.put(owner, session_id, taken)

    async def changes(self, owner: str, session_id: str) -> Changes:
        """Since the last `remember` that was not undone. Raises NotFound, WorkspaceUnavailable."""
        before = self._snapshots.get(owner, session_id)
        after = await _in_thread(snapshot, before.directory)
        return await asyncio.to_thread(compared, before, after)

    async def undo(self, owner: str, session_id: str) -> Undone:
        """Makes the files as they were at the last `remember`; the next time at the one before.
        Raises NotFound and WorkspaceUnavailable."""
        before = self._snapshots.get(owner, session_id)
        async with self.held(before.directory):
            done = await _in_thread(undone, before)
        self._snapshots.drop_last(owner, session_id)
        return done

    async def remove(self, owner: str, session_id: str) -> None:
        """Deletes a session's directory, unless it is in use or not there."""
        self._snapshots.discard(owner, session_id)
        home = self._home(owner, session_id)
        lock = await _in_thread(self._lock_to_delete, home)
        if lock is not None:
            with lock:
                await _in_thread(self._move_away, home)
            await _in_thread(self._empty_deleted)

    async def sweep(self, exists: Exists) -> None:
        """Deletes the directories of deleted sessions, except those in use."""
        for owner in await _in_thread(_texts, self._sessions):
            ids = iter(await _in_thread(_texts, self._sessions / _name(owner)))
            while batch := list(islice(ids, SWEEP_BATCH)):
                kept = await exists(owner, batch)
                for session_id in (one for one in batch if one not in kept):
                    await self._remove_unless(exists, owner, session_id)
        await _in_thread(self._empty_deleted)

    async def _remove_unless(self, exists: Exists, owner: str, session_id: str) -> None:
        """Checks again under the lock: the session may have started over since."""
        home = self._home(owner, session_id)
        lock = await _in_thread(self._lock_to_delete, home)
        if lock is not None:
            with lock:
                if session_id not in await exists(owner, [session_id]):
                    await _in_thread(self._move_away, home)

    def _home(self, owner: str, session_id: str) -> Path:
        return self._sessions / _name(owner) / _name(session_id)

    def _files(self, owner: str, session_id: str) -> str:
        return str(self._home(owner, session_id) / FILES)

    def _home_of(self, directory: str | None) -> Path | None:
        """The session's part of a path that `directory` gave."""
        if directory is None or self._sessions not in Path(directory).parents:
            return None
        owner, session, *_ = Path(directory).relative_to(self._sessions).parts
        return self._sessions / owner / session

    def _named(self, owner: str, cwd: str) -> str:
        try:
            path = (self._root / cwd).resolve()
            is_there = path.is_dir()
        except (OSError, RuntimeError, ValueError):  # too long, a circle of links, a NUL
            raise InvalidRequest("`cwd` is not a path.", param="cwd") from None
        if self._root not in path.parents:
            raise _refused("`cwd` must be a directory below this server's workspace root.")
        if self._is_private(path):
            raise _refused("`cwd` is in a session's directory: send its `session_id` instead.")
        if not is_there:
            raise InvalidRequest(f"No such directory: {cwd!r}.", param="cwd")
        return str(path)

    def _is_private(self, path: Path) -> bool:
        return any(_same(place, self._sessions) for place in (path, *path.parents))

    def _made(self, home: Path) -> str:
        self._root.mkdir(PRIVATE, parents=True, exist_ok=True)
        for _ in range(TRIES):
            try:
                for directory in (self._sessions, home.parent, home, home / FILES):
                    directory.mkdir(PRIVATE, exist_ok=True)
            except (FileNotFoundError, FileExistsError):  # moved away in or between two of these
                continue
            return str(home / FILES)
        raise FileNotFoundError("it is deleted again and again")

    def _lock_to_use(self, home: Path) -> BinaryIO:
        for _ in range(TRIES):
            self._made(home)
            lock = _locked(home, fcntl.LOCK_SH)
            if lock is not None:
                return lock
        raise FileNotFoundError("it is deleted again and again")

    def _lock_to_delete(self, home: Path) -> BinaryIO | None:
        """None where there is nothing to delete, or it is in use."""
        try:
            return _locked(home, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None

    def _move_away(self, home: Path) -> None:
        self._deleted.mkdir(PRIVATE, exist_ok=True)
        home.rename(self._deleted / secrets.token_hex(16))

    def _empty_deleted(self) -> None:
        """Never follows a link: neither `os.walk` nor `shutil.rmtree` does. Another server may do
        the same at the same time."""
        for folder, names, _ in os.walk(self._deleted):
            for path in (Path(folder, name) for name in names):
                with suppress(OSError):
                    if not path.is_symlink():
                        path.chmod(PRIVATE)  # a command may have left unreadable directories
        with suppress(FileNotFoundError):
            for path in self._deleted.iterdir():
                shutil.rmtree(path, ignore_errors=True)


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return await asyncio.to_thread(function, *args, **kwargs)
    except OSError as error:
        reason = error.strerror or str(error)
        raise WorkspaceUnavailable(f"The workspace cannot be used: {reason}.") from error


def _locked(home: Path, kind: int) -> BinaryIO | None:
    """The locked file, whose closing gives the lock back; None where `home` is not there, or was
    moved away before the lock was had. Raises BlockingIOError."""
    with suppress(FileNotFoundError), ExitStack() as stack:
        lock = stack.enter_context((home / LOCK).open("ab"))
        fcntl.flock(lock, kind)
        if os.path.samestat(os.fstat(lock.fileno()), (home / LOCK).stat()):
            stack.pop_all()
            return lock
    return None


def _same(one: Path, other: Path) -> bool:
    """By what they are, not by name: a file system may take `.Sessions` for `.sessions`."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _name(text: str) -> str:
    """A file's name for a key's name or a session's id: never `..`, and different for `A` and `a`
    where the file system takes them for the same."""
    return f"{text}.{hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]}"


def _texts(directory: Path) -> list[str]:
    """What `_name` was made of, for all such names in a directory."""
    try:
        found = [path.name[: -HASH_DIGITS - 1] for path in directory.iterdir()]
    except FileNotFoundError:
        return []
    return [text for text in found if (directory / _name(text)).is_dir()]


def _refused(message: str) -> PermissionDenied:
    return PermissionDenied(message, param="cwd", code="path_not_allowed")
