"""What the command line makes of words, without doing it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.main import get_command

from commands.command_line import app, completed


def understood(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The command and its parameters. Raises what a wrong argument raises; its `exit_code` is 2."""
    command: Any = get_command(app)
    context = command.make_context("main.py", [], resilient_parsing=True)
    rest = completed(words)
    names = []
    while rest and hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, rest)
        names.append(name)
        context = command.make_context(name, list(rest), parent=context)
        if hasattr(command, "resolve_command"):
            rest = [*context._protected_args, *context.args]
    return " ".join(names), context.params
