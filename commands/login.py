"""`python main.py login`: Claude Code's own login."""

from __future__ import annotations

import os
from collections.abc import Sequence

from config.credentials import find_cli
from config.settings import SettingsError, host_environ, load_settings


def login(arguments: Sequence[str]) -> int:
    """Becomes the CLI's own login on this terminal; `arguments` are `claude auth login`'s."""
    cli = find_cli(load_settings())
    if cli is None:
        raise SettingsError("The Claude CLI was not found: install this server again.")
    os.execve(cli, [str(cli), "auth", "login", *arguments], host_environ())
