"""Takes the pictures of the page that docs/operating.md shows: `python -m scripts.screenshots`.

A server with the demo model, three weeks of made-up usage and an agent that waits for a person, in
a real Chromium (`make browser`).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from core.events import Usage
from stores import StoreLimits, make_store, make_usage_stores
from stores.usage import TurnRecord

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"
PORT: Final = 8765
URL: Final = f"http://127.0.0.1:{PORT}"
KEY: Final = "sk-for-the-pictures"
OPERATOR: Final = {"authorization": f"Bearer {KEY}"}
HOURS: Final = 24 * 20
MODELS: Final = ("claude-sonnet-5", "claude-haiku-5-5", "claude-opus-5")
NAMES: Final = ("alice", "ci", "n8n")
DIALECTS: Final = ("chat", "responses", "messages")

AGENT: Final = """---
description: Makes failing tests pass.
model: sonnet
workspace: shop
tools: Read, Edit
ask: Edit
---
You make failing tests pass.
"""
BEFORE: Final = "def total(price: float, quantity: int) -> float:\n    return price * quantity\n"
EDIT: Final = {
    "old_string": "    return price * quantity\n",
    "new_string": "    return round(price * quantity, 2)\n",
}
TALK: Final = (
    "What does this server do that others do not?",
    "And how long is the first token?",
)


async def main() -> int:
    if shutil.which("chromium") is None:
        sys.stderr.write("There is no Chromium on this machine: `make browser` fetches it.\n")
        return 1
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        await _used(folder)
        await stack.enter_async_context(_server(folder))
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=URL, headers=OPERATOR, timeout=60)
        )
        waiting = asyncio.create_task(_busy(http, folder))
        await asyncio.sleep(6)
        await _pictures(stack, folder)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    return 0


async def _used(folder: Path) -> None:
    """Usage of the last hours, always the same."""
    chance = random.Random(7)
    store = make_store(f"sqlite:///{folder / 'usage.db'}", StoreLimits())
    ledger, _ = make_usage_stores(store)
    async with store:
        now = time.time()
        records = [
            _record(chance, now - hour * 3_600 - chance.random() * 1_800, f"req_{hour}_{number}")
            for hour in range(HOURS)
            for number in range(int(3 + 8 * chance.random()))
        ]
        await ledger.write(records, {})


def _record(chance: random.Random, at: float, request_id: str) -> TurnRecord:
    has_failed = chance.random() < 0.03
    read, written = chance.randint(500, 30_000), chance.randint(50, 900)
    return TurnRecord(
        request_id,
        at,
        chance.choice(NAMES),
        chance.choice(DIALECTS),
        model_asked="sonnet",
        model=chance.choices(MODELS, (6, 3, 1))[0],
        usage=Usage() if has_failed else Usage(read // 4, read // 2, read // 4, written),
        cost_usd=None if has_failed else read * 1e-6 + written * 15e-6,
        first_token_ms=None if has_failed else chance.uniform(400, 1_500),
        duration_ms=chance.uniform(1_500, 9_000),
        status=529 if has_failed else 200,
        error="overloaded" if has_failed else None,
    )


@asynccontextmanager
async def _server(folder: Path) -> AsyncIterator[None]:
    (folder / "agents").mkdir()
    (folder / "agents/test-fixer.md").write_text(AGENT)
    (folder / "work/shop").mkdir(parents=True)
    (folder / "work/shop/prices.py").write_text(BEFORE)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "API_KEY": KEY,
        "OPERATOR_KEYS": "default",
        "DATABASE_URL": f"sqlite:///{folder / 'usage.db'}",
        "AGENTS_DIR": str(folder / "agents"),
        "WORKSPACE_ROOT": str(folder / "work"),
        "ALLOWED_TOOLS": "Read,Edit",
        "LOG_LEVEL": "warning",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "main.py"), "--demo", str(PORT), cwd=folder, env=environment,
        stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30), httpx.AsyncClient() as http:
            is_there = await _answers(http)
            while not is_there:
                await asyncio.sleep(0.2)
                is_there = await _answers(http)
        yield
    finally:
        process.terminate()
        await process.wait()


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get(f"{URL}/health")).is_success
    except httpx.TransportError:
        return False


async def _busy(http: httpx.AsyncClient, folder: Path) -> None:
    """Keys, sessions, and an agent that waits."""
    for name, limit in (("alice", 5), ("ci", 20), ("n8n", 2)):
        await http.post("/v1/keys", json={"name": name, "usd_per_day": limit})
    body: dict[str, Any] = {"model": "sonnet", "session_id": "notes"}
    for text in TALK:
        messages = [{"role": "user", "content": text}]
        await http.post("/v1/chat/completions", json={**body, "messages": messages})
    file = {"file_path": str(folder / "work/shop/prices.py")}
    steps = [[{"name": "Read", "input": file}], [{"name": "Edit", "input": {**file, **EDIT}}]]
    messages = [{"role": "user", "content": f"!demo steps={json.dumps(steps)}"}]
    fixing = {"model": "test-fixer", "session_id": "prices", "messages": messages}
    answer = await http.post("/v1/chat/completions", json=fixing)
    sys.stderr.write(f"The agent did not wait: {answer.text}\n")


async def _pictures(stack: AsyncExitStack, folder: Path) -> None:
    from playwright.async_api import async_playwright

    playwright = await stack.enter_async_context(async_playwright())
    chromium = await playwright.chromium.launch(
        executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
    )
    stack.push_async_callback(chromium.close)
    wide = await _signed_in(chromium, 1280)
    await _taken(wide, "overview", ".tile")
    await _taken(wide, "keys", "td")
    await _taken(wide, "approvals", "button")
    await wide.evaluate("location.hash = 'playground'")
    await wide.wait_for_selector("[data-view=playground] textarea")
    for text in TALK:
        await wide.fill("[data-view=playground] textarea", text)
        await wide.keyboard.press("Control+Enter")
        await asyncio.sleep(2)
    await wide.screenshot(path=DOCS / "operating-playground.png", full_page=True)
    small = await _signed_in(chromium, 390)
    await _taken(small, "usage", "svg", "usage-390")


async def _signed_in(chromium: Any, width: int) -> Any:
    context = await chromium.new_context(viewport={"width": width, "height": 900})
    page = await context.new_page()
    await page.goto(f"{URL}/")
    await page.fill("#key", KEY)
    await page.click("button[type=submit]")
    await page.wait_for_selector("main .tile")
    return page


async def _taken(page: Any, section: str, shows: str, name: str = "") -> None:
    await page.evaluate("section => { location.hash = section }", section)
    await page.wait_for_selector(f"[data-view={section}] {shows}")
    await page.screenshot(path=DOCS / f"operating-{name or section}.png", full_page=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
