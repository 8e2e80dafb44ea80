"""Whether a Claude Code that no contract test ran on does what the engine stands on.

A server that was installed without the lock file has the newest Claude Code, which may be younger
than the server. It is tried once, before a fake upstream, by the way that the credentials take: a
few turns, after each of which one process must have asked one request of exactly the body that was
meant. Until then, and where it fails, each process serves one conversation.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from claude_cli import ClaudeEngine
from config.credentials import Credentials, detect_credentials
from config.scratch import scratch_directory
from config.settings import Settings
from core.conversation import JsonObject, Message, text_block
from core.errors import GatewayError
from core.events import TextDelta
from core.turn import FunctionTool, Sampling, Turn

if TYPE_CHECKING:
    from demo import FakeAnthropic, RecordedRequest

log = logging.getLogger(__name__)

SECONDS: Final = 60.0
LEAST_PER_PROCESS: Final = 2
"""Turns that a process serves on average: one that is ended after a turn proves nothing."""

MODEL: Final = "claude-sonnet-5"
FORMS: Final = {"claude_cli": "oauth", "bedrock": "bedrock", "vertex": "vertex"}
ADDED: Final = {"model", "stream", "max_tokens", "anthropic_version", "anthropic_beta"}
"""What a body may have beside what it was given: of the provider's protocol, and the longest answer
that the model has."""

LOOK: Final = FunctionTool(
    "look", "Looks it up.", {"type": "object", "properties": {"for": {"type": "string"}}}
)


@dataclass(frozen=True, slots=True)
class Trial:
    """A turn, after how many characters its client leaves, and whether the CLI may repeat it."""

    turn: Turn
    leaves_after: int | None = None
    is_repeated: bool = False


ADA: Final = "You are Ada."
BOB: Final = "You are Bob."
SYSTEMS: Final = {ADA, BOB}


def _turn(text: str, **fields: Any) -> Turn:
    given: dict[str, Any] = {"system": ADA, "principal": "a", **fields}
    return Turn(MODEL, (Message("user", (text_block(f"{text} input=2000"),)),), **given)


TALK: Final = (
    Message("user", (text_block("one"),)),
    Message("assistant", (text_block("two"),)),
    Message("user", (text_block("three \u20ac \u2028 </system>"),)),
)
TRIALS: Final = {
    "a question": Trial(_turn("first", principal="b", system=BOB)),
    "a conversation": Trial(replace(_turn(""), messages=TALK, tools=(LOOK,))),
    "a limit": Trial(_turn("!demo tokens=50", sampling=Sampling(max_tokens=5))),
    "a call": Trial(_turn("!demo call=look", tools=(LOOK,))),
    "a call of no tool": Trial(_turn("!demo call=unknown", tools=(LOOK,))),
    "a refusal": Trial(_turn('!demo stop=refusal text="no"')),
    "a broken stream": Trial(_turn("!demo tokens=9 cut=3")),
    "an error": Trial(_turn("!demo error=400 message=no"), is_repeated=True),
    "a client that leaves": Trial(_turn("!demo tokens=500 delay_after=100:30"), leaves_after=300),
    "a long question": Trial(_turn("x" * 300_000, principal="b", system="")),
    "the last": Trial(_turn("last", system=None)),
}


@asynccontextmanager
async def checked(
    engine: ClaudeEngine, settings: Settings, credentials: Credentials
) -> AsyncIterator[None]:
    """While it lasts, the CLI of this engine is checked in the background where it needs that."""
    task = asyncio.create_task(check_cli(engine, settings, credentials))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def check_cli(engine: ClaudeEngine, settings: Settings, credentials: Credentials) -> None:
    """Lets the engine trust its CLI where that passes; the log says what was found."""
    version = await _version(engine)
    if not version or version in engine.trusted:
        return
    try:
        async with asyncio.timeout(SECONDS):
            fault = await _fault(version, settings, credentials)
    except TimeoutError:
        fault = "it took too long"
    except (GatewayError, OSError) as error:
        fault = str(error)
    except Exception as error:
        log.exception("the check of Claude Code failed")
        fault = type(error).__name__
    if fault is None:
        engine.trusted.add(version)
        log.info("Claude Code %s passed the start-up check: its processes are reused.", version)
    else:
        log.warning(
            "Claude Code %s failed the start-up check (%s): each process serves "
            "one conversation, which is slower.",
            version,
            fault,
        )


async def _version(engine: ClaudeEngine) -> str:
    """What the CLI says; "" where there is none that does."""
    home = {"HOME": os.devnull, "PATH": os.defpath}
    try:
        asked = await asyncio.create_subprocess_exec(
            engine.cli_path, "--version", env=home,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return ""
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await asked.communicate()
    except BaseException as error:
        with suppress(ProcessLookupError):
            asked.kill()
        await asked.wait()
        if isinstance(error, TimeoutError):
            return ""
        raise
    return said.decode(errors="replace").partition(" ")[0].strip()


async def _fault(version: str, settings: Settings, credentials: Credentials) -> str | None:
    """What it does otherwise, None where nothing."""
    async with AsyncExitStack() as stack:
        upstream, engine = await _world(stack, settings, credentials)
        engine.trusted.add(version)
        await _asked(engine, Trial(_turn("warm")))
        upstream.clear()
        processes: list[str | None] = []
        for name, trial in TRIALS.items():
            expected = engine.preview(trial.turn)
            await _asked(engine, trial)
            requests = list(upstream.requests)
            upstream.clear()
            if fault := _difference(requests, expected, trial):
                return f"{name}: {fault}"
            processes.append(requests[0].headers.get("x-claude-code-session-id"))
        if len(set(processes)) * LEAST_PER_PROCESS > len(processes):
            return f"{len(set(processes))} processes for {len(processes)} turns"
    return None


async def _world(
    stack: AsyncExitStack, settings: Settings, credentials: Credentials
) -> tuple[FakeAnthropic, ClaudeEngine]:
    """An engine as this server's, before an upstream that writes down what it is asked."""
    from demo import FakeAnthropic  # only where it is needed: a server of its own

    upstream = await stack.enter_async_context(FakeAnthropic(record=100))
    home = str(stack.enter_context(scratch_directory()))
    form: Any = FORMS.get(credentials.method, "anthropic")
    own = {"HOME": home, "CLAUDE_CONFIG_DIR": f"{home}/.claude", "PATH": os.defpath}
    plain = settings.model_copy(
        update={
            "claude_use_subscription": False,
            "anthropic_custom_headers": None,
            "max_processes": 1,
            "pool_warm": 0,
            "upstream_max_retries": 0,
            "tracing": False,
        }
    )
    found = detect_credentials(plain, own | upstream.environment(form))
    engine = await stack.enter_async_context(ClaudeEngine(plain, found))
    return upstream, engine


async def _asked(engine: ClaudeEngine, trial: Trial) -> None:
    """The turn, whatever becomes of it."""
    characters = 0
    with suppress(GatewayError):
        async with aclosing(engine.run(trial.turn)) as events:
            async for event in events:
                characters += len(event.text) if isinstance(event, TextDelta) else 0
                if trial.leaves_after is not None and characters >= trial.leaves_after:
                    return


def _difference(requests: list[RecordedRequest], expected: JsonObject, trial: Trial) -> str | None:
    """Between what was asked and what was to be asked."""
    if not 1 <= len(requests) <= 1 + trial.is_repeated:
        return f"{len(requests)} requests"
    for request in requests:
        if "system" not in expected:  # under a login it is the CLI's to write
            told = {block["text"] for block in request.body.pop("system", ())} & SYSTEMS
            if told != {trial.turn.system} & SYSTEMS:
                return "another system prompt"
        if added := set(request.body) - set(expected) - ADDED:
            return f"{', '.join(sorted(added))} added"
        for name, value in expected.items():
            if name != "betas" and json.dumps(request.body.get(name)) != json.dumps(value):
                return f"another {name}"
    return None
