"""`python main.py …`: which command is meant. Loads the server only to serve."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from commands.banner import shown_host
from commands.key import print_key
from commands.login import login
from commands.serve import CreateApp, serve
from config.credentials import LOGIN_COMMAND
from config.settings import SettingsError, host_environ, load_settings
from core.version import NAME, VERSION

KEY_COMMAND = "python main.py key"
CHECK_COMMAND = "python main.py check"
AGENT_COMMAND = "python main.py agent new|check|list"


def main(argv: Sequence[str], create_app: CreateApp) -> int:
    """The exit status: 2 with one sentence where an argument or a setting cannot be used."""
    try:
        if argv[:1] == ["login"]:
            return login(argv[1:])
        if argv[:1] == ["key"]:
            return print_key()
        if argv[:1] == ["check"]:
            return check_server(argv[1:])
        if argv[:1] == ["agent"]:
            return manage_agents(argv[1:])
        return serve(parser().parse_args(argv), create_app)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python main.py",
        description="Claude Code behind the OpenAI API.",
        epilog=f"`{LOGIN_COMMAND}` runs Claude Code's own login. `{KEY_COMMAND}` makes an API key. "
        f"`{CHECK_COMMAND}` tries a running server. `{AGENT_COMMAND}` reads the agents.",
    )
    made.add_argument("port", nargs="?", help="port (default: PORT, else 8000)")
    made.add_argument("--host", help="address to listen on (default: HOST, else 127.0.0.1)")
    made.add_argument("--demo", action="store_true", help="answer from a fake upstream, no account")
    made.add_argument("--reload", action="store_true", help="start again when a file changes")
    versions = f"{NAME} {VERSION} (claude-agent-sdk {version('claude-agent-sdk')})"
    made.add_argument("--version", action="version", version=versions)
    return made


def check_server(arguments: Sequence[str]) -> int:
    """Tries the server of these settings, or the one that `--url` names."""
    settings = load_settings()
    url = f"http://{shown_host(settings.host)}:{settings.port}"
    from commands import check  # with HTTPX several MB, which a server does not need

    return check.main(arguments, url, host_environ(), settings.api_key)


def manage_agents(arguments: Sequence[str]) -> int:
    settings = load_settings()
    from commands import agent  # reads YAML, which a server that starts does later

    return agent.main(list(arguments), settings)
