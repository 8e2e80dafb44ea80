"""The container's entry point, as the users that people run it as.

Each container is a folder that the script is locked into (chroot), with this computer's programs
and the image's folders. `python` there is a script that tells what it was started with.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from demo import FakeAnthropic
from tests.support.wire import URL, asking
from tests.system.test_shutdown import answers, free_port

ENTRYPOINT = Path(__file__).parents[2] / "scripts" / "entrypoint.sh"
OWN, ORIGINAL = "/home/app/.claude", "/root/.claude"
APP, STRANGER = 1000, 4321
STARTED = "started in /app: 'main.py'"

PYTHON = """#!/bin/sh
printf "started in $PWD:"
printf " '%s'" "$@"
echo
exec env
"""
PROGRAMS = """
mount --bind /usr "$1/usr" || exit 125
exec chroot --userspec="$2:$2" --groups= "$1" /usr/bin/env -i PATH=/app/bin:/usr/bin "${@:3}"
"""


def can_mount() -> bool:
    if not shutil.which("unshare") or os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


pytestmark = [
    pytest.mark.wire,
    pytest.mark.skipif(
        not can_mount(), reason="to be a container's other users needs root on Linux"
    ),
]


@dataclass(frozen=True, slots=True)
class Start:
    status: int
    said: str
    environment: Mapping[str, str]
    command: str


@dataclass(frozen=True, slots=True)
class Container:
    """The image's folders, as its Dockerfile makes them."""

    root: Path

    def mount(self, path: str, owner: int, login: str = "{}", mode: int = 0o700) -> None:
        """A folder of the computer's user, with what the CLI keeps there."""
        folder = self.root / path.lstrip("/")
        folder.mkdir(exist_ok=True)
        file = folder / ".credentials.json"
        file.write_text(login)
        file.chmod(0o600)
        os.chown(file, owner, owner)
        os.chown(folder, owner, owner)
        folder.chmod(mode)

    def start(self, *arguments: str, user: int = APP, **variables: str) -> Start:
        """`docker run --user`; Docker sets HOME, from /etc/passwd or to the root."""
        homes = {APP: "/home/app", 0: "/root"}
        own = {"HOME": homes.get(user, "/"), "DATABASE_URL": "sqlite+aiosqlite:////data/s.db"}
        words = [f"{name}={value}" for name, value in {**own, **variables}.items()]
        command = ["unshare", "--mount", "bash", "-c", PROGRAMS, "bash", str(self.root), str(user)]
        ended = subprocess.run(
            [*command, *words, "/app/scripts/entrypoint.sh", *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        first, _, rest = ended.stdout.partition("\n")
        found = dict(line.partition("=")[::2] for line in rest.splitlines())
        return Start(ended.returncode, ended.stderr, found, first)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    root = tmp_path / "container"
    for folder in ("usr", "app/bin", "app/scripts", "root", "home/app/.claude", "data", "tmp"):
        (root / folder).mkdir(parents=True)
    for link in ("bin", "lib", "lib64"):
        (root / link).symlink_to(f"usr/{link}")
    shutil.copy(ENTRYPOINT, root / "app/scripts")
    (root / "app/bin/python").write_text(PYTHON)
    (root / "app/bin/python").chmod(0o755)
    for shared in ("data", "tmp", "home/app/.claude"):
        (root / shared).chmod(0o1777)
    (root / "root").chmod(0o711)
    os.chown(root / "home/app", APP, APP)
    return Container(root)


def test_a_command_of_the_image_is_run_as_it_is(container: Container) -> None:
    start = container.start("echo", "from inside")
    assert (start.status, start.command) == (0, "from inside")


@pytest.mark.parametrize("words", [("check", "--json"), ("9000",), ("--demo",), ("nonsense",)])
def test_what_is_no_command_of_the_image_is_the_servers(
    container: Container, words: tuple[str, ...]
) -> None:
    told = " ".join(f"'{word}'" for word in ("main.py", *words))
    assert container.start(*words).command == f"started in /app: {told}"


def test_it_becomes_the_server_with_the_arguments_that_it_got(container: Container) -> None:
    start = container.start("--demo", "two words", ANTHROPIC_API_KEY="sk-dummy")
    assert start.command == "started in /app: 'main.py' '--demo' 'two words'"
    assert start.environment["ANTHROPIC_API_KEY"] == "sk-dummy"
    assert (start.status, start.said) == (0, "")


@pytest.mark.parametrize(
    ("place", "user", "named"),
    [
        (OWN, APP, None),  # the CLI looks there by itself
        (ORIGINAL, APP, ORIGINAL),
        (ORIGINAL, 0, None),
        (OWN, 0, OWN),
        (OWN, STRANGER, OWN),
        (ORIGINAL, STRANGER, ORIGINAL),
    ],
)
def test_a_login_is_found_wherever_it_is_mounted(
    container: Container, place: str, user: int, named: str | None
) -> None:
    container.mount(place, user)
    start = container.start(user=user)
    assert start.said == f"entrypoint: found a Claude login in {place}.\n"
    assert start.environment.get("CLAUDE_CONFIG_DIR") == named
    assert start.command == STARTED


def test_the_folder_that_the_operator_names_is_the_only_one(container: Container) -> None:
    container.mount(ORIGINAL, APP)
    container.mount("/data/login", APP)
    start = container.start(CLAUDE_CONFIG_DIR="/data/login")
    assert start.said == "entrypoint: found a Claude login in /data/login.\n"
    assert start.environment["CLAUDE_CONFIG_DIR"] == "/data/login"


@pytest.mark.parametrize(
    ("mode", "closed"), [(0o700, ORIGINAL), (0o755, f"{ORIGINAL}/.credentials.json")]
)
def test_a_login_of_somebody_else_is_told_with_what_to_add(
    container: Container, mode: int, closed: str
) -> None:
    container.mount(ORIGINAL, 1001, mode=mode)
    start = container.start()
    assert start.said == (
        f"entrypoint: {closed} belongs to user 1001:1001 and is closed to user 1000:1000. "
        "Add `--user 1001:1001` to docker run; for compose set CONTAINER_USER=1001:1001.\n"
    )
    assert start.command == STARTED  # there may be a key
    assert "found a Claude login" in container.start(user=1001).said  # the sentence is right


@pytest.mark.parametrize("place", [OWN, ORIGINAL])
def test_a_login_that_cannot_be_renewed_is_told(container: Container, place: str) -> None:
    container.mount(place, STRANGER, mode=0o755)
    os.chown(container.root / place.lstrip("/"), 0, 0)  # as a mount with :ro refuses to write
    start = container.start(user=STRANGER)
    assert start.environment["CLAUDE_CONFIG_DIR"] == place
    assert start.said.splitlines()[1] == (
        "entrypoint: It cannot be written, so it cannot be renewed: mount it without `:ro`."
    )


@pytest.mark.parametrize(("user", "named"), [(APP, None), (0, OWN), (STRANGER, OWN)])
def test_every_user_can_store_a_login(container: Container, user: int, named: str | None) -> None:
    start = container.start("login", user=user)
    assert start.environment.get("CLAUDE_CONFIG_DIR") == named
    assert start.command == f"{STARTED} 'login'"


def test_a_user_without_a_home_is_no_obstacle(container: Container) -> None:
    start = container.start(user=STRANGER, HOME="")
    assert (start.status, start.environment["CLAUDE_CONFIG_DIR"]) == (0, OWN)


def test_a_container_without_a_folder_to_write_in_says_what_to_add(container: Container) -> None:
    start = container.start(TMPDIR="/root")
    assert (start.status, start.command) == (2, "")
    assert start.said.endswith("With a read-only container add `--tmpfs /root`.\n")


@pytest.mark.parametrize(
    ("url", "is_started"),
    [
        ("sqlite+aiosqlite:////data/sessions.db", True),
        ("sqlite+aiosqlite:////home/sessions.db", False),
        ("sqlite+aiosqlite:////home/missing/sessions.db", False),
        ("postgresql+asyncpg://gateway@postgres/home/x", True),
        ("sqlite://", True),
    ],
)
def test_sessions_need_a_folder_that_can_be_written(
    container: Container, url: str, is_started: bool
) -> None:
    start = container.start(DATABASE_URL=url)
    assert start.command.startswith("started") is is_started
    assert ("where DATABASE_URL keeps the sessions, cannot be written" in start.said) is (
        not is_started
    )


# Read-only, with /tmp as Docker mounts it for --tmpfs.
SERVER = """
mount --bind "$1" "$1" && mount -t tmpfs -o mode=1777,noexec,nosuid,nodev tmpfs "$1/tmp" || exit 125
for folder in /usr /etc /dev /proc "$3" "$4" "$5"; do
    mkdir -p "$1$folder" && mount --rbind "$folder" "$1$folder" || exit 125
done
mount -o remount,bind,ro "$1" || exit 125
exec chroot --userspec="$2:$2" --groups= "$1" /usr/bin/env -i PATH="$3/bin:/usr/bin" "${@:6}"
"""
LOGIN = {
    "claudeAiOauth": {
        "accessToken": "sk-ant-oat01-dummy",
        "refreshToken": "sk-ant-ort01-dummy",
        "expiresAt": 99_999_999_999_999,
        "scopes": ["user:inference", "user:profile"],
        "subscriptionType": "max",
    }
}


@asynccontextmanager
async def serving(
    container: Container, user: int, **variables: str
) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """The real server in a read-only container, with the entry point of this source."""
    port = free_port()
    own = {"HOME": "/", "HOST": "127.0.0.1", "PORT": str(port), "DATABASE_URL": "sqlite://"}
    words = [f"{name}={value}" for name, value in {**own, **variables}.items()]
    places = [sys.prefix, sys.base_prefix, str(ENTRYPOINT.parent.parent)]
    process = await asyncio.create_subprocess_exec(
        "unshare", "--mount", "bash", "-c", SERVER, "bash", str(container.root), str(user), *places,
        *words, ENTRYPOINT,
    )  # fmt: skip
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
            await answers(http)
            yield process, http
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_read_only_container_of_any_user_serves_with_its_login_and_stops(
    container: Container, upstream: FakeAnthropic
) -> None:
    container.mount(ORIGINAL, STRANGER, json.dumps(LOGIN))
    async with serving(container, STRANGER, ANTHROPIC_BASE_URL=upstream.url) as (process, http):
        answer = await http.post(URL, json=asking("hello"))
        assert answer.status_code == 200, answer.text
        headers = upstream.requests[-1].headers
        assert headers["authorization"] == "Bearer sk-ant-oat01-dummy"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
