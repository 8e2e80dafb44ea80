"""`python main.py agent`: new, check and list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from commands.agent import USAGE, main
from config.settings import Settings
from tests.support.harness import test_settings as settings_for
from toolbox.agent_files import read_agent


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return made(tmp_path)


def made(folder: Path, **fields: Any) -> Settings:
    given = {"agents_dir": folder / "agents", "workspace_root": folder, **fields}
    return settings_for(**given)


def test_a_new_agent_is_one_that_can_be_served(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "helper"], settings) == 0
    path = Path(capsys.readouterr().out.strip())
    agent = read_agent(path, settings.workspace_root)
    assert (agent.name, agent.tools) == ("helper", ("Read", "Glob", "Grep"))
    path.write_text("mine")
    assert main(["new", "helper"], settings) == 1
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["../helper", "a/b", ".hidden"])
def test_a_new_agent_stays_in_its_directory(settings: Settings, name: str) -> None:
    assert main(["new", name], settings) == 2
    assert not settings.agents_dir.exists()


def test_a_check_names_what_is_wrong_and_what_is_not_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = made(tmp_path, allowed_tools=("Read", "Bash"), sandbox="off")
    settings.agents_dir.mkdir()
    (settings.agents_dir / "bad.md").write_text("---\ndescription: x\nmode: 1\n---")
    (settings.agents_dir / "runs.md").write_text("---\ndescription: x\ntools: Bash, Edit\n---")
    assert main(["check"], settings) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "claude-code: runs commands without a sandbox: SANDBOX is off"
    assert lines[1] == (
        "runs: needs Edit, which ALLOWED_TOOLS does not allow; "
        "runs commands without a sandbox: SANDBOX is off"
    )
    assert lines[2].startswith(f"{settings.agents_dir}/bad.md:3: mode: is not a field")


def test_a_list_has_a_line_for_each(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    settings.agents_dir.mkdir()
    (settings.agents_dir / "a.md").write_text("---\ndescription: Reads\nmodel: haiku\n---")
    assert main(["list"], settings) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][0] == "claude-code"
    assert lines[1] == ["a", "haiku", "Reads"]


def test_other_words_are_refused(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["delete"], settings) == 2
    assert capsys.readouterr().err == USAGE
