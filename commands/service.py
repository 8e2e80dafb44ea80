"""`service install|status|remove`: the server in the background, run by the user's own systemd or
launchd. It starts with the login and again after a failure."""

from __future__ import annotations

import os
import platform
import plistlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from config.places import data_folder, env_file
from config.settings import SettingsError, load_settings
from core.version import IS_INSTALLED, NAME, PROGRAM, SCRIPT

NOT_INSTALLED = 3
"""The exit status of `service status` where it does not run: as systemd's own."""

LABEL = f"local.{SCRIPT}"

UNIT = """\
[Unit]
Description=Claude Code behind the OpenAI and Anthropic APIs ({name})
After=network-online.target

[Service]
WorkingDirectory={folder}
ExecStart={command}
Restart=on-failure
RestartSec=5
NoNewPrivileges=yes
# Claude Code's processes end with the server.
KillMode=mixed
TimeoutStopSec=30

[Install]
WantedBy=default.target
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What shall run: a command and the folder that it runs in, both absolute."""

    command: tuple[str, ...]
    folder: Path


class Manager(Protocol):
    """A service manager of the platform. Each method ends in sentences on the terminal, and in an
    exit status; it raises SettingsError where the manager refuses."""

    def text(self, job: Job) -> str: ...

    def install(self, job: Job) -> int: ...

    def status(self) -> int: ...

    def remove(self) -> int: ...


def install_service(*, show: bool) -> int:
    load_settings()  # a bad setting would stop it in the background, without a visible reason
    job = this_job()
    if show:
        _say(manager().text(job).rstrip())
        return 0
    return manager().install(job)


def service_status() -> int:
    return manager().status()


def remove_service() -> int:
    return manager().remove()


def this_job() -> Job:
    """This program, as it was started, in the folder that holds its settings."""
    folder = data_folder().absolute()
    if IS_INSTALLED:
        return Job((sys.executable, "-m", "claude_openai_server", "serve"), folder)
    return Job((sys.executable, str(Path(sys.argv[0]).absolute()), "serve"), folder)


def manager() -> Manager:
    """Raises SettingsError where there is neither of the two."""
    if platform.system() == "Darwin":
        return Launchd(Path.home() / "Library")
    if platform.system() == "Linux" and shutil.which("systemctl"):
        config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Systemd(Path(config) / "systemd/user")
    raise SettingsError(
        "There is neither systemd nor launchd here: start the server with what starts your others"
        f" (`{PROGRAM} serve`), or run its container."
    )


class Systemd:
    """A unit of the user's own systemd; `folder` is where their units are."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"{SCRIPT}.service"

    def text(self, job: Job) -> str:
        command = " ".join(_quoted_for_systemd(word) for word in job.command)
        folder = str(job.folder).replace("%", "%%")
        return UNIT.format(name=NAME, folder=folder, command=command)

    def install(self, job: Job) -> int:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(self.text(job), encoding="utf-8")
        _ask("systemctl", "--user", "daemon-reload")
        _ask("systemctl", "--user", "enable", self._file.name)
        _ask("systemctl", "--user", "restart", self._file.name)
        _say(f"It runs, and starts with your login: {self._file}")
        _say(f"  settings: {env_file().absolute()} (then `systemctl --user restart {SCRIPT}`)")
        _say(f"  log:      journalctl --user -u {SCRIPT} -f")
        _say("  to run without a login, too: loginctl enable-linger")
        return 0

    def status(self) -> int:
        if not self._file.is_file():
            _say(f"It is not installed: `{PROGRAM} service install` does that.")
            return NOT_INSTALLED
        command = ("systemctl", "--user", "is-active", self._file.name)
        state = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        _say(f"{self._file.name} is {state or 'unknown'}. Log: journalctl --user -u {SCRIPT}")
        return 0 if state == "active" else NOT_INSTALLED

    def remove(self) -> int:
        if not self._file.is_file():
            _say("It is not installed.")
            return 0
        _ask("systemctl", "--user", "disable", "--now", self._file.name)
        self._file.unlink()
        _ask("systemctl", "--user", "daemon-reload")
        _say("It was stopped and removed. Settings and data are where they were.")
        return 0


class Launchd:
    """An agent of the user's launchd; `library` is ~/Library."""

    def __init__(self, library: Path) -> None:
        self._file = library / f"LaunchAgents/{LABEL}.plist"
        self._log = library / f"Logs/{SCRIPT}.log"
        self._domain = f"gui/{os.getuid()}"

    def text(self, job: Job) -> str:
        agent = {
            "Label": LABEL,
            "ProgramArguments": list(job.command),
            "WorkingDirectory": str(job.folder),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 5,
            "StandardOutPath": str(self._log),
            "StandardErrorPath": str(self._log),
        }
        return plistlib.dumps(agent).decode()

    def install(self, job: Job) -> int:
        if self._is_loaded():
            _ask("launchctl", "bootout", f"{self._domain}/{LABEL}")
        for file in (self._file, self._log):
            file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(self.text(job), encoding="utf-8")
        _ask("launchctl", "bootstrap", self._domain, str(self._file))
        _say(f"It runs, and starts with your login: {self._file}")
        _say(f"  settings: {env_file().absolute()} (then `{PROGRAM} service install` again)")
        _say(f"  log:      {self._log}")
        return 0

    def status(self) -> int:
        if not self._file.is_file():
            _say(f"It is not installed: `{PROGRAM} service install` does that.")
            return NOT_INSTALLED
        is_loaded = self._is_loaded()
        _say(f"{LABEL} is {'loaded' if is_loaded else 'not loaded'}. Log: {self._log}")
        return 0 if is_loaded else NOT_INSTALLED

    def remove(self) -> int:
        if not self._file.is_file():
            _say("It is not installed.")
            return 0
        if self._is_loaded():
            _ask("launchctl", "bootout", f"{self._domain}/{LABEL}")
        self._file.unlink()
        _say("It was stopped and removed. Settings and data are where they were.")
        return 0

    def _is_loaded(self) -> bool:
        command = ("launchctl", "print", f"{self._domain}/{LABEL}")
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _quoted_for_systemd(word: str) -> str:
    """Percent and dollar signs have a meaning there, also in quotes."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if set(escaped) & set(" \t\"'\\;") else escaped


def _ask(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr or done.stdout).strip() or f"status {done.returncode}"
        raise SettingsError(f"`{' '.join(command)}` failed: {why}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
