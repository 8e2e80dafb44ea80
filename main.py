"""The app, put together: `create_app`, what lives as long as it, and `uvicorn main:app`.

`python main.py --help` is the command line (commands/command_line.py).
"""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":  # first, since most commands need nothing of what follows
    from importlib import import_module

    if sys.version_info < (3, 11):  # noqa: UP036  # a sentence for who tries an older one
        sys.exit(
            "Python 3.11 or newer is needed: run `make install`, then .venv/bin/python main.py"
        )
    try:
        from commands.command_line import main
    except ModuleNotFoundError as missing:
        sys.exit(
            f"The package {missing.name} is not installed for {sys.executable}:"
            " run `make install`, then .venv/bin/python main.py (or poetry install, then"
            " poetry run python main.py)."
        )

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

from auth import KeyBook, load_keyring
from claude_cli import ClaudeEngine
from commands.demo_mode import demo_credentials, with_scratch_workspaces
from commands.self_check import checked
from config.credentials import Credentials, detect_credentials
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
    UsageLedger,
    make_response_store,
    make_store,
    make_usage_stores,
)
from toolbox.agents import Agents
from toolbox.mcp_servers import McpServers, read_file
from toolbox.workspaces import Workspaces
from tools import ToolPolicy, base_rules
from turns.approvals import Approvals
from turns.background import BackgroundJobs, BackgroundRules
from turns.bodies import Bodies
from turns.budgets import Budgets
from turns.conversations import ConversationsAtWork
from turns.embeddings import Embeddings
from turns.images import ImageFetcher
from turns.metrics import Metrics
from turns.seed_cache import SeedCache
from turns.state import State
from turns.stored_bytes import StoredBytes
from turns.tool_stats import ToolStats
from turns.tracing import Tracing, tracing_of
from turns.usage import UsageRecorder
from web import dashboard, errors, openapi
from web.middleware.body_limits import check_shape
from web.middleware.stack import add_middleware
from web.routes import ROUTERS
from web.sign_in import SignIn

gc.freeze()
gc.enable()

DAY_SECONDS = 86_400
DESCRIPTION = "Claude Code for every OpenAI and Anthropic client."

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
    limiter = RateLimiter(settings)
    environ = host_environ() if environ is None else environ
    list(read_file(settings.mcp_config, environ))  # so that a bad file is reported at start-up
    store = _store(settings, demo=demo)
    ledger, key_store = make_usage_stores(store)
    book = KeyBook(keyring, key_store)
    app = FastAPI(
        title=NAME,
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,  # web/routes/page.py has one that needs no other host
        redoc_url=None,
        lifespan=_lifespan(settings, environ, book, limiter, store, ledger, demo=demo),
    )
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(check_shape)])
    errors.install(app)
    openapi.install(app)
    app.state.sign_in = sign_in = SignIn(settings, book)
    app.mount("/assets", dashboard.assets(), name="assets")
    add_middleware(app, settings, book, limiter, sign_in)
    return app


def create_demo_app() -> FastAPI:
    """For `uvicorn --factory`, which is how `--demo --reload` starts it."""
    return _app(demo=True)


def _lifespan(
    settings: Settings,
    environ: Mapping[str, str],
    book: KeyBook,
    limiter: RateLimiter,
    store: Store,
    ledger: UsageLedger,
    *,
    demo: bool,
) -> Lifespan:
    tracing = tracing_of(settings)

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
            engine = await _engine(stack, used, credentials, book)
            images = ImageFetcher(enabled=settings.image_urls)
            embeddings = Embeddings(settings.embeddings_base_url, settings.embeddings_api_key)
            stack.push_async_callback(embeddings.aclose)
            secrets = secret_names(credentials.environment)
            workspaces = Workspaces(used.workspace_root)
            tool_stats = ToolStats()
            approvals = Approvals(settings.approval_seconds)
            run_turn = tool_stats.watched(engine.run)
            manager = _sessions(settings, store, workspaces, run_turn)
            sessions = await stack.enter_async_context(manager)
            await book.refresh()
            is_exposed = _is_exposed(settings, book)
            keep_seconds = settings.usage_retention_days * DAY_SECONDS
            recorder = UsageRecorder(ledger, keep_seconds=keep_seconds)
            metrics = await _meters(stack, recorder, engine, tracing)
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
                conversations_at_work=ConversationsAtWork(),
                stored_bytes=StoredBytes(store, background.store, settings.max_stored_bytes),
                limiter=limiter,
                seeds=SeedCache(settings.seed_cache_seconds),
                tools=ToolPolicy(settings, store, book, is_exposed=is_exposed),
                tool_stats=tool_stats,
                keys=book,
                usage=recorder,
                budgets=Budgets(recorder),
                metrics=metrics,
                bodies=Bodies(enabled=settings.log_bodies),
                workspaces=workspaces,
                mcp_servers=McpServers(read_file(settings.mcp_config, environ, secrets), store),
                approvals=approvals,
                agents=Agents(settings.agents_dir, used.workspace_root),
                reachable_without_key=is_exposed,
            )
            stack.push_async_callback(approvals.aclose)  # what waits is recorded when it ends
            yield

    return lifespan


async def _engine(
    stack: AsyncExitStack, settings: Settings, credentials: Credentials, book: KeyBook
) -> ClaudeEngine:
    engine = ClaudeEngine(settings, credentials, principals=lambda: len(book))
    await stack.enter_async_context(engine)
    await stack.enter_async_context(checked(engine, settings, credentials))
    return engine


def _is_exposed(settings: Settings, book: KeyBook) -> bool:
    """Whether others than this machine may come in without a key."""
    is_elsewhere = settings.allow_unprotected or not is_loopback(settings.host)
    return is_elsewhere and not book.is_protected


async def _meters(
    stack: AsyncExitStack, recorder: UsageRecorder, engine: ClaudeEngine, tracing: Tracing | None
) -> Metrics:
    """Starts the recorder, and gives its records to the metrics and, where they are on, traces."""
    await stack.enter_async_context(recorder)
    metrics = Metrics(engine, recorder.running.total)
    recorder.listeners.append(metrics.note)
    if tracing is not None:
        recorder.tracing = tracing
        stack.push_async_callback(tracing.aclose)
    return metrics


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
