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
    if keeps_here():
        return Path(ENV_FILE)
    from platformdirs import user_config_path  # only where it is asked

    return user_config_path(SCRIPT, appauthor=False) / ENV_FILE


def data_folder() -> Path:
    """Where sessions and workspaces go unless a setting says otherwise; it need not exist."""
    if keeps_here():
        return Path()
    from platformdirs import user_data_path

    return user_data_path(SCRIPT, appauthor=False)


def keeps_here() -> bool:
    """Whether the working directory is the place."""
    names = (ENV_FILE, SESSIONS_FILE, WORKSPACES_FOLDER)
    return not IS_INSTALLED or any(Path(name).exists() for name in names)


def default_database_url() -> str:
    return f"sqlite+aiosqlite:///{data_folder() / SESSIONS_FILE}"


def default_workspace_root() -> Path:
    return data_folder() / WORKSPACES_FOLDER


def remembered_answers() -> Path:
    """A file of what the operator answered once, so that it is not asked again."""
    from platformdirs import user_state_path

    return user_state_path(SCRIPT, appauthor=False) / "answers.json"
