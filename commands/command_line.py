"""The command line: `python main.py …` in a checkout, `claude-openai-server …` where installed.

A command's signature is its options. Its body loads what it needs and nothing more, so that
`--help` and `key` answer at once; only `serve` loads the server.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.version import IS_INSTALLED, NAME, PROGRAM, VERSION

if TYPE_CHECKING:
    from commands.serve import CreateApp

BROKEN_PIPE = 141
"""What a shell reports of a program whose reader went away: 128 + SIGPIPE."""

GROUP_OPTIONS = frozenset({"--help", "--version", "--install-completion", "--show-completion"})
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}

Limit = Annotated[int | None, typer.Option(min=1)]
Budget = Annotated[float | None, typer.Option()]

app = typer.Typer(
    name=PROGRAM,
    help="Claude Code behind the APIs of OpenAI and Anthropic.",
    epilog="Without a command it serves: a port and the options of `serve` may follow.",
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
    add_completion=IS_INSTALLED,  # a shell completes a command, not a script's arguments
)


def main(argv: Sequence[str], create_app: CreateApp) -> int:
    """The exit status: 2 with one sentence where an argument or a setting cannot be used."""
    try:
        app(args=completed(argv), prog_name=PROGRAM, obj=create_app)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def completed(argv: Sequence[str]) -> list[str]:
    """The arguments with the command that they leave out: `9000 --demo` is `serve 9000 --demo`."""
    first = argv[0] if argv else ""
    is_option = first.startswith("-") and first not in {*GROUP_OPTIONS, "-h"}
    if not first or is_option or re.fullmatch(r"\d+", first):
        return ["serve", *argv]
    return list(argv)


def _run(action: Callable[[], int]) -> None:
    """Ends the program with the status that the action gives, or with one sentence."""
    try:
        status = action()
        sys.stdout.flush()
    except BrokenPipeError:  # `… | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = BROKEN_PIPE
    except _settings_error() as error:
        sys.stderr.write(f"{error}\n")
        status = 2
    raise typer.Exit(status)


def _settings_error() -> type[Exception]:
    """Looked up only where something was raised: loading the settings takes a while."""
    from config.settings import SettingsError

    return SettingsError


def _version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        sys.stdout.write(f"{NAME} {VERSION} (claude-agent-sdk {version('claude-agent-sdk')})\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    context: typer.Context,
    port: Annotated[str | None, typer.Argument(help="Port (default: PORT, else 8000)")] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (default: HOST, else 127.0.0.1)")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Answer from a fake upstream, without an account")
    ] = False,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when a file of the server changes")
    ] = False,
) -> None:
    """Start the server. This is what happens without a command."""
    from commands.serve import Wanted
    from commands.serve import serve as start

    wanted = Wanted(port, host, demo=demo, reload=reload)
    _run(lambda: start(wanted, context.obj))


@app.command()
def demo(
    port: Annotated[int, typer.Argument(min=1, max=65535, help="First port to try")] = 8000,
    end: Annotated[
        bool, typer.Option("--exit", help="End after the tour instead of serving on")
    ] = False,
) -> None:
    """Show the server at work, offline: chats, a function, and what to try next."""
    from demo import tour

    _run(lambda: tour.run(port, stays=not end))


@app.command()
def check(
    url: Annotated[str | None, typer.Option(help="Address of the server (default: here)")] = None,
    model: Annotated[str | None, typer.Option(help="Model to ask (default: the cheapest)")] = None,
    timeout: Annotated[
        float, typer.Option(min=0.01, max=3600, help="Maximum seconds for each line")
    ] = 60.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object instead of lines")
    ] = False,
) -> None:
    """Try a running server as a first-time user would, and say what to fix.

    It asks the model six short questions. The key is TEST_API_KEY, else API_KEY. Exit status: 0 all
    went well, 1 something failed, 2 nothing could be tried.
    """
    from commands.check import Wanted, check_server

    _run(lambda: check_server(Wanted(url, model, timeout, as_json=as_json)))


@app.command(context_settings=PASSED_ON)
def login(context: typer.Context) -> None:
    """Log in to Claude, by Claude Code's own login. Options are those of `claude auth login`."""
    from commands.login import login as become_login

    _run(lambda: become_login(context.args))


