"""`python main.py`: which port, which banner, and the CLI's own login."""

from __future__ import annotations

import argparse
import errno
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version

import uvicorn
from uvicorn.supervisors import ChangeReload

from auth import LOGIN_COMMAND, Credentials, detect_credentials, find_cli
from main import NAME, VERSION, create_app, host_environ
from settings import Settings, SettingsError, load_settings
from telemetry import configure_logging

PORT_TRIES = 50
STARTUP_FAILED = 3
EVERY_INTERFACE = frozenset({"0.0.0.0", "::", ""})
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def main(argv: Sequence[str]) -> int:
    """The exit status: 2 with one sentence where an argument or a setting cannot be used."""
    try:
        if argv[:1] == ["login"]:
            return login(argv[1:])
        return serve(parser().parse_args(argv))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python main.py",
        description="Claude Code behind the OpenAI API.",
        epilog=f"`{LOGIN_COMMAND}` runs Claude Code's own login.",
    )
    made.add_argument("port", nargs="?", help="port (default: PORT, else 8000)")
    made.add_argument("--host", help="address to listen on (default: HOST, else 127.0.0.1)")
    made.add_argument("--demo", action="store_true", help="answer from a stand-in, no account")
    made.add_argument("--reload", action="store_true", help="start again when a file changes")
    versions = f"{NAME} {VERSION} (claude-agent-sdk {version('claude-agent-sdk')})"
    made.add_argument("--version", action="version", version=versions)
    return made


def serve(arguments: argparse.Namespace) -> int:
    wanted = {"host": arguments.host, "port": arguments.port}
    settings = load_settings(**{name: value for name, value in wanted.items() if value is not None})
    configure_logging(settings)
    listener = listen(settings.host, settings.port)
    credentials = None if arguments.demo else detect_credentials(settings, host_environ())
    sys.stdout.write(banner(settings, listener.getsockname()[1], credentials))
    sys.stdout.flush()
    return run(settings, listener, demo=arguments.demo, reload=arguments.reload)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on the port, or on the next free one.

    It listens at once, so that nobody takes the port between looking and serving. Raises
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
    listener = socket.create_server((host, port), family=family, backlog=2048)
    listener.set_inheritable(True)  # the reloader hands it to its child
    return listener


def run(settings: Settings, listener: socket.socket, *, demo: bool, reload: bool) -> int:
    """Serves until a signal ends it; the exit status is 3 where the app could not start.

    The reloader's children make the app themselves.
    """
    by_name = "main:create_demo_app" if demo else "main:app"
    config = uvicorn.Config(
        by_name if reload else create_app(settings, demo=demo),
        factory=reload and demo,
        reload=reload,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
    )
    server = uvicorn.Server(config)
    # uvicorn raises Ctrl-C again once it has stopped well
    with listener, suppress(KeyboardInterrupt):
        if reload:
            ChangeReload(config, target=server.run, sockets=[listener]).run()
        else:
            server.run(sockets=[listener])
    return 0 if reload or server.started else STARTUP_FAILED


def login(arguments: Sequence[str]) -> int:
    """Becomes the CLI's own login on this terminal; `arguments` are `claude auth login`'s."""
    cli = find_cli(load_settings())
    if cli is None:
        raise SettingsError("The Claude CLI was not found: run `make install`.")
    os.execve(cli, [str(cli), "auth", "login", *arguments], host_environ())


def banner(settings: Settings, port: int, credentials: Credentials | None) -> str:
    """What an operator must know, a line each; `credentials` None is the demo."""
    url = f"http://{_shown_host(settings.host)}:{port}"
    note = "" if port == settings.port else f"   ({settings.port} is taken, {port} is free)"
    lines = {
        "URL": f"{url}/v1{note}",
        "Model": settings.default_model,
        "Credentials": _credentials_line(credentials),
        **_mending(credentials),
        "Protection": _protection(settings.host),
        "Docs": f"{url}/docs",
    }
    rows = "".join(f"  {name:12} {text}\n" for name, text in lines.items())
    return f"\n{NAME} {VERSION}\n\n{rows}\n"


def _shown_host(host: str) -> str:
    if host in EVERY_INTERFACE:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _credentials_line(credentials: Credentials | None) -> str:
    if credentials is None:
        return "none needed: DEMO, a stand-in answers instead of Claude"
    return f"{credentials.method}: {credentials.detected_by}"


def _mending(credentials: Credentials | None) -> dict[str, str]:
    if credentials is None or not (credentials.missing or credentials.mend):
        return {}
    lines = {"Missing": " ".join(credentials.missing), "To mend": credentials.mend or ""}
    return {name: text for name, text in lines.items() if text}


def _protection(host: str) -> str:
    if host in LOOPBACK:
        return "no API key is asked for; only this computer can connect"
    return "NONE: whoever reaches this address can use it"
