"""Files of a session's directory, whatever a command has put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import GatewayError
from toolbox import workspace_files
from toolbox.workspace_files import listed, opened, written


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a file, and links that lead out of it."""
    (tmp_path / "outside/folder").mkdir(parents=True)
    (tmp_path / "outside/secret").write_text("secret")
    inside = tmp_path / "inside"
    (inside / "a/b").mkdir(parents=True)
    (inside / "a/b/file").write_text("hello")
    (inside / "link").symlink_to(tmp_path / "outside/secret")
    (inside / "folder").symlink_to(tmp_path / "outside")
    (inside / "a/up").symlink_to("..")
    os.mkfifo(inside / "pipe")
    (inside / ".claude").mkdir()
    return inside


def paths(directory: Path) -> list[str]:
    return [file.path for file in listed(str(directory)).files]


def read(directory: Path, path: str) -> str:
    with opened(str(directory), path, 100) as file:
        return file.read().decode()


def test_only_files_are_listed(directory: Path) -> None:
    (directory / "z ü").touch()
    Path(os.fsdecode(os.fsencode(directory) + b"/\xff")).touch()
    assert paths(directory) == ["a/b/file", "z ü"]
    [file, _] = listed(str(directory)).files
    state = (directory / "a/b/file").stat()
    assert (file.bytes, file.modified_at) == (5, state.st_mtime)
    assert listed(str(directory / "none")).files == ()


def test_a_list_has_an_end(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in range(5):
        (directory / f"{name}").touch()
    assert listed(str(directory)).complete
    monkeypatch.setattr(workspace_files, "MAX_LISTED", 3)
    few = listed(str(directory))
    assert (len(few.files), few.complete) == (3, False)
    monkeypatch.setattr(workspace_files, "MAX_LISTED", 100)
    monkeypatch.setattr(workspace_files, "MAX_SEEN", 4)
    assert not listed(str(directory)).complete
    monkeypatch.setattr(workspace_files, "MAX_SEEN", 100)
    monkeypatch.setattr(workspace_files, "MAX_DEPTH", 2)
    shallow = listed(str(directory))
    assert ([file.path for file in shallow.files], shallow.complete) == (list("01234"), False)


def test_a_file_is_read(directory: Path) -> None:
    assert read(directory, "a/b/file") == "hello"


@pytest.mark.parametrize(
    "path", ["none", "a", "a/b", "link", "folder/secret", "a/up/a/b/file", "pipe", "a/b/file/c"]
)
def test_what_is_no_file_inside_is_not_found(directory: Path, path: str) -> None:
    with pytest.raises(GatewayError) as caught:
        opened(str(directory), path, 100)
    assert (caught.value.status, caught.value.code) == (404, "not_found")


NO_PATHS = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../outside/secret",
    "a/../a/b/file",
    "a//b",
    "a/./b",
    "a/",
]


@pytest.mark.parametrize("path", [*NO_PATHS, "a\0b", "n" * 256, "/".join("d" * 40)])
def test_what_is_no_relative_path_is_refused(directory: Path, path: str) -> None:
    for act in (
        lambda: opened(str(directory), path, 9),
        lambda: written(str(directory), path, b""),
    ):
        with pytest.raises(GatewayError) as caught:
            act()
        assert (caught.value.status, caught.value.param) == (400, "path")


def test_a_large_file_is_not_opened(directory: Path) -> None:
    with pytest.raises(GatewayError) as caught:
        opened(str(directory), "a/b/file", 4)
    assert (caught.value.status, caught.value.code) == (413, "request_too_large")


def test_a_file_is_written_with_its_folders_and_replaced_whole(directory: Path) -> None:
    put = written(str(directory), "new/folder/file.txt", b"one")
    assert (put.path, put.bytes) == ("new/folder/file.txt", 3)
    with opened(str(directory), "new/folder/file.txt", 9) as before:
        written(str(directory), "new/folder/file.txt", b"two")
        assert before.read() == b"one"
    assert read(directory, "new/folder/file.txt") == "two"
    assert [path.name for path in (directory / "new/folder").iterdir()] == ["file.txt"]


def test_a_link_is_replaced_and_not_written_through(directory: Path) -> None:
    written(str(directory), "link", b"mine")
    assert read(directory, "link") == "mine"
    assert (directory.parent / "outside/secret").read_text() == "secret"


@pytest.mark.parametrize("path", ["folder/new", "folder/folder/new", "a", "a/b/file/new", "pipe/x"])
def test_nothing_is_written_outside_or_over_a_folder(directory: Path, path: str) -> None:
    with pytest.raises(GatewayError) as caught:
        written(str(directory), path, b"mine")
    assert (caught.value.status, caught.value.param) == (400, "path")
    assert {path.name for path in (directory.parent / "outside").iterdir()} == {"folder", "secret"}
    assert not [name for _, _, names in os.walk(directory) for name in names if "upload" in name]


@pytest.mark.parametrize("path", [".git/config", "sub/.GIT/hooks/x", ".mcp.json", ".claude/a"])
def test_what_programs_obey_is_not_taken(directory: Path, path: str) -> None:
    with pytest.raises(GatewayError) as caught:
        written(str(directory), path, b"[core]")
    assert (caught.value.status, caught.value.code) == (403, "path_not_allowed")
