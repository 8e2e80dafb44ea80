"""The app, put together: `create_app`, what lives as long as it, and `uvicorn main:app`.

`python main.py --help` is the command line (commands/command_line.py).
"""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":  # first, since most commands need nothing of what follows
    from commands import command_line

    sys.exit(command_line.main(sys.argv[1:]))

gc.disable()  # what is loaded stays: looking for garbage in it would be a third of the start

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware

from auth import KeyBook, load_keyring
from claude_cli import ClaudeEngine
from config.credentials import Credentials, detect_credentials
from config.logs import configure_logging
from config.settings import Settings, SettingsError, host_environ, load_settings
from core.addresses import is_loopback
from core.version import NAME, VERSION
from engine.launch import secret_names
from rate_limiter import RateLimiter
from session_manager import RunTurn, SessionManager, SessionRules
from stores import (
    SessionStore,
    StoreLimits,
    UsageLedger,
    make_store,
    make_usage_stores,
)
from toolbox.mcp_servers import McpServers, read_file
from toolbox.workspaces import Workspaces
from tools import ToolPolicy, base_rules
from turns.budgets import Budgets
from turns.images import ImageFetcher
from turns.seed_cache import SeedCache
from turns.state import State
from turns.tool_stats import ToolStats
from turns.usage import UsageRecorder
from web import errors, openapi
from web.middleware.access import Gate
from web.middleware.body_limits import Bounds, check_shape
from web.middleware.browser_security import Browsers
from web.middleware.request_log import RequestLog
from web.routes import (
    auth,
    chat,
    debug,
    health,
    keys,
    mcp,
    models,
    pool,
    root,
    session_files,
    sessions,
    tools,
    usage,
)

gc.freeze()
gc.enable()

DESCRIPTION = "Claude Code for every OpenAI client."

EXPOSED_HEADERS = (
    "x-request-id",
    "x-client-request-id",
    "retry-after",
    "x-should-retry",
    "x-ignored-parameters",
    "x-claude-cost-usd",
    "x-session-id",
    "x-session-status",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
)

ROUTES = (
    chat,
    sessions,
    session_files,
    models,
    usage,
    keys,
    tools,
    mcp,
    debug,
    auth,
    pool,
    health,
    root,
)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    settings: Settings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    demo: bool = False,
) -> FastAPI:
    """The whole server; nothing runs before its lifespan starts.

    `environ` is where credentials are looked for: by default `.env` under the process's own
    environment. With `demo` a stand-in answers, and no credentials are looked for.
    Raises SettingsError where API_KEYS, API_KEYS_FILE or the rules of tools can't be used, and
    where `settings` is left out and a variable has an unusable value.
    """
    settings = settings or load_settings()
    base_rules(settings)
    keyring = load_keyring(settings)
    limiter = RateLimiter(settings)
    environ = host_environ() if environ is None else environ
    list(read_file(settings.mcp_config, environ))  # that a bad file is told at once
    store = _store(settings, demo=demo)
    ledger, key_store = make_usage_stores(store)
    book = KeyBook(keyring, key_store)
    app = FastAPI(
        title=NAME,
        version=VERSION,
        description=DESCRIPTION,
        lifespan=_lifespan(settings, environ, book, limiter, store, ledger, demo=demo),
    )
    for module in ROUTES:
        app.include_router(module.router, dependencies=[Depends(check_shape)])
    errors.install(app)
    openapi.install(app)
    _add_middleware(app, settings, book, limiter)
    return app


def create_demo_app() -> FastAPI:
    """For `uvicorn --factory`, which is how `--demo --reload` starts it."""
    return _app(demo=True)


def _add_middleware(app: FastAPI, settings: Settings, book: KeyBook, limiter: RateLimiter) -> None:
    """The last added is the outermost."""
    app.add_middleware(Bounds, settings=settings)
    app.add_middleware(Gate, settings=settings, keys=book, limiter=limiter)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_credentials=False,  # keys travel in a header; no cookie is ever read
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(Browsers, settings=settings, keys=book)
    app.add_middleware(RequestLog)


