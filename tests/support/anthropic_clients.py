"""Anthropic's official client, pointed at a server of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anthropic import AsyncAnthropic


@asynccontextmanager
async def anthropic_client(
    url: str, key: str = "unused", **options: Any
) -> AsyncIterator[AsyncAnthropic]:
    """It asks once, unless told otherwise."""
    async with AsyncAnthropic(base_url=url, api_key=key, **{"max_retries": 0, **options}) as client:
        yield client
