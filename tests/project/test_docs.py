"""Every block of the documentation is run, or checked with a reason why it is not run."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import subprocess
import tomllib
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import OpenAI

import demo
from auth import FILE
from config.settings import Settings, load_settings
from tests.conftest import MakeGateway
from tests.support.arguments import understood
from tests.support.harness import Gateway
from tests.support.pages import (
    INLINE_CODE,
    PAGES,
    ROOT,
    Block,
    blocks,
    commands,
    known_variables,
    name_of,
    prose,
    split_assignments,
    statements,
)
from toolbox.mcp_servers import McpFile

ALL = [block for block in blocks() if block.page != "ARCHITECTURE.md"]  # a drawing
SHELL = [block for block in ALL if block.language in ("sh", "bash", "shell", "console")]
PYTHON = [block for block in ALL if block.language == "python"]
DATA = [block for block in ALL if block.language in ("json", "yaml", "toml", "env")]

SHOWN = {
    "docs/claude-cli.md: the settings line:": "tests/engine/contract/test_cli.py",
    "docs/claude-cli.md: a user, an assistant, a boundary:": "tests/engine/test_builtin_tools.py",
    "docs/deployment.md: claude.example.com {": "Caddy is no package of the tests",
    "docs/deployment.md: server {": "compared with the template, which runs, below",
    "docs/getting-started.md:   URL          http://127.0.0.1:8000/v1": "compared below",
    "docs/tools.md: Read README.md → 110 lines": "see tests/dialects/chat/test_activity.py",
}
"""Blocks that nobody runs, by page and first line, each with the reason."""

OPERATOR, ALICE = "sk-of-the-operator", "sk-of-alice"

ASKS_THE_MODEL = re.compile(
    r"(chat\.completions|responses)\.create\(|/chat/completions|/v1/messages"
)


def server_of(text: str, gateway: Gateway) -> str:
    return re.sub(r"http://(127\.0\.0\.1|localhost):8000", gateway.url, text)


def test_every_block_is_of_a_kind_that_is_run_or_checked() -> None:
    known = {*SHELL, *PYTHON, *DATA}
    unknown = [str(block) for block in ALL if block not in known and first_line(block) not in SHOWN]
    assert unknown == []
    assert {first_line(block) for block in ALL} >= set(SHOWN)


def first_line(block: Block) -> str:
    return f"{block.page}: {block.text.splitlines()[0]}"


# Python: against a server, with a client where the block makes none


@pytest.mark.parametrize("block", PYTHON, ids=str)
async def test_a_python_block_runs(block: Block, gateway: Gateway) -> None:
    if block.page == "demo/README.md":
        names = {node.attr for node in ast.walk(parsed(block)) if isinstance(node, ast.Attribute)}
        fake_upstream = demo.FakeAnthropic()
        assert not {name for name in names - IN_A_REQUEST if not hasattr(fake_upstream, name)}
        return
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="unused") as client:
        await asyncio.to_thread(run_python, server_of(block.text, gateway), client)
    assert bool(gateway.upstream.requests) == bool(ASKS_THE_MODEL.search(block.text))


IN_A_REQUEST = {"messages", "outcome", "raw"}
"""It waits for a request that nobody sends; `tests/demo/test_server.py` uses it all."""


def parsed(block: Block) -> ast.AST:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(block.text, str(block), "exec", flags)
    assert isinstance(tree, ast.AST)
    return tree


def run_python(text: str, client: OpenAI) -> None:
    names: dict[str, Any] = {"client": client}
    try:
        exec(compile(text, "block", "exec"), names)
    finally:
        names["client"].close()


# Shell: curl is run; the arguments of all else are compared with what there is

PROGRAMS: dict[str, Callable[[list[str]], None]] = {}
"""What becomes of a command, by its first word."""


def program(*names: str) -> Callable[[Callable[[list[str]], None]], Callable[[list[str]], None]]:
    def registered(function: Callable[[list[str]], None]) -> Callable[[list[str]], None]:
        PROGRAMS.update(dict.fromkeys(names, function))
        return function

    return registered


@pytest.mark.parametrize("block", SHELL, ids=str)
async def test_a_shell_block_is_run_or_checked(
    block: Block, gateway: Gateway, make_gateway: MakeGateway
) -> None:
    lines = [*statements(block)]
    programs = [[check_command(block, words) for words in commands(line)] for line in lines]
    runs = [line for line, names in zip(lines, programs, strict=True) if "curl" in names]
    if "$API_KEY" in block.text:
        async with make_gateway(api_key=OPERATOR, api_keys=f"alice:{ALICE}") as gateway:
            await run_each(runs, gateway)
    else:
        await run_each(runs, gateway)
    asked = bool(gateway.upstream.requests)
    assert asked == any(ASKS_THE_MODEL.search(line) for line in runs)


async def run_each(lines: list[str], gateway: Gateway) -> None:
    for line in lines:
        await asyncio.to_thread(run_shell, server_of(line, gateway))


OWN_PAGES = [page for page in PAGES if page.name != "migrating.md"]  # test_migrating.py


@pytest.mark.parametrize("page", OWN_PAGES, ids=name_of)
def test_the_commands_within_sentences_are_right(page: Path) -> None:
    for code in INLINE_CODE.findall(prose(page)):
        is_synopsis = "[" in code or "…" in code
        if re.match(r"`(make|poetry|(\.venv/bin/)?python) ", code) and not is_synopsis:
            for words in commands(code.strip("`")):
                check_command(name_of(page), words)


def check_command(place: Block | str, words: list[str]) -> str:
    """The program's name."""
    variables, words = split_assignments(words)
    check_variables(variables)
    if not words:
        return ""
    assert words[0] in PROGRAMS, f"{place}: nothing here runs or checks {words[0]}"
    PROGRAMS[words[0]](words[1:])
    return words[0]


