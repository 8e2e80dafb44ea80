"""docs/deployment.md: its commands need Docker, a cluster or root, so they are checked, not run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import command_line
from tests.pages import ROOT, Block, blocks, commands, split_assignments, statements
from tests.test_containers import composed, known_variables

TEXT = (ROOT / "docs" / "deployment.md").read_text()
BLOCKS = [block for block in blocks() if block.page == "docs/deployment.md"]
SHELL = [block for block in BLOCKS if block.language == "sh"]
IMAGE = "claude-code-openai-server"


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    assert {block.language for block in BLOCKS} == {"sh", "nginx", "caddyfile"}


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_a_shell_could_run_every_block(block: Block) -> None:
    shellcheck = str(Path(sys.executable).parent / "shellcheck")
    # A block is typed line by line: nobody goes on after a `cd` that failed.
    command = [shellcheck, "--shell=sh", "--exclude=SC2164", "-"]
    ended = subprocess.run(
        command, input=block.text, capture_output=True, text=True, timeout=20, check=False
    )
    assert ended.stdout == ""


def typed(*start: str) -> list[list[str]]:
    """The words after `start`, of each command that begins so, its variables left out."""
    lines = [line for block in SHELL for line in statements(block)]
    plain = [split_assignments(words)[1] for line in lines for words in commands(line)]
    return [words[len(start) :] for words in plain if tuple(words[: len(start)]) == start]


def test_what_stands_behind_the_image_is_what_the_server_takes() -> None:
    runs = typed("docker", "run")
    assert len(runs) >= 5
    for words in runs:
        arguments = words[words.index(IMAGE) + 1 :]
        assert arguments == ["login"] or command_line.parser().parse_args(arguments)


def test_the_services_of_compose_exist() -> None:
    for words in typed("docker", "compose", "up"):
        assert {word for word in words if not word.startswith("-")} <= set(composed())
    named = re.findall(r"`docker compose (?:up|run --rm) (\w+)", TEXT)
    assert set(named) == {"gateway", "dev"}


def test_every_variable_is_a_setting_or_composes_own() -> None:
    words = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", TEXT))
    assert {"TRUSTED_PROXIES", "CONTAINER_USER", "ANTHROPIC_API_KEY"} <= words
    assert words <= known_variables() | {"CONTAINER_USER", "POSTGRES_PASSWORD"}


def test_every_file_that_is_copied_exists() -> None:
    copied = {words[-2] for words in (*typed("cp"), *typed("install"))} - {"."}
    places = (ROOT, ROOT / "deploy" / "kubernetes")
    assert len(copied) == 3
    assert [name for name in copied if not any((place / name).exists() for place in places)] == []


def test_the_nginx_of_the_page_streams_as_ours_does() -> None:
    ours = (ROOT / "deploy" / "nginx.conf.template").read_text()
    (block,) = (block.text for block in BLOCKS if block.language == "nginx")
    shown = {line.strip() for line in block.splitlines() if line.strip().startswith("proxy_")}
    shown -= {"proxy_pass http://127.0.0.1:8000;"}
    assert "proxy_buffering off;" in shown
    assert shown <= {line.strip() for line in ours.splitlines()}
