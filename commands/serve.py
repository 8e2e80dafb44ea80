"""`python main.py`: which port, which key, which banner; then it serves."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from auth import load_keyring, new_key
from commands.banner import HOW_TO_STOP, banner, ignored_settings, new_key_lines, shown_host
from commands.key_question import key_from_question
from config.credentials import detect_credentials
from config.logs import configure_logging
from config.settings import Settings, SettingsError, host_environ, load_settings
from core.addresses import is_loopback

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

log = logging.getLogger(__name__)

PORT_TRIES = 50
STARTUP_FAILED = 3


class CreateApp(Protocol):
    """`main.create_app`, which loads the server when it is called."""

    def __call__(self, settings: Settings, *, demo: bool) -> FastAPI: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says of a server; None leaves it to the settings."""

    port: str | None = None
    host: str | None = None
    demo: bool = False
    reload: bool = False


def serve(wanted: Wanted, create_app: CreateApp) -> int:
    """Serves until a signal ends it. Raises SettingsError before that."""
    named = {"host": wanted.host, "port": wanted.port}
    settings = load_settings(**{name: value for name, value in named.items() if value is not None})
    configure_logging(settings)
    listener = listen(settings.host, settings.port)
    if ignored := ignored_settings(settings, host_environ()):
        log.warning("Ignored: %s.", ignored)
    settings, key = protect(settings, demo=wanted.demo, reload=wanted.reload)
    credentials = None if wanted.demo else detect_credentials(settings, host_environ())
    port = listener.getsockname()[1]

    def say_where() -> None:
        sys.stdout.write(banner(settings, port, credentials, ignored))
        if key is not None:
            url = f"http://{shown_host(settings.host)}:{port}"
            sys.stdout.write(new_key_lines(settings, url, key))
        sys.stdout.write(HOW_TO_STOP)
        sys.stdout.flush()

    if wanted.reload:
        listener.set_inheritable(True)  # the reloader hands it to its child
        say_where()
        return run_again_on_changes(settings, listener, demo=wanted.demo)
    return run(settings, listener, create_app(settings, demo=wanted.demo), say_where)


def protect(settings: Settings, *, demo: bool, reload: bool) -> tuple[Settings, str | None]:
    """The settings to serve with, and a key where one was made and must be shown.

    Without a key, a server that other computers can reach makes one, unless ALLOW_UNPROTECTED says
    that it needs none; one for this computer asks, on a terminal. A demo holds no account.
    """
    changes: dict[str, str | bool] = {}
    if not load_keyring(settings):
        is_open = not is_loopback(settings.host)
        if demo:
            changes = {"allow_unprotected": True} if is_open else {}
        elif is_open:
            changes = {} if settings.allow_unprotected else {"api_key": new_key()}
        elif not reload and (key := key_from_question()):
            changes = {"api_key": key}
    settings = settings.model_copy(update=changes)
    if reload:  # the reloader's children read the environment
        os.environ["HOST"] = settings.host
        os.environ |= {name.upper(): str(value) for name, value in changes.items()}
    return settings, settings.api_key if "api_key" in changes else None


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on the port, or on the next free one.

    It listens at once, so that no other program takes the port before it serves. Raises
    SettingsError where none of the next 50 is free, or the address is not this machine's.
    """
    last = min(port + PORT_TRIES, 65535)
    for candidate in range(port, last + 1):
        try:
            return _listener(host, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SettingsError(f"Cannot listen on {host}:{candidate}: {error}.") from None
    raise SettingsError(f"PORT: all ports from {port} to {last} are taken.")


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()  # 127.0.0.1 too, as the banner says
    return socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=both)


def run(
    settings: Settings, listener: socket.socket, app: FastAPI, when_ready: Callable[[], None]
) -> int:
    """Serves until a signal ends it; the exit status is 3 where the app could not start."""
    import uvicorn  # it and all of the server take a second to load

    from web.http_protocol import server_options

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                when_ready()

    # A thread that parses a large body lets the event loop run this often, in seconds: at Python's
    # own 5 ms each of its many short steps would wait that long.
    sys.setswitchinterval(0.0005)
    server = Server(uvicorn.Config(app, **server_options(settings)))
    with _until_stopped(listener):
        server.run(sockets=[listener])
    return 0 if server.started else STARTUP_FAILED


def run_again_on_changes(settings: Settings, listener: socket.socket, *, demo: bool) -> int:
    """As `run`, in a child that is started again with each change; it makes the app itself."""
    import uvicorn
    from uvicorn.supervisors import ChangeReload

    from web.http_protocol import server_options

    app = "main:create_demo_app" if demo else "main:app"
    config = uvicorn.Config(app, factory=demo, reload=True, **server_options(settings))
    with _until_stopped(listener):
        ChangeReload(config, target=Reloaded(uvicorn.Server(config)).run, sockets=[listener]).run()
    return 0


@contextmanager
def _until_stopped(listener: socket.socket) -> Iterator[None]:
    """uvicorn raises Ctrl-C and SIGTERM again once it has stopped well."""
    with listener, suppress(KeyboardInterrupt), _sigterm_exits_with(0):
        yield


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The server in the process that the reloader starts. What it inherits it must not hand on: a
    CLI that outlived it would keep the port."""

    server: uvicorn.Server

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        for inherited in sockets or ():
            inherited.set_inheritable(False)
        self.server.run(sockets)


@contextmanager
def _sigterm_exits_with(status: int) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(status))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
