"""What was changed in a directory between two looks at it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from core.errors import NotFound
from toolbox import changes
from toolbox.changes import Snapshots, compared, snapshot, undone


def test_each_kind_of_change_has_its_diff(tmp_path: Path) -> None:
    for name, text in {"same": "s\n", "changed": "one\ntwo\n", "gone": "g\n"}.items():
        (tmp_path / name).write_text(text)
    before = snapshot(str(tmp_path))
    (tmp_path / "changed").write_text("one\n2")
    (tmp_path / "gone").unlink()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/new").write_text("n\n")
    found = compared(before, snapshot(str(tmp_path)))
    assert (found.since, found.complete) == (before.taken_at, True)
    assert [(file.path, file.change) for file in found.files] == [
        ("changed", "modified"),
        ("folder/new", "added"),
        ("gone", "deleted"),
    ]
    assert [file.diff for file in found.files] == [
        "--- a/changed\n+++ b/changed\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n",
        "--- /dev/null\n+++ b/folder/new\n@@ -0,0 +1 @@\n+n\n",
        "--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-g\n",
    ]


def test_what_is_no_text_or_too_large_has_no_diff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST_FILE_BYTES", 100)
    (tmp_path / "large").write_text("x" * 101)
    before = snapshot(str(tmp_path))
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    (tmp_path / "large").write_text("y" * 101)
    os.utime(tmp_path / "large", (1, 1))
    found = compared(before, snapshot(str(tmp_path))).files
    assert [(file.path, file.diff) for file in found] == [("binary", None), ("large", None)]


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "work").mkdir()
    (tmp_path / "work/link").symlink_to(tmp_path / "secret")
    assert snapshot(str(tmp_path / "work")).files == {}


def test_snapshots_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("x" * 1_000)
    kept = Snapshots()
    monkeypatch.setattr(changes, "MOST_KEPT_BYTES", 3_000)
    for session in ("one", "two", "one", "three"):
        taken = snapshot(str(tmp_path), kept.last("alice", session))
        kept.put("alice", session, taken)
    assert kept.get("alice", "one").files == taken.files
    assert kept.get("alice", "three") is taken
    for owner, session in (("alice", "two"), ("bob", "one")):
        with pytest.raises(NotFound):
            kept.get(owner, session)
    kept.discard("alice", "one")
    with pytest.raises(NotFound):
        kept.get("alice", "one")


def test_a_file_that_does_not_change_is_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "same").write_text("x" * 10_000)
    monkeypatch.setattr(changes, "MOST_KEPT_BYTES", 30_000)
    kept = Snapshots()
    for number in range(changes.MOST_TURNS + 5):
        (tmp_path / "other").write_text(str(number))
        kept.put("alice", "one", snapshot(str(tmp_path), kept.last("alice", "one")))
    for number in reversed(range(5, changes.MOST_TURNS + 5)):
        assert kept.get("alice", "one").files["other"].content == str(number).encode()
        kept.drop_last("alice", "one")
    with pytest.raises(NotFound):
        kept.get("alice", "one")


def test_another_directory_begins_anew(tmp_path: Path) -> None:
    kept = Snapshots()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        kept.put("alice", "one", snapshot(str(tmp_path / name)))
    kept.drop_last("alice", "one")
    with pytest.raises(NotFound):
        kept.get("alice", "one")


def test_a_file_that_the_system_refuses_to_touch_keeps_no_other_from_being_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one in a folder that a command made read-only."""
    before = snapshot(str(tmp_path))
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    unlink = os.unlink

    def refusing(name: str, *, dir_fd: int) -> None:
        if name == "b":
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refusing)
    found = undone(before)
    assert (found.files, found.left) == (("a", "c"), ("b",))
