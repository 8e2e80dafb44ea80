"""What the pages say beside their blocks is as the code has it, and their links lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from commands.banner import banner
from config.credentials import Credentials, detect_credentials
from config.settings import Settings
from scripts import configuration
from tests.support.pages import PAGES, ROOT, anchors, blocks, links, name_of

START = ROOT / "docs" / "getting-started.md"


def test_the_nginx_of_the_page_is_told_what_the_tested_one_is() -> None:
    [block] = [block for block in blocks() if block.language == "nginx"]
    tested = " ".join((ROOT / "deploy" / "nginx.conf.template").read_text().split())
    reported = [
        line.strip() for line in block.text.splitlines() if line.strip().startswith("proxy_")
    ]
    assert [line for line in reported if line not in tested and "proxy_pass" not in line] == []


def test_the_first_lines_of_a_server_are_as_shown() -> None:
    start = [block for block in blocks() if block.page == name_of(START)]
    [block] = [block for block in start if block.language == "text"]
    found = Credentials("anthropic", "ANTHROPIC_API_KEY is set.", bare=True)
    assert block.text in banner(Settings.model_construct(), 8000, found)


SITUATIONS = [
    {},
    {"CLAUDE_USE_SUBSCRIPTION": "1"},
    {"CLAUDE_CODE_USE_BEDROCK": "1"},
    {"CLAUDE_CODE_USE_BEDROCK": "1", "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "half"},
    {"CLAUDE_CODE_USE_VERTEX": "1"},
]


@pytest.mark.parametrize("environ", SITUATIONS, ids=lambda environ: " ".join(environ) or "nothing")
def test_the_start_page_tells_what_the_status_says_is_missing(environ: dict[str, str]) -> None:
    wants_login = "CLAUDE_USE_SUBSCRIPTION" in environ
    settings = Settings.model_construct(claude_use_subscription=wants_login)
    found = detect_credentials(settings, environ)
    page = START.read_text()
    assert f"| `{found.method}` | `{found.missing[0]}` |" in page
    assert found.hint
    assert found.hint in page


def test_the_start_page_goes_by_the_order_in_which_credentials_are_looked_for() -> None:
    start = [block for block in blocks() if block.page == name_of(START)]
    shown = [block.text for block in start if block.language == "env"]
    variables = [dict(re.findall(r"^(\w+)=(.*)$", text, re.M)) for text in shown]
    each = [detect_credentials(Settings.model_construct(), environ) for environ in variables]
    assert [found.method for found in each] == ["bedrock", "vertex", "anthropic", "claude_cli"]
    assert [found.missing for found in each] == [()] * 4
    for position, found in enumerate(each):
        rest = {name: value for later in variables[position:] for name, value in later.items()}
        assert detect_credentials(Settings.model_construct(), rest).method == found.method


FIGURES = {
    "first token of a new conversation": ("fresh", "p50_ms"),
    "first token with an unseen system prompt": ("unseen", "p50_ms"),
    "first token after an unseen history of 200 messages": ("long", "p50_ms"),
    "first token of a follow-up": ("follow_up", "p50_ms"),
    "first token after a function's result": ("tool", "p50_ms"),
    "requests a second, four clients": ("4", "requests_per_second"),
}


@pytest.mark.parametrize("title", FIGURES)
def test_the_figures_of_the_first_page_are_the_measured_ones(title: str) -> None:
    """Rounded: they need not change with every measurement."""
    measured = json.loads((ROOT / "benchmarks" / "results" / "latest.json").read_text())
    row = re.search(
        rf"^\| {title} \| (\S+).*? \| (\S*).*\|$", (ROOT / "README.md").read_text(), re.M
    )
    assert row
    case, name = FIGURES[title]
    for shown, who in zip(row.groups(), ("ours", "naive"), strict=True):
        if shown:
            results = measured["latency"].get(case, {}).get(who) or measured["load"][who][case]
            assert float(shown) == pytest.approx(results[name], rel=0.25)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_configuration_page_shows_every_setting_as_it_is() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    shown = page.split("<!-- settings:begin -->\n")[1].split("<!-- settings:end -->")[0]
    assert shown == f"\n{configuration.tables()}", "run: python scripts/configuration.py"
