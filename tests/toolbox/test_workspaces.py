"""Directories of sessions: whose they are, what a `cwd` may name, how they go."""

# ruff: noqa: ASYNC240  # what is tested is on the disk, and nothing else runs meanwhile

from __future__ import annotations

import asyncio
import stat
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from core.errors import GatewayError, WorkspaceUnavailable
from toolbox.workspaces import Workspaces


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def workspaces(root: Path) -> Workspaces:
    return Workspaces(root)


async def none(owner: str, ids: Sequence[str]) -> Collection[str]:
    return ()


async def every(owner: str, ids: Sequence[str]) -> Collection[str]:
    return ids


async def filled(workspaces: Workspaces, session_id: str = "x", owner: str = "ada") -> Path:
    """The directory of a session, with a file in a folder."""
    directory = Path(await workspaces.session_directory(owner, session_id))
    (directory / "folder").mkdir()
    (directory / "folder/file").write_text("kept")
    return directory


# Which directory


async def test_nothing_is_made_where_nothing_is_needed(workspaces: Workspaces, root: Path) -> None:
    assert await workspaces.directory("ada", None, None) is None
    await workspaces.remove("ada", "x")
    await workspaces.sweep(none)
    assert not root.exists()


async def test_a_session_has_one_directory_of_its_own(workspaces: Workspaces) -> None:
    names = [("ada", "x"), ("ada", "X"), ("Ada", "x"), ("..", "x"), ("ada", "a.b"), ("ada", "..a")]
    made = [await workspaces.directory(owner, session, None) for owner, session in names]
    assert made == [await workspaces.directory(owner, session, None) for owner, session in names]
    assert len({path.lower() for path in made if path}) == len(names)  # also where A is a
    for path in (Path(path) for path in made if path):
        for folder in (path, *path.parents[:4]):
            assert folder.is_dir()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_request_may_name_a_directory_below_the_root(
    workspaces: Workspaces, root: Path
) -> None:
    (root / "project/src").mkdir(parents=True)
    (root / "link").symlink_to(root / "project")
    for named in ("project/src", "./project/../project/src", "link/src", f"{root}/project/src"):
        found = await workspaces.directory("ada", "x", named)
        assert found == str((root / "project/src").resolve()), named


OUTSIDE = [
    "..",
    "../outside",
    "a/../../outside",
    "/",
    "/etc",
    ".",
    "",
    "out",
    "out/deeper",
    "~/../..",
]


@pytest.mark.parametrize("named", OUTSIDE)
async def test_whatever_leads_out_of_the_root_is_refused(
    workspaces: Workspaces, root: Path, tmp_path: Path, named: str
) -> None:
    (tmp_path / "outside").mkdir()
    root.mkdir()
    (root / "out").symlink_to(tmp_path / "outside")
    with pytest.raises(GatewayError, match=r"^`cwd` must be a directory below") as caught:
        await workspaces.directory("ada", None, named)
    assert (caught.value.status, caught.value.code, caught.value.param) == (
        403,
        "path_not_allowed",
        "cwd",
    )


async def test_directories_of_sessions_are_refused_whether_they_exist_or_not(
    workspaces: Workspaces, root: Path
) -> None:
    mine, theirs = await filled(workspaces), await filled(workspaces, owner="bob")
    (root / "link").symlink_to(root / ".sessions")
    private = mine.parents[2].relative_to(root.resolve())
    for named in (
        theirs,
        theirs / "folder",
        theirs.parent,
        theirs.parents[1] / "none/files",
        private,
        "link",
        mine.parents[1],
        mine.parent,
        private / ".deleted",
        mine,
        mine / "folder",
    ):
        with pytest.raises(GatewayError) as caught:
            await workspaces.directory("ada", None, str(named))
        assert (caught.value.status, caught.value.code) == (403, "path_not_allowed"), named


@pytest.mark.parametrize("named", ["none", "file", "a\0b", "loop", "n" * 300])
async def test_what_is_no_directory_is_a_bad_request(
    workspaces: Workspaces, root: Path, named: str
) -> None:
    root.mkdir()
    (root / "file").touch()
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(GatewayError) as caught:
        await workspaces.directory("ada", None, named)
    assert (caught.value.status, caught.value.param) == (400, "cwd")


