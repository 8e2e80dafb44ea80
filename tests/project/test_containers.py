"""Dockerfile, .dockerignore and docker-compose.yml, read by Docker's built-in tools without a
daemon."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from functools import cache
from pathlib import Path, PurePath
from typing import Any

import pytest

from config.settings import Settings
from tests.support.harness import Gateway
from tests.support.pages import PACKAGES
from tests.system.test_shutdown import free_port

pytestmark = pytest.mark.wire

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
TEMPLATE = (ROOT / "deploy" / "nginx.conf.template").read_text()
OF_COMPOSE = {"CONTAINER_USER", "POSTGRES_PASSWORD"}
"""Not the server's: only docker-compose.yml reads them."""


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={"PATH": os.defpath, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def known_variables() -> set[str]:
    example = (ROOT / ".env.example").read_text()
    return set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))


# --- Dockerfile


def test_hadolint_and_shellcheck_object_to_nothing() -> None:
    assert run(BIN / "hadolint", "Dockerfile").stdout == ""
    assert run(BIN / "shellcheck", "--shell=dash", "scripts/entrypoint.sh").stdout == ""


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["1000:1000"]


def test_what_the_image_sets_are_settings() -> None:
    block = re.search(r"^ENV (.+?)\n[A-Z]", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert block
    names = set(re.findall(r"([A-Z_]+)=", block[1])) - {"PATH"}
    ours = {name for name in names if not name.startswith("PYTHON")}
    assert ours == {"HOST", "DATABASE_URL", "WORKSPACE_ROOT", "SHUTDOWN_GRACE_SECONDS"}
    assert ours <= {name.upper() for name in Settings.model_fields}


def test_the_entry_point_is_a_file_that_can_be_run() -> None:
    assert 'ENTRYPOINT ["tini", "-s", "--", "/app/scripts/entrypoint.sh"]' in DOCKERFILE
    assert os.access(ROOT / "scripts" / "entrypoint.sh", os.X_OK)


async def test_the_health_check_tells_a_server_from_none(gateway: Gateway) -> None:
    found = re.search(r"HEALTHCHECK .*?CMD \[(.+?)\]", DOCKERFILE, re.DOTALL)
    assert found
    python, *options, script = json.loads(f"[{found[1]}]")
    assert (python, options) == ("python", ["-I"])
    command = [sys.executable, *options, ROOT / PurePath(script).relative_to("/app")]
    through_a_proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    up = await asyncio.to_thread(
        run, *command, PORT=str(gateway.http.base_url.port), **through_a_proxy
    )
    assert (up.returncode, up.stderr) == (0, "")
    down = await asyncio.to_thread(run, *command, PORT=str(free_port()))
    assert (down.returncode, down.stderr[:10]) == (1, "no answer:")


def is_left_out(path: str) -> bool:
    """As Docker reads .dockerignore, for the kinds of patterns that are in it."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    parents = [str(parent) for parent in (PurePath(path), *PurePath(path).parents)]
    for pattern in (line for line in lines if line and not line.startswith("#")):
        anywhere = pattern.removeprefix("**/")
        for parent in parents:
            name = PurePath(parent).name if anywhere != pattern else parent
            if fnmatch(name, anywhere) and ("/" not in name or "/" in anywhere):
                return True
    return False


@pytest.mark.parametrize(
    "path",
    [
        *(".env", ".env.local", "demo/.env", "sessions.db", "data/x.sqlite3", "server.log"),
        *(".venv/bin/python", ".git/config", ".cache/poetry", "stores/__pycache__/x.pyc"),
        *("tests/support/wire.py", "docs/sessions.md", "deploy/tls/privkey.pem"),
        "docker-compose.yml",
    ],
)
def test_neither_secrets_nor_leftovers_enter_the_image(path: str) -> None:
    assert is_left_out(path)


def test_all_that_serves_enters_the_image() -> None:
    needed = [*ROOT.glob("*.py"), ROOT / "pyproject.toml", ROOT / "poetry.lock"]
    for folder in (*PACKAGES, "demo", "scripts"):
        needed += [path for path in (ROOT / folder).rglob("*") if path.suffix != ".pyc"]
    names = [str(path.relative_to(ROOT)) for path in needed if path.name != "__pycache__"]
    assert len(names) > 120
    assert [name for name in names if is_left_out(name)] == []


# --- docker-compose.yml


@cache
def composed(**variables: str) -> dict[str, Any]:
    """What `docker compose config` makes of the file, all profiles, without anybody's .env."""
    ended = run(
        BIN / "docker-compose", "--env-file", os.devnull, "--profile", "*",
        "config", "--no-env-resolution", "--format", "json", **variables,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout)["services"])


SERVERS = ("gateway", "dev", "gateway-1", "gateway-2")


