"""A demo's own world: a fake upstream, and nothing of it outlives the process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

from config.credentials import Credentials, detect_credentials
from config.scratch import scratch_directory
from config.settings import Settings


async def demo_credentials(
    stack: AsyncExitStack, settings: Settings, environ: Mapping[str, str]
) -> Credentials:
    """The fake upstream's dummy key and an empty home: real credentials are out of the CLI's
    reach."""
    from demo import FakeAnthropic  # only where it is asked for: a server of its own

    upstream = await stack.enter_async_context(FakeAnthropic(record=100, speaks=True))
    home = str(stack.enter_context(scratch_directory()))
    own = {"HOME": home, "CLAUDE_CONFIG_DIR": f"{home}/.claude"}
    own |= {"PATH": environ.get("PATH", os.defpath), **upstream.environment("anthropic")}
    plain = settings.model_copy(
        update={"claude_use_subscription": False, "anthropic_custom_headers": None}
    )
    found = detect_credentials(plain, own)
    return replace(found, detected_by="Demo: a fake upstream answers, no account is used.")


def with_scratch_workspaces(stack: AsyncExitStack, settings: Settings) -> Settings:
    """For a demo, which leaves no directories behind, unless a place is set."""
    if "workspace_root" in settings.model_fields_set:
        return settings
    scratch = stack.enter_context(scratch_directory())
    return settings.model_copy(update={"workspace_root": scratch / "workspaces"})
