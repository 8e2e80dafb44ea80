"""Where settings and data are kept.

A checkout keeps them in the working directory. A server that was installed keeps them in the
platform's own places, unless the working directory holds any of them already.
"""

from __future__ import annotations

from pathlib import Path

from core.version import IS_INSTALLED, SCRIPT

ENV_FILE = ".env"
SESSIONS_FILE = "sessions.db"
WORKSPACES_FOLDER = "workspaces"


def env_file() -> Path:
    """The settings file that is read; it need not exist."""
    return Path(ENV_FILE) if keeps_here() else _own_config() / ENV_FILE


def data_folder() -> Path:
    """Where sessions and workspaces go unless a setting says otherwise; made where it is not the
    working directory."""
    if keeps_here():
        return Path()
    folder = _own_data()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def keeps_here() -> bool:
    """Whether the working directory is the place."""
    if not IS_INSTALLED:
        return True
    names = (ENV_FILE, SESSIONS_FILE, WORKSPACES_FOLDER)
    holds_any = any(Path(name).exists() for name in names)
    return holds_any and Path.cwd() not in (_own_config(), _own_data())


def _own_config() -> Path:
    from platformdirs import user_config_path  # a checkout does without

    return user_config_path(SCRIPT, appauthor=False)


def _own_data() -> Path:
    from platformdirs import user_data_path

    return user_data_path(SCRIPT, appauthor=False)


def default_database_url() -> str:
    return f"sqlite+aiosqlite:///{data_folder() / SESSIONS_FILE}"


def default_workspace_root() -> Path:
    return data_folder() / WORKSPACES_FOLDER


def remembered_answers() -> Path:
    """A file of what the operator answered once, so that it is not asked again."""
    from platformdirs import user_state_path

    return user_state_path(SCRIPT, appauthor=False) / "answers.json"
