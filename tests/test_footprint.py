"""What only few servers need is in no other's memory."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
OPENED = """
import asyncio, sys
import main
from stores import StoreLimits, make_store

async def opened():
    async with make_store(sys.argv[1], StoreLimits()):
        pass

asyncio.run(opened())
print(*sorted({"alembic", "httpx"} & sys.modules.keys()))
"""


async def loaded(database_url: str) -> str:
    """Which of the large libraries a server has loaded that uses this database."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OPENED,
        database_url,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip()


async def test_large_libraries_are_loaded_where_they_have_something_to_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    assert await loaded(url) == "alembic"  # which makes the tables
    assert await loaded(url) == ""