def _lifespan(
    settings: Settings,
    environ: Mapping[str, str],
    book: KeyBook,
    limiter: RateLimiter,
    store: SessionStore,
    ledger: UsageLedger,
    *,
    demo: bool,
) -> Lifespan:
    is_elsewhere = settings.allow_unprotected or not is_loopback(settings.host)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _exempt_what_stays()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(limiter.aclose)
            if demo:
                credentials = await _demo_credentials(stack, settings, environ)
            else:  # in a thread: on macOS it asks the CLI
                credentials = await asyncio.to_thread(detect_credentials, settings, environ)
            used = _rooted(stack, settings) if demo else settings
            engine = await stack.enter_async_context(ClaudeEngine(used, credentials))
            images = ImageFetcher(enabled=settings.image_urls)
            secrets = secret_names(credentials.environment)
            workspaces = Workspaces(used.workspace_root)
            tool_stats = ToolStats()
            run_turn = tool_stats.watched(engine.run)
            manager = _sessions(settings, store, workspaces, run_turn)
            sessions = await stack.enter_async_context(manager)
            await book.refresh()
            is_exposed = is_elsewhere and not book.is_protected
            keep_seconds = settings.usage_retention_days * 86_400
            recorder = UsageRecorder(ledger, keep_seconds=keep_seconds)
            await stack.enter_async_context(recorder)
            app.state.gateway = State(
                settings=used,
                credentials=credentials,
                engine=engine,
                catalogue=engine.catalogue,
                images=images,
                sessions=sessions,
                seeds=SeedCache(settings.seed_cache_seconds),
                tools=ToolPolicy(settings, store, book, is_exposed=is_exposed),
                tool_stats=tool_stats,
                keys=book,
                usage=recorder,
                budgets=Budgets(recorder),
                workspaces=workspaces,
                mcp_servers=McpServers(read_file(settings.mcp_config, environ, secrets), store),
                reachable_without_key=is_exposed,
            )
            yield

    return lifespan


@cache
def _exempt_what_stays() -> None:
    """Takes what was made since, as what was loaded, out of the garbage collector's sight: it looks
    at all objects only when their number has grown by a quarter, and meanwhile garbage piles up."""
    gc.collect()
    gc.freeze()


def _store(settings: Settings, *, demo: bool) -> SessionStore:
    """A demo leaves nothing behind, unless it is told where. Raises SettingsError."""
    forget = demo and "database_url" not in settings.model_fields_set
    limits = StoreLimits(
        ttl_seconds=settings.session_ttl_seconds,
        max_sessions=settings.max_sessions,
        lease_seconds=settings.session_lease_seconds,
    )
    try:
        return make_store("sqlite://" if forget else settings.database_url, limits)
    except ValueError as error:
        raise SettingsError(f"DATABASE_URL {error}.") from None


def _rooted(stack: AsyncExitStack, settings: Settings) -> Settings:
    """For a demo, which leaves no directories behind, unless it is told where."""
    if "workspace_root" in settings.model_fields_set:
        return settings
    scratch = TemporaryDirectory(prefix="claude-demo-", ignore_cleanup_errors=True)
    return settings.model_copy(update={"workspace_root": Path(stack.enter_context(scratch))})


def _sessions(
    settings: Settings, store: SessionStore, workspaces: Workspaces, run_turn: RunTurn
) -> SessionManager:
    rules = SessionRules(
        wait_seconds=settings.session_wait_seconds,
        lease_seconds=settings.session_lease_seconds,
        max_bytes=settings.max_session_bytes,
        sweep_seconds=settings.session_sweep_seconds,
    )
    return SessionManager(store, workspaces, run_turn, rules)


async def _demo_credentials(
    stack: AsyncExitStack, settings: Settings, environ: Mapping[str, str]
) -> Credentials:
    """The stand-in's dummy key and an empty home: real credentials are out of the CLI's reach."""
    from demo import FakeAnthropic  # only where it is asked for: a server of its own

    upstream = await stack.enter_async_context(FakeAnthropic(record=100))
    scratch = TemporaryDirectory(prefix="claude-demo-", ignore_cleanup_errors=True)
    home = stack.enter_context(scratch)
    own = {"HOME": home, "CLAUDE_CONFIG_DIR": f"{home}/.claude"}
    own |= {"PATH": environ.get("PATH", os.defpath), **upstream.environment("anthropic")}
    plain = settings.model_copy(
        update={"claude_use_subscription": False, "anthropic_custom_headers": None}
    )
    found = detect_credentials(plain, own)
    return replace(found, detected_by="Demo: a stand-in answers, no account is used.")


def _app(*, demo: bool = False) -> FastAPI:
    """The app with its logging, for a server; a bad setting ends the process with one sentence."""
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    configure_logging(settings)
    try:
        return create_app(settings, demo=demo)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None


def __getattr__(name: str) -> FastAPI:
    """`main.app`, made when a server asks for it: importing this module reads no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = globals()["app"] = _app()
    return app