def test_compose_starts_one_server_unless_asked_for_more() -> None:
    profiles = {name: service.get("profiles") for name, service in composed().items()}
    scale = {name: ["scale"] for name in ("gateway-1", "gateway-2", "proxy", "postgres", "redis")}
    assert profiles == {"gateway": None, "dev": ["dev"], **scale}


def test_compose_publishes_on_this_computer_only_and_no_port_twice() -> None:
    ports = [port for service in composed().values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    published = [port["published"] for port in ports]
    assert len(published) == len(set(published)) == 4
    assert not any(composed()[name].get("ports") for name in ("postgres", "redis", "gateway-1"))


def test_every_variable_of_compose_is_known() -> None:
    asked = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    given = {name for server in SERVERS for name in composed()[server]["environment"]}
    assert asked | given <= known_variables() | OF_COMPOSE
    page = (ROOT / "docs" / "deployment.md").read_text()
    assert all(name in page for name in OF_COMPOSE)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_in_compose_has_no_rights_to_lose(name: str) -> None:
    service = composed()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "1000:1000"
    assert composed(CONTAINER_USER="7:8")[name]["user"] == "7:8"
    grace = int(service["environment"]["SHUTDOWN_GRACE_SECONDS"])
    assert grace + 10 <= int(service["stop_grace_period"].removesuffix("s"))


@pytest.mark.parametrize("name", SERVERS)
def test_a_login_is_a_volume_or_the_folder_that_is_named(name: str) -> None:
    kept = composed()[name]["volumes"][0]
    assert (kept["type"], kept["source"]) == ("volume", "login")
    named = composed(CLAUDE_CONFIG_DIR="/home/ada/.claude")[name]["volumes"][0]
    assert (named["type"], named["source"]) == ("bind", "/home/ada/.claude")
    inside = composed(CLAUDE_CONFIG_DIR="/home/ada/.claude")[name]["environment"]
    assert kept["target"] == named["target"] == inside["CLAUDE_CONFIG_DIR"] == "/home/app/.claude"


def test_a_key_of_the_shell_reaches_the_server() -> None:
    assert composed()["gateway"]["environment"]["ANTHROPIC_API_KEY"] is None
    given = composed(ANTHROPIC_API_KEY="sk-dummy")["gateway"]["environment"]
    assert given["ANTHROPIC_API_KEY"] == "sk-dummy"


def test_the_replicas_are_the_same_and_share_what_must_be_shared() -> None:
    one, two = composed()["gateway-1"], composed()["gateway-2"]
    assert one == two
    assert one["environment"]["DATABASE_URL"].startswith("postgresql+asyncpg://")
    assert "@postgres/" in one["environment"]["DATABASE_URL"]
    assert one["environment"]["REDIS_URL"] == "redis://redis:6379/0"
    assert set(one["depends_on"]) == {"postgres", "redis"}
    workspaces = {volume["target"]: volume["source"] for volume in one["volumes"]}["/data"]
    assert workspaces == "workspaces"
    assert one["environment"]["WORKSPACE_ROOT"] == "/data/workspaces"


def test_replicas_without_a_common_key_say_so_instead_of_making_two(tmp_path: Path) -> None:
    entrypoint = [part.replace("$$", "$") for part in composed()["gateway-1"]["entrypoint"]]
    (tmp_path / "tini").write_text('#!/bin/sh\necho "$*"\n')
    (tmp_path / "tini").chmod(0o755)
    path = f"{tmp_path}:{os.defpath}"
    refused = run(*entrypoint, PATH=path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Set API_KEY" in refused.stderr
    for name in ("API_KEY", "API_KEYS", "API_KEYS_FILE"):
        started = run(*entrypoint, PATH=path, **{name: "x"})
        assert started.stdout == "-s -- /app/scripts/entrypoint.sh\n"


def test_the_proxy_gets_what_its_template_asks_for() -> None:
    proxy = composed()["proxy"]
    assert set(re.findall(r"\$\{(\w+)\}", TEMPLATE)) == set(proxy["environment"])
    assert set(proxy["depends_on"]) == {"gateway-1", "gateway-2"}
    servers = {proxy["environment"][name] for name in ("GATEWAY_1", "GATEWAY_2")}
    assert servers == {"gateway-1:8000", "gateway-2:8000"}
    for volume in proxy["volumes"]:
        assert Path(volume["source"]).exists()
        assert volume["read_only"] is True


def test_the_proxy_streams_waits_and_sends_nothing_twice() -> None:
    said = " ".join(line.partition("#")[0] for line in TEMPLATE.splitlines())
    for directive in (
        "proxy_buffering off;",
        "proxy_http_version 1.1;",
        "proxy_read_timeout 1h;",
        "proxy_next_upstream error timeout;",
        "proxy_set_header X-Forwarded-For $remote_addr;",
    ):
        assert directive in said
    bodies = re.findall(r"return \d+ '(.+)';", TEMPLATE)
    assert [set(json.loads(body)["error"]) for body in bodies] == [
        {"message", "type", "param", "code"}
    ] * 2
