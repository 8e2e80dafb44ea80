"""The documentation as a site: it builds, and no link leads nowhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts import site

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.wire, pytest.mark.timeout(180)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of its own."""
    caches = shutil.ignore_patterns(".git", ".venv", ".*cache*", "__pycache__", ".hypothesis")
    copy = tmp_path / "project"
    shutil.copytree(ROOT, copy, ignore=caches)
    for name, place in {"ROOT": "", "SOURCE": ".cache/site-source", "SITE": ".cache/site"}.items():
        monkeypatch.setattr(site, name, copy / place)
    return copy


def test_the_pages_become_a_site_with_a_search(project: Path) -> None:
    assert site.main() == 0
    built = project / ".cache/site"
    assert "MODEL_SUCCESSORS" in (built / "docs/configuration.html").read_text()
    assert "Getting started" in (built / "search/search_index.json").read_text()
    assert (built / "examples/chat.py").is_file()


def test_a_link_that_leads_nowhere_ends_the_build(project: Path) -> None:
    page = project / "docs/sessions.md"
    page.write_text(page.read_text() + "\n[gone](nowhere.md)\n")
    assert site.main() != 0
