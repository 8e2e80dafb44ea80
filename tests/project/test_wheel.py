"""The wheel as its users have it: built, installed into an environment of its own, and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from asyncio import create_subprocess_exec
from asyncio import subprocess as asyncio_subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from zipfile import ZipFile

import httpx
import psutil
import pytest

from core.version import SCRIPT
from demo import FakeAnthropic
from tests.project.test_architecture import LAYER_OF, TOP

pytestmark = pytest.mark.wire

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PRIVATE = "claude_openai_server/_server/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel; what it depends on is this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True, symlinks=True)
    pip = [str(folder / "bin/python"), "-I", "-m", "pip", "install", "--quiet"]
    command = [*pip, "--no-index", "--no-deps", str(wheel)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def environ(home: Path, **variables: str) -> dict[str, str]:
    return {"PATH": os.defpath, "HOME": str(home), "POOL_WARM": "0", **variables}


def test_the_wheel_has_one_package_and_one_command(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    [info] = tops - {"claude_openai_server"}
    assert info.endswith(".dist-info")
    scripts = ZipFile(wheel).read(f"{info}/entry_points.txt").decode()
    assert scripts.split() == ["[console_scripts]", SCRIPT, "=", "claude_openai_server:main"]
    assert not [name for name in names if "__pycache__" in name or name.endswith(".db")]


def test_all_that_the_server_is_made_of_is_in_it(wheel: Path) -> None:
    packed = {name.removeprefix(PRIVATE) for name in ZipFile(wheel).namelist()}
    parts = {*LAYER_OF, "demo"}
    wanted = {f"{module}.py" for module in TOP} | {
        str(path.relative_to(ROOT))
        for part in parts
        for path in (ROOT / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= packed
    assert "stores/migrations/env.py" in packed


def test_its_modules_belong_to_its_own_process(installed: Path, tmp_path: Path) -> None:
    looked = "import importlib.util as u; print([n for n in %r if u.find_spec(n)])"
    names = [*sorted(TOP), "core", "config", "commands", "dialects", "stores", "web"]
    command = [str(installed / "python"), "-c", looked % names]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_its_command_says_how_it_is_called(installed: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [installed / SCRIPT, "--help"],
        cwd=tmp_path,
        env=environ(tmp_path, COLUMNS="100"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"Usage: {SCRIPT} " in ended.stdout
    assert "--install-completion" in ended.stdout


def test_the_demo_runs_out_of_it(installed: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [installed / SCRIPT, "demo", "8700", "--exit"],
        cwd=tmp_path,
        env=environ(tmp_path),
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert len(re.findall(r"First token after \d+ ms", ended.stdout)) == 2
    assert f"then `{SCRIPT}`." in ended.stdout
    assert list(tmp_path.iterdir()) == []


@asynccontextmanager
async def serving(
    installed: Path, folder: Path, variables: dict[str, str]
) -> AsyncIterator[tuple[str, str]]:
    """Its URL and its banner, in a working directory of that folder."""
    process = await create_subprocess_exec(
        str(installed / SCRIPT),
        "8750",
        cwd=folder,
        env=variables,
        stdin=asyncio_subprocess.DEVNULL,
        stdout=asyncio_subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        banner = (await process.stdout.readuntil(b"Press Ctrl-C to stop it.")).decode()
        found = re.search(r"http://[0-9.:]+", banner)
        assert found
        yield found[0], banner
    finally:
        server = psutil.Process(process.pid)
        for each in [*server.children(recursive=True), server]:
            each.terminate()
        await process.wait()


async def test_it_keeps_its_data_in_the_platforms_place_and_says_so(
    installed: Path, tmp_path: Path, upstream: FakeAnthropic
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    places = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("DATA", "CONFIG")}
    settings = tmp_path / "config" / SCRIPT / ".env"
    settings.parent.mkdir(parents=True)
    lines = (f"{name}={value}\n" for name, value in upstream.environment("anthropic").items())
    settings.write_text("".join(lines))
    async with serving(installed, work, environ(tmp_path, **places)) as (url, banner):
        body = {
            "model": "sonnet",
            "session_id": "wheel-1",
            "messages": [{"role": "user", "content": "Hello"}],
        }
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
            answer = await http.post("/v1/chat/completions", json=body)
            page = await http.get("/")
    assert answer.json()["choices"][0]["message"]["content"] == 'Demo model: you said "Hello".'
    assert page.status_code == 200
    database = tmp_path / "data" / SCRIPT / "sessions.db"
    assert database.is_file()
    assert f"Data         {database}\n" in banner
    assert f"Settings     {settings}\n" in banner
    assert list(work.iterdir()) == []
    assert upstream.requests[-1].body["messages"][-1]["role"] == "user"


async def test_a_folder_that_holds_data_already_is_used(
    installed: Path, tmp_path: Path, upstream: FakeAnthropic
) -> None:
    lines = (f"{name}={value}\n" for name, value in upstream.environment("anthropic").items())
    (tmp_path / ".env").write_text("".join(lines))
    async with serving(installed, tmp_path, environ(tmp_path)) as (_, banner):
        assert f"Data         {tmp_path / 'sessions.db'}\n" in banner
        assert f"Settings     {tmp_path / '.env'}\n" in banner


def test_poetry_still_has_no_package_to_install() -> None:
    assert PYPROJECT["tool"]["poetry"]["package-mode"] is False
