"""Files of one directory that others write in: listed, read and written, and nothing outside.

Each step of a path is opened from the one before without following links, so that a link, or a
folder that becomes one in between, leads nowhere.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from core.errors import InvalidRequest, NotFound, PermissionDenied, RequestTooLarge

MAX_LISTED = 1_000
MAX_SEEN = 20_000
MAX_COUNTED = 200_000
BLOCK_BYTES = 512
"""Of `st_blocks`, whatever the file system's own."""

MAX_DEPTH = 32
MAX_NAME_BYTES = 255
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not be waited for
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
IN_THE_WAY = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENOTEMPTY})
CONFIGURES = frozenset({".git", ".claude", ".mcp.json"})
"""What programs take orders from: Claude may not write it either. A `.git/config` can name commands
that the most harmless `git status` runs."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """`path` is relative, with `/`; `modified_at` in Unix seconds."""

    path: str
    bytes: int
    modified_at: float


@dataclass(frozen=True, slots=True)
class Listing:
    """Files by path; not `complete` where there are more, or deeper ones, than is looked at."""

    files: tuple[FoundFile, ...]
    complete: bool


def parts_of(path: str) -> tuple[str, ...]:
    """The steps of a relative path. Raises InvalidRequest."""
    parts = tuple(path.split("/"))
    if len(parts) > MAX_DEPTH or not all(map(_is_name, parts)):
        raise InvalidRequest("That is not a path of a file in this session.", param="path")
    return parts


def _is_name(part: str) -> bool:
    size = len(part.encode(errors="replace"))
    return part not in ("", ".", "..") and "\0" not in part and size <= MAX_NAME_BYTES


def listed(directory: str) -> Listing:
    """The regular files whose names are Unicode; no links. No directory: no files."""
    found: list[FoundFile] = []
    seen, complete = 0, True
    with suppress(FileNotFoundError):
        for folder, folders, names, descriptor in os.fwalk(directory):
            parts = PurePosixPath(folder).relative_to(directory).parts
            if folders and len(parts) + 1 >= MAX_DEPTH:
                folders[:], complete = [], False
            folders.sort()
            seen += 1 + len(names)
            found += _files(PurePosixPath(*parts), sorted(names[:MAX_SEEN]), descriptor)
            if seen > MAX_SEEN or len(found) > MAX_LISTED:
                complete = False
                break
    files = sorted(found[:MAX_LISTED], key=lambda file: file.path)
    return Listing(tuple(files), complete)


def total_bytes(directory: str) -> int | None:
    """What all files below take on the disk; None where there are too many to count."""
    total, seen = 0, 0
    for _, _, names, descriptor in os.fwalk(directory):
        seen += 1 + len(names)
        if seen > MAX_COUNTED:
            return None
        for name in names:
            with suppress(OSError):  # it is gone
                state = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                total += state.st_blocks * BLOCK_BYTES
    return total


def _files(folder: PurePosixPath, names: list[str], descriptor: int) -> Iterator[FoundFile]:
    for name in names:
        with suppress(OSError, UnicodeEncodeError):  # it is gone, or its name has no JSON form
            path = str(folder / name)
            path.encode()
            state = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISREG(state.st_mode):
                yield FoundFile(path, state.st_size, state.st_mtime)


def opened(directory: str, path: str, max_bytes: int) -> BinaryIO:
    """A regular file, open for reading. Raises NotFound, InvalidRequest or RequestTooLarge."""
    *folders, name = parts_of(path)
    missing = NotFound(f"No such file in this session: {path!r}.", param="path")
    with ExitStack() as stack:
        try:
            folder = _folder(stack, directory, folders)
            descriptor = os.open(name, FILE, dir_fd=folder)
        except (OSError, UnicodeEncodeError):
            raise missing from None
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise missing
        if state.st_size > max_bytes:
            raise RequestTooLarge(
                f"The file has {state.st_size} bytes; {max_bytes} at most can be downloaded "
                "(MAX_WORKSPACE_FILE_BYTES)."
            )
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def written(directory: str, path: str, data: bytes) -> FoundFile:
    """Puts a file there, whole or not at all, with the folders on its way. Raises InvalidRequest or
    PermissionDenied."""
    *folders, name = parts_of(path)
    if not CONFIGURES.isdisjoint(part.casefold() for part in (*folders, name)):
        raise PermissionDenied(
            f"{', '.join(sorted(CONFIGURES))} are not taken: programs obey what is in them.",
            param="path",
            code="path_not_allowed",
        )
    return _put(directory, path, data, 0o600)


def restored(directory: str, path: str, data: bytes, mode: int) -> FoundFile:
    """Puts back what was there, whole or not at all. Raises InvalidRequest."""
    return _put(directory, path, data, mode)


def removed(directory: str, path: str) -> None:
    """Deletes a file, if it is there. Raises InvalidRequest."""
    *folders, name = parts_of(path)
    with ExitStack() as stack:
        try:
            os.unlink(name, dir_fd=_folder(stack, directory, folders))
        except FileNotFoundError:
            return
        except OSError as error:
            raise _in_the_way(error) from None


def _in_the_way(error: OSError) -> Exception:
    if error.errno not in IN_THE_WAY:
        return error
    return InvalidRequest("Something else is in the way of this path.", param="path")


def _put(directory: str, path: str, data: bytes, mode: int) -> FoundFile:
    *folders, name = parts_of(path)
    with ExitStack() as stack:
        try:
            folder = _folder(stack, directory, folders, make=True)
            _replace(folder, name, data, mode)
        except OSError as error:
            raise _in_the_way(error) from None
        state = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return FoundFile(path, state.st_size, state.st_mtime)


def _folder(stack: ExitStack, directory: str, folders: list[str], *, make: bool = False) -> int:
    """A descriptor of a folder, by way of each one above it; the stack closes them all."""
    descriptor = os.open(directory, FOLDER)
    stack.callback(os.close, descriptor)
    for name in folders:
        if make:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=descriptor)
        descriptor = os.open(name, FOLDER, dir_fd=descriptor)
        stack.callback(os.close, descriptor)
    return descriptor


def _replace(folder: int, name: str, data: bytes, mode: int) -> None:
    temporary = f".upload-{secrets.token_hex(8)}"
    try:
        with os.fdopen(os.open(temporary, NEW_FILE, 0o600, dir_fd=folder), "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
