"""`make docs`: the documentation as a site with a search, into .cache/site.

The pages are those of the repository, at the same places, so that their links work on both; what
they link to beside them is copied too. A link that leads nowhere ends the build.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / ".cache/site-source"
SITE = ROOT / ".cache/site"
PAGES = ("*.md", "docs/*.md", "docs/decisions/*.md", "examples/README.md", "demo/README.md")
LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)")


def main() -> int:
    shutil.rmtree(SOURCE, ignore_errors=True)
    for pattern in PAGES:
        for page in ROOT.glob(pattern):
            copy(page)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean"]
    return subprocess.run(
        [*command, "-f", str(ROOT / "mkdocs.yml"), "-d", str(SITE)], cwd=ROOT, check=False
    ).returncode


def copy(page: Path) -> None:
    """A page, and the files that it links to."""
    target = SOURCE / page.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        linked = (page.parent / link).resolve()
        if linked.is_file() and linked.is_relative_to(ROOT) and linked.suffix != ".md":
            place = SOURCE / linked.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(linked, place)


if __name__ == "__main__":
    sys.exit(main())
