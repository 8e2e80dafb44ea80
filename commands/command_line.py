"""`python main.py`: which port, which key, which banner, and the CLI's own login."""

from __future__ import annotations

import argparse
import errno
import hashlib
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

from auth import load_keyring, new_key, wants_key
from config.credentials import LOGIN_COMMAND, Credentials, detect_credentials, find_cli
from config.logs import configure_logging
from config.sandbox import why_unsandboxed
from config.settings import Settings, SettingsError, host_environ, load_settings
from core.addresses import is_loopback
from core.builtin_tools import tool_of
from core.version import NAME, VERSION
from tools import base_rules

if TYPE_CHECKING:
    from fastapi import FastAPI

PORT_TRIES = 50
STARTUP_FAILED = 3
KEY_COMMAND = "python main.py key"
CHECK_COMMAND = "python main.py check"
EVERY_INTERFACE = frozenset({"0.0.0.0", "::", ""})

KEYS_OF_OTHERS = ("PROXY_API_KEY", "AUTH_TOKEN", "SECURITY__AUTH_TOKEN")
"""What other wrappers of Claude Code call API_KEY (docs/migrating.md)."""

KEY_HELP = """\
Put it into .env:            API_KEY={key}
or only its hash into the JSON file that API_KEYS_FILE names: {{"name": {{"sha256": "{sha256}"}}}}
"""
NEW_KEY = """\
  API key      {key}
               shown only now and made anew at each start; to keep it, put it into .env as API_KEY

  curl {url}/v1/chat/completions \\
    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'

"""


def main(argv: Sequence[str]) -> int:
    """The exit status: 2 with one sentence where an argument or a setting cannot be used."""
    try:
        if argv[:1] == ["login"]:
            return login(argv[1:])
        if argv[:1] == ["key"]:
            return key_command(argv[1:]) if argv[1:] else print_key()
        if argv[:1] == ["check"]:
            return check_server(argv[1:])
        return serve(parser().parse_args(argv))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python main.py",
        description="Claude Code behind the OpenAI API.",
        epilog=f"`{LOGIN_COMMAND}` runs Claude Code's own login. `{KEY_COMMAND}` makes an API key. "
        f"`{CHECK_COMMAND}` tries a running server.",
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
    ignored = ignored_keys(settings, host_environ())
    settings, key = protect(settings, demo=arguments.demo, reload=arguments.reload)
    credentials = None if arguments.demo else detect_credentials(settings, host_environ())
    port = listener.getsockname()[1]
    sys.stdout.write(banner(settings, port, credentials, ignored))
    if key is not None:
        url = f"http://{_shown_host(settings.host)}:{port}"
        sys.stdout.write(NEW_KEY.format(key=key, url=url, model=settings.default_model))
    sys.stdout.flush()
    return run(settings, listener, demo=arguments.demo, reload=arguments.reload)


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


def key_command(arguments: Sequence[str]) -> int:
    """Keys in the servers' database."""
    from commands import key  # with SQLAlchemy a fifth of a second

    return key.main(arguments)


def print_key() -> int:
    """The key alone on stdout, for scripts; what to do with it on stderr."""
    key = new_key()
    sys.stdout.write(f"{key}\n")
    sys.stdout.flush()
    sha256 = hashlib.sha256(key.encode()).hexdigest()
    sys.stderr.write(KEY_HELP.format(key=key, sha256=sha256))
    return 0


def check_server(arguments: Sequence[str]) -> int:
    """Tries the server of these settings, or the one that `--url` names."""
    settings = load_settings()
    url = f"http://{_shown_host(settings.host)}:{settings.port}"
    from commands import check  # with HTTPX several MB, which a server does not need

    return check.main(arguments, url, host_environ(), settings.api_key)


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
    both = host == "::" and socket.has_dualstack_ipv6()  # 127.0.0.1 too, as the banner says
    listener = socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=both)
    listener.set_inheritable(True)  # the reloader hands it to its child
    return listener


def run(settings: Settings, listener: socket.socket, *, demo: bool, reload: bool) -> int:
    """Serves until a signal ends it; the exit status is 3 where the app could not start.

    The reloader's children make the app themselves.
    """
    import uvicorn  # it and all of the server take a second to load
    from uvicorn.supervisors import ChangeReload

    from web.http_protocol import server_options

    app: FastAPI | str = "main:create_demo_app" if demo else "main:app"
    if not reload:
        from main import create_app

        app = create_app(settings, demo=demo)
    config = uvicorn.Config(app, factory=reload and demo, reload=reload, **server_options(settings))
    server = uvicorn.Server(config)
    # uvicorn raises Ctrl-C and SIGTERM again once it has stopped well
    with listener, suppress(KeyboardInterrupt), _sigterm_exits_with(0):
        if reload:
            ChangeReload(config, target=server.run, sockets=[listener]).run()
        else:
            server.run(sockets=[listener])
    return 0 if reload or server.started else STARTUP_FAILED


@contextmanager
def _sigterm_exits_with(status: int) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(status))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def login(arguments: Sequence[str]) -> int:
    """Becomes the CLI's own login on this terminal; `arguments` are `claude auth login`'s."""
    cli = find_cli(load_settings())
    if cli is None:
        raise SettingsError("The Claude CLI was not found: run `make install`.")
    os.execve(cli, [str(cli), "auth", "login", *arguments], host_environ())


def ignored_keys(settings: Settings, environ: Mapping[str, str]) -> str:
    """A sentence on a key that stands under another server's name, where there is none by ours."""
    found = [name for name in KEYS_OF_OTHERS if environ.get(name)]
    if not found or load_keyring(settings):
        return ""
    return f"{found[0]} is set but means nothing here: set API_KEY"


def banner(
    settings: Settings, port: int, credentials: Credentials | None, ignored: str = ""
) -> str:
    """What an operator must know, a line each; `credentials` None is the demo."""
    url = f"http://{_shown_host(settings.host)}:{port}"
    note = "" if port == settings.port else f"   ({settings.port} is taken, {port} is free)"
    lines = {
        "URL": f"{url}/v1{note}",
        "Model": settings.default_model,
        "Credentials": _credentials_line(credentials),
        **_mending(credentials),
        "Protection": _protection(settings),
        **({"Ignored": ignored} if ignored else {}),
        **_sandbox(settings),
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
    lines = {"Missing": " ".join(credentials.missing), "To fix it": credentials.mend or ""}
    return {name: text for name, text in lines.items() if text}


def _sandbox(settings: Settings) -> dict[str, str]:
    """Where commands may be asked for, and run without it."""
    is_asked_for = "Bash" in map(tool_of, base_rules(settings).allowed or ())
    why_not = why_unsandboxed(settings) if is_asked_for else None
    return {"No sandbox": why_not} if why_not else {}


def _protection(settings: Settings) -> str:
    if keys := len(load_keyring(settings)):
        return f"an API key is required ({keys} known)"
    if is_loopback(settings.host):
        return "no API key is required; only this computer can connect"
    return "NONE: whoever reaches this address can use it"
