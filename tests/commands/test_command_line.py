"""The command line: arguments, the port, the banner, and one sentence for a bad setting."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from commands import command_line
from commands.banner import banner, ignored_keys, ignored_settings
from commands.serve import PORT_TRIES, listen
from config.credentials import Credentials
from config.sandbox import missing_for_sandbox
from config.settings import Settings, SettingsError
from core.version import NAME, VERSION
from main import create_app
from tests.support.arguments import understood

ROOT = Path(__file__).parents[2]
KEY = Credentials("anthropic", "ANTHROPIC_API_KEY is set.", bare=True)
NONE = Credentials("none", "No credentials were found.", ("No credentials.",), "Do this.")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def run(
    *arguments: str, folder: Path, main: bool = True, **variables: str
) -> subprocess.CompletedProcess[str]:
    """`python main.py` in an environment made from nothing."""
    environment = {"PATH": os.defpath, "HOME": str(folder), **variables}
    command = [sys.executable, *([str(ROOT / "main.py")] if main else []), *arguments]
    return subprocess.run(
        command,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "command", "parameters"),
    [
        ((), "serve", {"port": None, "host": None, "demo": False, "reload": False}),
        (("9000", "--host", "::", "--demo"), "serve", {"port": "9000", "host": "::", "demo": True}),
        (("--reload",), "serve", {"port": None, "reload": True}),
        (("serve", "9000"), "serve", {"port": "9000"}),
        (("demo", "9000", "--exit"), "demo", {"port": 9000, "end": True}),
        (("service", "install", "--print"), "service install", {"show": True}),
        (("login", "--console"), "login", {}),
    ],
)
def test_a_port_and_options_are_those_of_serve_unless_a_command_is_named(
    words: tuple[str, ...], command: str, parameters: dict[str, object]
) -> None:
    name, found = understood(words)
    assert name == command
    assert {name: found[name] for name in parameters} == parameters


def test_a_free_port_is_taken_as_asked(taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    with listen("127.0.0.1", free) as listener:
        assert listener.getsockname() == ("127.0.0.1", free)


def test_where_the_port_is_taken_the_next_free_one_is_used_and_said(taken: int) -> None:
    with listen("127.0.0.1", taken) as listener:
        used = listener.getsockname()[1]
    assert taken < used <= taken + PORT_TRIES
    shown = banner(Settings.model_construct(port=taken), used, KEY)
    assert f"http://127.0.0.1:{used}/v1   ({taken} is taken, {used} is free)" in shown


def test_an_address_of_another_machine_is_told_in_one_sentence() -> None:
    with pytest.raises(SettingsError, match=r"^Cannot listen on 192\.0\.2\.1:8000: "):
        listen("192.0.2.1", 8000)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this computer has no IPv6")
def test_every_interface_of_ipv6_is_reached_by_ipv4_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    with listen("::", free) as listener:
        port = listener.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), timeout=5).close()


def test_the_search_for_a_port_has_an_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        if probe.getsockname()[1] == 65535:
            pytest.skip("the system gave the last port itself")
    with listen("127.0.0.1", 65535), pytest.raises(SettingsError, match=r"^PORT: all"):
        listen("127.0.0.1", 65535)


def test_the_banner_says_where_what_and_how() -> None:
    shown = banner(Settings.model_construct(), 8000, KEY)
    for words in (
        f"{NAME} {VERSION}",
        "http://127.0.0.1:8000/v1\n",
        "sonnet",
        "anthropic: ANTHROPIC_API_KEY is set.",
        "only this computer can connect",
        "http://127.0.0.1:8000/docs",
    ):
        assert words in shown


def test_the_banner_says_how_to_mend_missing_credentials() -> None:
    shown = banner(Settings.model_construct(), 8000, NONE)
    assert "No credentials.\n" in shown
    assert "Do this.\n" in shown


@pytest.mark.parametrize(
    ("rules", "is_said"), [(("Read",), False), (("Bash(ls)",), True), (("all",), True)]
)
def test_the_banner_says_where_commands_run_without_the_sandbox(
    rules: tuple[str, ...], is_said: bool
) -> None:
    settings = Settings.model_construct(allowed_tools=rules, sandbox="off")
    shown = banner(settings, 8000, KEY)
    assert ("SANDBOX is off." in shown) is is_said


def test_the_banner_says_what_a_sandbox_lacks() -> None:
    settings = Settings.model_construct(allowed_tools=("Bash",))
    missing = missing_for_sandbox()
    shown = banner(settings, 8000, KEY)
    assert ("No sandbox" in shown) is (missing is not None)
    assert (missing or NAME) in shown


def test_a_key_under_another_servers_name_is_said_to_mean_nothing() -> None:
    environ = {"PROXY_API_KEY": "sk-one", "AUTH_TOKEN": "", "OTHER": "x"}
    sentence = "PROXY_API_KEY is set but means nothing here: set API_KEY"
    assert ignored_keys(Settings.model_construct(), environ) == sentence
    assert ignored_keys(Settings.model_construct(api_key="sk-two"), environ) == ""
    assert f"{sentence}\n" in banner(Settings.model_construct(), 1, KEY, sentence)


def test_a_claude_that_is_not_there_is_said_to_be_ignored() -> None:
    environ = {"CLAUDE_CLI_PATH": "claude", "AUTH_TOKEN": "sk-one"}
    ignored = ignored_settings(Settings.model_construct(), environ)
    assert ignored == (
        "AUTH_TOKEN is set but means nothing here: set API_KEY; CLAUDE_CLI_PATH: there is no "
        "command claude, so the bundled Claude Code is used"
    )


def test_the_banner_of_a_demo_says_so() -> None:
    assert "DEMO" in banner(Settings.model_construct(), 8000, None)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:1/"),
        ("::", "http://127.0.0.1:1/"),
        ("192.0.2.7", "http://192.0.2.7:1/"),
        ("fd00::1", "http://[fd00::1]:1/"),
    ],
)
def test_the_banner_warns_where_others_can_connect(host: str, url: str) -> None:
    shown = banner(Settings.model_construct(host=host), 1, KEY)
    assert url in shown
    assert "NONE: anyone who can reach this address can use it" in shown


@pytest.mark.wire
def test_a_command_that_is_misspelt_has_a_suggestion(tmp_path: Path) -> None:
    ended = run("chekc", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "No such command 'chekc'. Did you mean 'check'?" in ended.stderr


@pytest.mark.wire
def test_an_older_python_is_told_what_is_needed(tmp_path: Path) -> None:
    """The module is read to its end by any Python 3, so that its sentence can come."""
    source = (ROOT / "main.py").read_text().replace("< (3, 11)", "< (99, 0)")
    (tmp_path / "main.py").write_text(source)
    ended = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        "Python 3.11 or newer is needed: run `make install`, then .venv/bin/python main.py\n"
    )


@pytest.mark.wire
def test_a_python_without_the_packages_is_told_how_to_get_them(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "main.py"), "check"],
        cwd=tmp_path,
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert re.fullmatch(
        r"The package \w+ is not installed for \S+: run `make install`, .+\n", ended.stderr
    ), ended.stderr


@pytest.mark.wire
def test_a_reader_that_has_read_enough_ends_it_quietly(tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'main.py'))} check | head -c1"
    ended = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env={"PATH": os.defpath, "HOME": str(tmp_path), "PORT": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.stderr == ""


MODULES_OF_A_SERVER = {"fastapi", "uvicorn", "sqlalchemy", "claude_agent_sdk", "httpx", "rich"}


@pytest.mark.wire
@pytest.mark.parametrize("words", [["key"], ["--version"]])
def test_small_commands_load_nothing_of_the_server(words: list[str], tmp_path: Path) -> None:
    ended = run("-c", IMPORTED, *words, folder=tmp_path, main=False, PYTHONPATH=str(ROOT))
    loaded = set(json.loads(ended.stderr.splitlines()[-1]))
    assert loaded & MODULES_OF_A_SERVER == set()


IMPORTED = """
import json, sys
from commands.command_line import main
main(sys.argv[1:], None)
sys.stderr.write("\\n" + json.dumps(sorted(sys.modules)))
"""


BAD_STARTS = [
    (("70000",), {}, "PORT must be at most 65535.\n"),
    ((), {"LOG_FORMAT": "xml"}, "LOG_FORMAT must be 'console' or 'json'.\n"),
    (("login",), {"MAX_TIMEOUT": "x"}, "MAX_TIMEOUT must be a whole number.\n"),
]


@pytest.mark.parametrize(("arguments", "variables", "sentence"), BAD_STARTS)
def test_a_bad_setting_stops_the_start_with_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    variables: dict[str, str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no .env
    monkeypatch.setattr(os, "environ", {"PATH": os.defpath, **variables})
    assert (command_line.main([*arguments], create_app), *capsys.readouterr()) == (2, "", sentence)


IMPORT_THEN_UVICORN = """
import runpy, sys, main
print("imported", flush=True)
sys.argv = ["uvicorn", "main:app"]
runpy.run_module("uvicorn", run_name="__main__")
"""


@pytest.mark.wire
def test_importing_main_reads_no_settings_and_uvicorns_own_command_stops_with_one_sentence(
    tmp_path: Path,
) -> None:
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "PORT": "x", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT_THEN_UVICORN],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    said = (ended.returncode, ended.stdout, ended.stderr)
    assert said == (2, "imported\n", "PORT must be a whole number.\n")


def test_the_version_is_told_and_is_that_of_the_project(
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["version"]) == (NAME, VERSION)
    assert command_line.main(["--version"], create_app) == 0
    assert capsys.readouterr().out.startswith(f"{NAME} {VERSION} (claude-agent-sdk")


@pytest.mark.wire
def test_login_becomes_the_clis_own_login(tmp_path: Path) -> None:
    cli = tmp_path / "claude"
    cli.write_text('#!/bin/sh\necho "$@"\n')
    cli.chmod(0o755)
    ended = run("login", "--console", folder=tmp_path, CLAUDE_CLI_PATH=str(cli))
    assert (ended.returncode, ended.stdout) == (0, "auth login --console\n")


def cors_headers(app: FastAPI) -> list[object]:
    return [layer.kwargs for layer in app.user_middleware if "allow_origins" in layer.kwargs]


def test_no_other_origin_may_call_unless_it_is_named() -> None:
    assert cors_headers(create_app(Settings.model_construct(), environ={})) == []


def test_no_origin_may_send_credentials() -> None:
    app = create_app(Settings.model_construct(cors_origins=("*",)), environ={})
    [options] = cors_headers(app)
    assert isinstance(options, dict)
    assert options["allow_credentials"] is False
