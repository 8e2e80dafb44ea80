"""docs/deployment.md: what it tells people to type, and what it points to."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_containers import known_variables

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "deployment.md"
TEXT = PAGE.read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^ *```{language}\n(.+?)^ *```", TEXT, re.MULTILINE | re.DOTALL)
    assert found
    return list(found)


def test_the_shell_could_run_every_block() -> None:
    shellcheck = Path(sys.executable).parent / "shellcheck"
    # A block stands alone: what `cd` a reader does is theirs.
    command = [str(shellcheck), "--shell=sh", "--exclude=SC2164", "-"]
    for block in blocks("sh"):
        ended = subprocess.run(
            command, input=block, capture_output=True, text=True, timeout=20, check=False
        )
        assert ended.stdout == ""


def test_every_link_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT.replace("\n", " ")):
        path, _, anchor = target.partition("#")
        assert not path or (PAGE.parent / path).exists(), target
        assert not anchor or path or anchor in anchors, target


def test_every_variable_is_a_setting_or_composes_own() -> None:
    words = set(re.findall(r"(?:-e |`)([A-Z]+(?:_[A-Z]+)+)\b", TEXT))
    assert "TRUSTED_PROXIES" in words
    assert words <= known_variables() | {"CONTAINER_USER", "POSTGRES_PASSWORD"}


@pytest.mark.parametrize(
    "path",
    [
        "deploy/kubernetes/secret.env.example",
        "deploy/systemd/claude-gateway.service",
        "deploy/tls/tls.conf.example",
        ".env.example",
    ],
)
def test_every_file_that_is_copied_exists(path: str) -> None:
    assert Path(path).name in TEXT
    assert (ROOT / path).is_file()


def test_the_nginx_of_the_page_streams_as_ours_does() -> None:
    ours = (ROOT / "deploy" / "nginx.conf.template").read_text()
    (block,) = blocks("nginx")
    shown = {line.strip() for line in block.splitlines() if line.strip().startswith("proxy_")}
    shown -= {"proxy_pass http://127.0.0.1:8000;"}
    assert "proxy_buffering off;" in shown
    assert shown <= {line.strip() for line in ours.splitlines()}
