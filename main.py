"""The app, put together: `create_app`, what lives as long as it, and `uvicorn main:app`.

`python main.py --help` is the command line (commands/command_line.py).
"""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":  # first, since most commands need nothing of what follows
    from importlib import import_module

    from commands.command_line import main

    def create_app_later(settings: Settings, *, demo: bool) -> FastAPI:
        """As `create_app`, in the module of that name: this one is `__main__`."""
        made: FastAPI = import_module("main").create_app(settings, demo=demo)
        return made

    sys.exit(main(sys.argv[1:], create_app_later))

gc.disable()  # what is loaded stays: collecting garbage in it would be a third of the start-up time

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import cache

from fastapi import Depends, FastAPI

from auth import LOCAL, Keyring, load_keyring
from claude_cli import ClaudeEngine
from commands.demo_mode import demo_credentials, with_scratch_workspaces
from config.credentials import detect_credentials
from config.logs import configure_logging
from config.settings import Settings, SettingsError, host_environ, load_settings
from core.addresses import is_loopback
from core.version import NAME, VERSION
from engine.launch import secret_names
from rate_limiter import RateLimiter
from session_manager import RunTurn, SessionManager, SessionRules
from stores import (
    ResponseLimits,
    Store,
    StoreLimits,
    make_response_store,
    make_store,
)
from toolbox.agents import Agents
from toolbox.mcp_servers import McpServers, read_file
from toolbox.workspaces import Workspaces
from tools import ToolPolicy, base_rules
from turns.approvals import Approvals
from turns.background import BackgroundJobs, BackgroundRules
from turns.embeddings import Embeddings
from turns.images import ImageFetcher
from turns.seed_cache import SeedCache
from turns.state import State
from turns.tool_stats import ToolStats
from web import errors, openapi
from web.middleware.body_limits import check_shape
from web.middleware.stack import add_middleware
from web.routes import ROUTERS

gc.freeze()
gc.enable()

DESCRIPTION = "Claude Code for every OpenAI client."

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    settings: Settings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    demo: bool = False,
) -> FastAPI:
    """The whole server; nothing runs before its lifespan starts.

    `environ` is where credentials are looked for: by default `.env` under the process's own
    environment. With `demo` a fake upstream answers, and no credentials are looked for.
    Raises SettingsError where API_KEYS, API_KEYS_FILE or the rules of tools can't be used, and
    where `settings` is left out and a variable has an unusable value.
    """
    settings = settings or load_settings()
    base_rules(settings)
    keyring = load_keyring(settings)
    settings = _with_shares(settings, keyring)
    limiter = RateLimiter(settings)
    environ = host_environ() if environ is None else environ
    list(read_file(settings.mcp_config, environ))  # so that a bad file is reported at start-up
    app = FastAPI(
        title=NAME,
        version=VERSION,
        description=DESCRIPTION,
        lifespan=_lifespan(settings, environ, keyring, limiter, demo=demo),
    )
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(check_shape)])
    errors.install(app)
    openapi.install(app)
    add_middleware(app, settings, keyring, limiter)
    return app


def _with_shares(settings: Settings, keyring: Keyring) -> Settings:
    """Where there are several keys, none can take all processes."""
    most = settings.max_processes
    if settings.max_processes_per_key is not None or len(keyring.names()) < 2 or most < 2:
        return settings
    share = most - max(1, most // 4)
    return settings.model_copy(update={"max_processes_per_key": share})


def create_demo_app() -> FastAPI:
    """For `uvicorn --factory`, which is how `--demo --reload` starts it."""
    return _app(demo=True)


def _lifespan(
    settings: Settings,
    environ: Mapping[str, str],
    keyring: Keyring,
    limiter: RateLimiter,
    *,
    demo: bool,
) -> Lifespan:
    store = _store(settings, demo=demo)
    is_elsewhere = settings.allow_unprotected or not is_loopback(settings.host)
    is_exposed = is_elsewhere and not keyring
    names = keyring.names() or {LOCAL.name}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _exempt_what_stays()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(limiter.aclose)
            if demo:
                credentials = await demo_credentials(stack, settings, environ)
            else:  # in a thread: on macOS it asks the CLI
                credentials = await asyncio.to_thread(detect_credentials, settings, environ)
            used = with_scratch_workspaces(stack, settings) if demo else settings
            engine = await stack.enter_async_context(ClaudeEngine(used, credentials))
            images = ImageFetcher(enabled=settings.image_urls)
            embeddings = Embeddings(settings.embeddings_base_url, settings.embeddings_api_key)
            stack.push_async_callback(embeddings.aclose)
            secrets = secret_names(credentials.environment)
            workspaces = Workspaces(used.workspace_root)
            tool_stats = ToolStats()
            approvals = Approvals(settings.approval_seconds)
            stack.push_async_callback(approvals.aclose)
            run_turn = approvals.watched(tool_stats.watched(engine.run))
            manager = _sessions(settings, store, workspaces, run_turn)
            sessions = await stack.enter_async_context(manager)
            background = await stack.enter_async_context(_background(settings, store))
            app.state.gateway = State(
                settings=used,
                credentials=credentials,
                engine=engine,
                catalogue=engine.catalogue,
                images=images,
                embeddings=embeddings,
                sessions=sessions,
                background=background,
                limiter=limiter,
                seeds=SeedCache(settings.seed_cache_seconds),
                tools=ToolPolicy(settings, store, names, is_exposed=is_exposed),
                tool_stats=tool_stats,
                workspaces=workspaces,
                mcp_servers=McpServers(read_file(settings.mcp_config, environ, secrets), store),
                approvals=approvals,
                agents=Agents(settings.agents_dir, used.workspace_root),
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


def _store(settings: Settings, *, demo: bool) -> Store:
    """A demo leaves nothing behind, unless a place is set. Raises SettingsError."""
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


def _sessions(
    settings: Settings, store: Store, workspaces: Workspaces, run_turn: RunTurn
) -> SessionManager:
    rules = SessionRules(
        wait_seconds=settings.session_wait_seconds,
        lease_seconds=settings.session_lease_seconds,
        max_bytes=settings.max_session_bytes,
        max_owner_bytes=settings.max_stored_bytes,
        sweep_seconds=settings.session_sweep_seconds,
    )
    return SessionManager(store, workspaces, run_turn, rules)


def _background(settings: Settings, store: Store) -> BackgroundJobs:
    lease_seconds = settings.session_lease_seconds
    limits = ResponseLimits(settings.response_ttl_seconds, lease_seconds)
    rules = BackgroundRules(
        max_running=settings.max_background_responses,
        lease_seconds=lease_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        sweep_seconds=settings.session_sweep_seconds,
    )
    return BackgroundJobs(make_response_store(store, limits), rules)


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