@app.command(context_settings=PASSED_ON)
def agent(context: typer.Context) -> None:
    """Look after the agents of AGENTS_DIR: `new NAME` writes one, `check` reads all, `list`."""
    from commands import agent as agents  # reads YAML, which a server that starts does later
    from config.settings import load_settings

    _run(lambda: agents.main(context.args, load_settings()))


keys = typer.Typer(
    help="Make an API key. It is on stdout alone; what to do with it is on stderr.",
    epilog="The commands manage keys in the servers' database; running servers know at once.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)
app.add_typer(keys, name="key")


@keys.callback()
def key(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        from commands.key import print_key

        _run(print_key)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Letters, digits and _ . @ -, 64 at most")],
    operator: Annotated[
        bool, typer.Option("--operator", help="May manage keys, tools and servers")
    ] = False,
    models: Annotated[str, typer.Option(help="Patterns of model names, comma separated")] = "",
    no_tools: Annotated[
        bool, typer.Option("--no-tools", help="None of Claude Code's built-in tools")
    ] = False,
    expires_days: Annotated[float | None, typer.Option(help="Days from now")] = None,
    requests_per_minute: Limit = None,
    tokens_per_minute: Limit = None,
    parallel_requests: Limit = None,
    tokens_per_day: Limit = None,
    tokens_per_month: Limit = None,
    usd_per_day: Budget = None,
    usd_per_month: Budget = None,
) -> None:
    """Make a key in the database, and print it once."""
    from commands import stored_keys  # with SQLAlchemy a fifth of a second
    from core.limits import KeyLimits

    limits = KeyLimits(
        tokens_per_minute=tokens_per_minute,
        parallel_requests=parallel_requests,
        usd_per_day=usd_per_day,
        usd_per_month=usd_per_month,
        tokens_per_day=tokens_per_day,
        tokens_per_month=tokens_per_month,
    )
    wanted = stored_keys.Wanted(
        name, operator, models, no_tools, expires_days, requests_per_minute, limits
    )
    _run(lambda: stored_keys.create_key(wanted))


@keys.command("list")
def list_keys() -> None:
    """List all keys, without their secrets."""
    from commands import stored_keys

    _run(stored_keys.list_keys)


@keys.command("revoke")
def revoke_key(name: Annotated[str, typer.Argument(help="Its name in the list")]) -> None:
    """Delete a key of the database: nothing can use it any more."""
    from commands import stored_keys

    _run(lambda: stored_keys.revoke_key(name))


@app.command()
def connect(
    client: Annotated[str | None, typer.Argument(help="Which client; none lists them")] = None,
    url: Annotated[str | None, typer.Option(help="Address of the server (default: here)")] = None,
    model: Annotated[str, typer.Option(help="Model that the client shall use")] = "sonnet",
    api_key: Annotated[str | None, typer.Option(help="Key to write (default: API_KEY)")] = None,
    file: Annotated[
        Path | None, typer.Option(help="File to change instead of the client's usual one")
    ] = None,
    show: Annotated[
        bool, typer.Option("--print", help="Print the settings, and change nothing")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Put the client's own file back")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking")] = False,
) -> None:
    """Write this server into a client's settings: shows the change first, and keeps a backup."""
    from commands.connect import Wanted, run

    _run(lambda: run(Wanted(client, url, model, api_key, file, show=show, undo=undo, yes=yes)))


service = typer.Typer(
    help="Run the server in the background, from login on (systemd or launchd).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(service, name="service")


@service.command()
def install(
    show: Annotated[
        bool, typer.Option("--print", help="Print the unit, and change nothing")
    ] = False,
) -> None:
    """Install and start it. Settings are read from .env, as ever."""
    from commands.service import install_service

    _run(lambda: install_service(show=show))


@service.command()
def status() -> None:
    """Say whether it is installed, and whether it runs."""
    from commands.service import service_status

    _run(service_status)


@service.command()
def remove() -> None:
    """Stop it and remove its unit."""
    from commands.service import remove_service

    _run(remove_service)
