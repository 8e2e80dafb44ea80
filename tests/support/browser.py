"""A real headless Chromium for the tests of the page, which are skipped where there is none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).parents[2] / ".cache/browser/node_modules/axe-core/axe.min.js"
MISSING = "no Chromium on this machine: `make browser` fetches it"
MISSING_AXE = "no axe-core on this machine: `make browser` fetches it"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def browser(width: int = 1280, height: int = 900, **options: Any) -> AsyncIterator[Any]:
    """A context of its own, with a profile of its own. Its pages must not log any error, nor ask
    another host."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip(MISSING)
    from playwright.async_api import async_playwright

    wrong: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        async with async_playwright() as playwright:
            context = await playwright.chromium.launch_persistent_context(
                profile,
                executable_path=executable,
                args=list(FLAGS),
                viewport={"width": width, "height": height},
                **options,
            )
            context.set_default_timeout(20_000)
            context.on("weberror", lambda error: wrong.append(str(error.error)))
            context.on("request", lambda request: _check_host(request.url, wrong))
            yield context
            await context.close()
    assert wrong == []


def _check_host(url: str, wrong: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1:", "http://localhost:", "data:", "blob:")):
        wrong.append(url)


async def serious_faults(page: Any) -> list[str]:
    """What axe-core finds that is serious or critical, in the page as it is."""
    if not AXE.is_file():
        pytest.skip(MISSING_AXE)
    source = AXE.read_text()  # a test, and a file of half a megabyte
    await page.evaluate(source)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{fault['id']}: {node['html'][:200]}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
