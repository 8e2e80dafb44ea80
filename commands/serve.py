"""`python main.py`: which port, which key, which banner; then it serves."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from auth import load_keyring, new_key, wants_key
from commands.banner import NEW_KEY, banner, ignored_keys, shown_host
from config.credentials import detect_credentials
from config.logs import configure_logging
from config.settings import Settings, SettingsError, host_environ, load_settings
from core.addresses import is_loopback

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

PORT_TRIES = 50
STARTUP_FAILED = 3


class CreateApp(Protocol):
    """`main.create_app`, which loads the server when it is called."""

    def __call__(self, settings: Settings, *, demo: bool) -> FastAPI: ...


def serve(arguments: argparse.Namespace, create_app: CreateApp) -> int:
    wanted = {"host": arguments.host, "port": arguments.port}
    settings = load_settings(**{name: value for name, value in wanted.items() if value is not None})
    configure_logging(settings)
    listener = listen(settings.host, settings.port)
    ignored = ignored_keys(settings, host_environ())
    settings, key = protect(settings, demo=arguments.demo, reload=arguments.reload)
    credentials = None if arguments.demo else detect_credentials(settings, host_environ())
    port = listener.getsockname()[1]
    sys.stdout.write(banner(settings, port, credentials, ignored))
    if key is not None:
        url = f"http://{shown_host(settings.host)}:{port}"
        sys.stdout.write(NEW_KEY.format(key=key, url=url, model=settings.default_model))
    sys.stdout.flush()
    demo, reload = arguments.demo, arguments.reload
    return run(settings, listener, create_app, demo=demo, reload=reload)


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
        elif not settings.allow_unprotected if is_open else not reload and _wants_key():
            changes = {"api_key": new_key()}
    settings = settings.model_copy(update=changes)
    if reload:  # the reloader's children read the environment
        os.environ["HOST"] = settings.host
        os.environ |= {name.upper(): str(value) for name, value in changes.items()}
    return settings, settings.api_key if "api_key" in changes else None


def _wants_key() -> bool:
    try:
        return wants_key(sys.stdin, sys.stdout)
    except KeyboardInterrupt:
        sys.stdout.write("\n")
        raise SystemExit(130) from None


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
    settings: Settings,
    listener: socket.socket,
    create_app: CreateApp,
    *,
    demo: bool,
    reload: bool,
) -> int:
    """Serves until a signal ends it; the exit status is 3 where the app could not start.

    The reloader's children make the app themselves.
    """
    import uvicorn  # it and all of the server take a second to load
    from uvicorn.supervisors import ChangeReload

    from web.http_protocol import server_options

    app: FastAPI | str = "main:create_demo_app" if demo else "main:app"
    if not reload:
        app = create_app(settings, demo=demo)
    config = uvicorn.Config(app, factory=reload and demo, reload=reload, **server_options(settings))
    server = uvicorn.Server(config)
    # uvicorn raises Ctrl-C and SIGTERM again once it has stopped well
    with listener, suppress(KeyboardInterrupt), _sigterm_exits_with(0):
        if reload:
            ChangeReload(config, target=Reloaded(server).run, sockets=[listener]).run()
        else:
            server.run(sockets=[listener])
    return 0 if reload or server.started else STARTUP_FAILED


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
