"""Starts the server out of an installed wheel.

The server's modules have short names (`auth`, `models`, `core`), which belong to nobody's global
namespace: they are in a folder of this package, and only this process looks there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

SERVER = Path(__file__).parent / "_server"


def main() -> int:
    """The command line; see `claude-openai-server --help`."""
    sys.path.insert(0, str(SERVER))
    from commands.command_line import main as run

    return run(sys.argv[1:], _create_app)


def _create_app(settings: Any, *, demo: bool) -> Any:
    """As the server's own `create_app`, loaded when it is called."""
    from main import create_app

    return create_app(settings, demo=demo)