async def test_a_root_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceUnavailable, match=r"cannot be used: File exists\.$"):
        await Workspaces(tmp_path / "file").session_directory("ada", "x")


# How they go


async def test_a_directory_goes_with_all_that_is_in_it_and_nothing_else(
    workspaces: Workspaces, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    outside.chmod(0o755)
    directory, other = await filled(workspaces), await filled(workspaces, "y")
    (directory / "link").symlink_to(outside)
    (directory / "folder/link").symlink_to(outside / "file")
    (directory / "locked/deeper").mkdir(parents=True)
    (directory / "locked/deeper/file").touch()
    (directory / "locked/deeper").chmod(0)
    (directory / "locked").chmod(0o500)
    for _ in range(2):
        await workspaces.remove("ada", "x")
        assert [path.name for path in root.rglob("*") if "locked" in str(path)] == []
        assert not directory.parent.exists()
    assert (outside / "file").read_text() == "kept"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755
    assert (other / "folder/file").read_text() == "kept"


async def test_a_directory_in_use_stays_for_every_server(
    workspaces: Workspaces, root: Path
) -> None:
    directory, other_server = await filled(workspaces), Workspaces(root)
    async with workspaces.held(str(directory)), other_server.held(str(directory / "folder")):
        pass
    async with other_server.held(str(directory)):
        await workspaces.remove("ada", "x")
        await workspaces.sweep(none)
        await other_server.sweep(none)
        assert (directory / "folder/file").read_text() == "kept"
    await workspaces.sweep(none)
    assert not directory.exists()


async def test_whoever_comes_after_a_deletion_finds_an_empty_directory(
    workspaces: Workspaces,
) -> None:
    directory = await filled(workspaces)
    await workspaces.remove("ada", "x")
    async with workspaces.held(str(directory)):
        assert list(directory.iterdir()) == []
    for elsewhere in (None, "/nowhere/else"):
        async with workspaces.held(elsewhere):
            pass


async def test_users_and_deleters_at_once_never_meet(workspaces: Workspaces, root: Path) -> None:
    servers = [workspaces, Workspaces(root)]
    directory = Path(await workspaces.session_directory("ada", "x"))

    async def use(server: Workspaces) -> None:
        async with server.held(str(directory)):
            (directory / "file").write_text("mine")
            await asyncio.sleep(0)
            assert (directory / "file").read_text() == "mine"

    for _ in range(10):
        await asyncio.gather(*(act for s in servers for act in (use(s), s.remove("ada", "x"))))


async def test_only_the_directories_of_sessions_that_are_no_more_are_swept(
    workspaces: Workspaces, root: Path
) -> None:
    gone, kept = await filled(workspaces, "gone"), await filled(workspaces, "kept")
    (root / "project").mkdir()
    (root / ".sessions/notes.12345678").mkdir()
    asked: list[tuple[str, list[str]]] = []

    async def exists(owner: str, ids: Sequence[str]) -> Collection[str]:
        asked.append((owner, sorted(ids)))
        return {"kept"}

    await workspaces.sweep(exists)
    assert asked == [("ada", ["gone", "kept"]), ("ada", ["gone"])]
    assert (gone.exists(), kept.exists(), (root / "project").exists()) == (False, True, True)
    await workspaces.sweep(every)
    assert kept.exists()


async def test_a_session_that_begins_anew_while_it_is_swept_keeps_its_files(
    workspaces: Workspaces,
) -> None:
    directory = await filled(workspaces)
    answers = [(), ("x",)]

    async def exists(owner: str, ids: Sequence[str]) -> Collection[str]:
        return answers.pop(0)

    await workspaces.sweep(exists)
    assert (directory / "folder/file").read_text() == "kept"
    assert answers == []


async def test_what_a_killed_server_left_half_deleted_is_swept(
    workspaces: Workspaces, root: Path
) -> None:
    (root / ".sessions/.deleted/left/files").mkdir(parents=True)
    await workspaces.sweep(every)
    assert list((root / ".sessions/.deleted").iterdir()) == []