def run_shell(text: str) -> None:
    """An error of the server's is one of the command's."""
    fails = 'curl() { command curl --silent --show-error --fail-with-body --max-time 20 "$@"; }\n'
    done = subprocess.run(
        ["sh", "-c", fails + text],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "API_KEY": OPERATOR},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@program("curl")
def curl(words: list[str]) -> None:
    """It is run."""
    assert any(word.startswith("http://") for word in words)


@program("make")
def make(words: list[str]) -> None:
    """The targets build environments and run for minutes: they exist, with their variables."""
    makefile = (ROOT / "Makefile").read_text()
    for word in words[2:] if words[:1] == ["-C"] else words:
        name, is_variable, _ = word.partition("=")
        wanted = rf"\$\({name}\)" if is_variable else rf"^{name}:"
        assert re.search(wanted, makefile, re.M), word


@program("python", ".venv/bin/python", "python3")
def python(words: list[str]) -> None:
    """Servers stay, a login waits for a person: the arguments are read. Examples are run by
    `tests/project/test_examples.py`, `check` by `tests/commands/test_check.py`."""
    match words:
        case ["-m", module, *_]:
            assert (ROOT / module.replace(".", "/")).exists() or module == "json.tool", module
        case ["main.py", "agent", *rest]:
            assert rest in (["list"], ["check"], ["new"], ["new", "NAME"])
        case ["main.py", *rest]:
            understood(rest)
        case [script, *_]:
            assert (ROOT / script).is_file(), script


@program("claude-openai-server")
def installed(words: list[str]) -> None:
    """`tests/project/test_wheel.py` installs it."""
    understood(words)


@program("sh")
def shell_script(words: list[str]) -> None:
    """`tests/project/test_examples.py` runs those of the examples."""
    assert (ROOT / words[0]).is_file(), words[0]


