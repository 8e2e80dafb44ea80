"""What only few servers need is in no other's memory."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from stores import StoreLimits, make_store

pytestmark = pytest.mark.wire

ROOT = Path(__file__).parents[2]
OPENED = """
import asyncio, sys
import main
from stores import StoreLimits, make_store

async def opened(url):
    async with make_store(url, StoreLimits()):
        return sorted({"alembic", "httpx"} & sys.modules.keys())

for url in sys.argv[1:]:
    print(*asyncio.run(opened(url)))
"""


async def loaded(*database_urls: str) -> list[str]:
    """Which of the large libraries a server has loaded after it opened each of these databases."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OPENED, *database_urls),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().splitlines()


async def test_large_libraries_are_loaded_where_they_have_something_to_do(tmp_path: Path) -> None:
    known, new = (f"sqlite:///{tmp_path}/{name}.db" for name in ("known", "new"))
    async with make_store(known, StoreLimits()):
        pass  # its tables are made, in this process
    assert await loaded(known, new) == ["", "alembic"]
