"""`service install|status|remove`, with a `systemctl` and a `launchctl` that note what they do."""

from __future__ import annotations

import os
import plistlib
import shlex
from pathlib import Path

import pytest

from commands import service
from commands.service import Job, Launchd, Systemd
from config.settings import SettingsError

pytestmark = pytest.mark.wire

JOB = Job(("/opt/my python/bin/python", "/srv/50%/main.py", "serve"), Path("/srv/50%"))

PROGRAM = """\
#!/bin/sh
echo "$(basename "$0") $*" >>{log}
case "$*" in
    *is-active*) cat {state} 2>/dev/null || echo inactive ;;
    *print*) [ -e {state} ] ;;
    *restart* | *bootstrap*)
        [ ! -e {broken} ] || {{ echo "no bus" >&2; exit 1; }}
        echo active >{state} ;;
    *disable* | *bootout*) rm -f {state} ;;
esac
"""


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of both programs; a file `broken` beside it makes them fail to start anything."""
    places = {name: shlex.quote(str(tmp_path / name)) for name in ("log", "state", "broken")}
    for name in ("systemctl", "launchctl"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(PROGRAM.format(**places))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.defpath}")
    return tmp_path / "log"


def test_systemd_runs_it_from_login_on_and_says_where_its_log_is(
    said: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    units = Systemd(tmp_path / "units")
    assert units.status() == service.NOT_INSTALLED
    assert units.install(JOB) == 0
    assert units.status() == 0
    text = (tmp_path / "units/claude-openai-server.service").read_text()
    assert 'ExecStart="/opt/my python/bin/python" /srv/50%%/main.py serve\n' in text
    assert "WorkingDirectory=/srv/50%%\n" in text
    assert "Restart=on-failure\n" in text
    assert said.read_text().splitlines() == [
        "systemctl --user daemon-reload",
        "systemctl --user enable claude-openai-server.service",
        "systemctl --user restart claude-openai-server.service",
        "systemctl --user is-active claude-openai-server.service",
    ]
    told = capsys.readouterr().out
    assert "journalctl --user -u claude-openai-server -f" in told
    assert "claude-openai-server.service is active." in told


def test_what_was_installed_is_removed_without_a_trace(said: Path, tmp_path: Path) -> None:
    for made in (Systemd(tmp_path / "units"), Launchd(tmp_path / "Library")):
        made.install(JOB)
        assert made.remove() == 0
        assert made.status() == service.NOT_INSTALLED
        assert made.remove() == 0, "a second time there is nothing to do"
    left = [path for path in tmp_path.rglob("*") if path.suffix in (".service", ".plist")]
    assert left == []


def test_installing_it_again_starts_it_with_what_changed(said: Path, tmp_path: Path) -> None:
    for made in (Systemd(tmp_path / "units"), Launchd(tmp_path / "Library")):
        made.install(JOB)
        made.install(Job(("/usr/bin/python3", "main.py", "serve"), Path("/srv")))
    commands = said.read_text().splitlines()
    assert commands.count("systemctl --user restart claude-openai-server.service") == 2
    label = f"gui/{os.getuid()}/local.claude-openai-server"
    assert f"launchctl bootout {label}" in commands


def test_launchd_runs_it_from_login_on_and_again_after_a_failure(
    said: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agents = Launchd(tmp_path / "Library")
    assert agents.status() == service.NOT_INSTALLED
    assert agents.install(JOB) == 0
    assert agents.status() == 0
    file = tmp_path / "Library/LaunchAgents/local.claude-openai-server.plist"
    agent = plistlib.loads(file.read_bytes())
    assert agent["ProgramArguments"] == list(JOB.command)
    assert agent["WorkingDirectory"] == "/srv/50%"
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["RunAtLoad"] is True
    assert str(file) in capsys.readouterr().out


def test_what_the_manager_refuses_is_told_in_its_words(said: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(SettingsError, match=r"^`systemctl --user restart .*` failed: no bus$"):
        Systemd(tmp_path / "units").install(JOB)


def test_the_unit_is_shown_without_a_change(
    said: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert service.install_service(show=True) == 0
    assert f"WorkingDirectory={tmp_path}\n" in capsys.readouterr().out
    assert not (tmp_path / "config").exists()
    assert not said.exists()


def test_a_platform_without_either_is_told_what_else_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    with pytest.raises(SettingsError, match="neither systemd nor launchd"):
        service.manager()