@program("poetry")
def poetry(words: list[str]) -> None:
    """It would change this environment: `make install` runs the same with a Poetry of its own."""
    match words:
        case ["install"]:
            assert (ROOT / "poetry.lock").is_file()
        case ["run", *rest]:
            PROGRAMS[rest[0]](rest[1:])
        case ["update", *packages]:
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            names = {re.split(r"[\[<>=;]", text)[0] for text in project["dependencies"]}
            assert names >= set(packages)
        case _:
            pytest.fail(f"poetry {words}")


@program("export")
def export(words: list[str]) -> None:
    """The variables are known."""
    check_variables([word.partition("=")[0] for word in words])


@program("docker")
def docker(words: list[str]) -> None:
    """Not everybody has its daemon: images, services and options are compared with the files;
    `test_containers.py` and `tests/scripts/test_entrypoint.py` do without it what they do."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    match words:
        case ["build", *_, folder]:
            assert (ROOT / folder / "Dockerfile").is_file()
        case ["compose", "up" | "run", *rest]:
            named = [word for word in rest if not word.startswith("-")]
            assert not named or named[0] in compose["services"]
            PROGRAMS["python"](["main.py", *named[1:]])
        case ["run", *rest]:
            check_docker_run(rest)
        case _:
            pytest.fail(f"docker {words}")


def check_docker_run(words: list[str]) -> None:
    parser = ArgumentParser(prog="docker run", allow_abbrev=False)
    for flag in ("--rm", "--read-only", "-d", "-i", "-t"):
        parser.add_argument(flag, action="store_true")
    for once in ("--user", "--tmpfs", "--cap-drop", "--security-opt", "--name", "--restart"):
        parser.add_argument(once)
    for option in ("-p", "-e", "-v", "--env-file"):
        parser.add_argument(option, action="append", default=[])
    parser.add_argument("image")
    parser.add_argument("arguments", nargs="*")
    given, rest = parser.parse_known_args(words)
    dockerfile = (ROOT / "Dockerfile").read_text()
    check_variables([word.partition("=")[0] for word in given.e])
    assert all(f"EXPOSE {port.rpartition(':')[2]}\n" in dockerfile for port in given.p)
    folders = {volume.split(":")[1] for volume in given.v}
    assert folders <= {"/data", "/home/app/.claude", "/root/.claude"}
    PROGRAMS["python"](["main.py", *given.arguments, *rest])


@program("cp", "install")
def copy(words: list[str]) -> None:
    """It would change this folder, where other tests look, or the system: its source exists."""
    source = words[-2]
    assert (ROOT / source).exists() or [*ROOT.glob(f"deploy/*/{source}")], source


@program("cd", "git", "claude", "echo")
def harmless(words: list[str]) -> None:
    """Where the project is kept is not known here; `claude` is the vendor's."""
    assert words


@program("sudo", "useradd", "systemctl", "journalctl", "kubectl", "tailscale")
def elsewhere(words: list[str]) -> None:
    """They change a server, a cluster or a network. The files that they are given are checked in
    `tests/project/test_containers.py` and `tests/project/test_kubernetes.py`."""
    assert words


def check_variables(names: list[str]) -> None:
    assert set(names) <= known_variables()


# Data


@pytest.mark.parametrize("block", DATA, ids=str)
def test_a_block_of_data_can_be_read(
    block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    match block.language:
        case "json":
            value = json.loads(block.text)
            if block.page == "SECURITY.md":
                value["alice"]["sha256"] = "0" * 64  # the page says in words what stands there
                FILE.validate_python(value)
            if "mcpServers" in value:
                McpFile.model_validate(value)
        case "yaml":
            assert yaml.safe_load(block.text)
        case "toml":
            assert tomllib.loads(block.text)
        case _:
            read_settings(block.text, monkeypatch, tmp_path)


def read_settings(text: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As the server reads a `.env`, with nothing of this machine's environment."""
    names = re.findall(r"^([A-Za-z_]+)=", text, re.M)
    check_variables(names)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(folder)
    (folder / ".env").write_text(text)
    given = {name.lower() for name in names} & set(Settings.model_fields)
    assert load_settings().model_fields_set >= given
