"""`connect CLIENT`: writes this server into a client's settings. It shows what would change, keeps
the file as it was beside it, and takes it back with `--undo`."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from commands.banner import shown_host
from commands.check import server_url
from commands.client_files import Edit, Format, NotUnderstood, changed
from commands.clients import CLIENTS, NO_KEY, Client, Server
from config.settings import SettingsError, load_settings
from core.version import PROGRAM

NOT_WRITTEN = 1
BACKUP = ".before-connect"
"""Added to a file's name. An empty backup says that there was no file."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says; None is what the settings and the client's habits say."""

    client: str | None = None
    url: str | None = None
    model: str = "sonnet"
    key: str | None = None
    file: Path | None = None
    show: bool = False
    undo: bool = False
    yes: bool = False


def run(wanted: Wanted) -> int:
    """Raises SettingsError for a client that is not known and a file that cannot be used."""
    if wanted.client is None:
        _say(_listing())
        return 0
    client = known_client(wanted.client)
    path = wanted.file or client.path()
    if wanted.undo:
        return undo(path, yes=wanted.yes)
    server = this_server(wanted)
    if path is None or wanted.show:
        _say(f"# {client.title}\n{fresh(client, server)}\n{client.then(server)}")
        return 0
    return write(client, server, path, yes=wanted.yes)


def known_client(name: str) -> Client:
    if name.lower() in CLIENTS:
        return CLIENTS[name.lower()]
    close = difflib.get_close_matches(name.lower(), CLIENTS, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(CLIENTS)}."
    raise SettingsError(f"There is no client {name!r}. {hint}")


def this_server(wanted: Wanted) -> Server:
    settings = load_settings()
    here = f"http://{shown_host(settings.host)}:{settings.port}"
    url = here if wanted.url is None else server_url(wanted.url)
    return Server(url, wanted.model, wanted.key or settings.api_key)


def fresh(client: Client, server: Server) -> str:
    """The settings alone, in the form of the client's file."""
    return changed(client.kind, "", client.edits(server))


def write(client: Client, server: Server, path: Path, *, yes: bool) -> int:
    path = path.expanduser().resolve()  # a link to a file among dotfiles stays a link
    before = _text(path)
    after = _changed(client.kind, path, before or "", client.edits(server))
    if after == before:
        _say(f"{path} says so already. {client.then(server)}")
        return 0
    _say("".join(difference(path, before or "", after)))
    if not _is_agreed(yes=yes):
        return NOT_WRITTEN
    backup = _backup(path)
    if not backup.exists():
        _replace(backup, before or "", like=path)
    _replace(path, after, like=path)
    _say(f"Written; as it was before: {backup}. {client.then(server)}")
    return 0


def undo(path: Path | None, *, yes: bool) -> int:
    if path is None:
        raise SettingsError("This client's settings were only shown: there is nothing to undo.")
    path = path.expanduser().resolve()
    backup = _backup(path)
    before = _text(backup)
    if before is None:
        raise SettingsError(f"There is no {backup}, so there is nothing to undo.")
    _say("".join(difference(path, _text(path) or "", before)))
    if not _is_agreed(yes=yes):
        return NOT_WRITTEN
    if before:
        _replace(path, before, like=path)
    else:
        path.unlink(missing_ok=True)
    backup.unlink()
    _say(f"{path} is as it was before." if before else f"{path} was removed: there was none.")
    return 0


def difference(path: Path, before: str, after: str) -> Iterator[str]:
    """As `diff -u`, with keys shortened."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        fromfile=str(path),
        tofile=f"{path} (new)",
        n=2,
    )
    for line in lines:
        shown = re.sub(r"\b(sk-\w{4})[\w-]{8,}", r"\1…", line)
        yield shown if shown.endswith("\n") else f"{shown}\n"


def _changed(kind: Format, path: Path, before: str, edits: Sequence[Edit]) -> str:
    try:
        return changed(kind, before, edits)
    except NotUnderstood as error:
        raise SettingsError(f"{path} {error} Nothing was changed; see --print.") from None


def _is_agreed(*, yes: bool) -> bool:
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        _say(f"Nothing was written: add --yes. (`{PROGRAM} connect --help` has more.)")
        return False
    sys.stdout.write("Write this? (y/N) ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    _say("Nothing was written.")
    return False


def _backup(path: Path) -> Path:
    return path.with_name(path.name + BACKUP)


def _text(path: Path) -> str | None:
    """None where there is no file. Raises SettingsError where it cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:  # line ends stay as they are
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.") from None


def _replace(path: Path, text: str, *, like: Path) -> None:
    """In one step, with the mode of `like`; a new file is its owner's only, for it holds a key."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = like.stat().st_mode & 0o777 if like.exists() else 0o600
        with NamedTemporaryFile(
            "w", encoding="utf-8", newline="", dir=path.parent, delete=False
        ) as file:
            file.write(text)
        Path(file.name).chmod(mode)
        os.replace(file.name, path)  # noqa: PTH105  # from a name, into a path
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error}.") from None


def _listing() -> str:
    lines = [f"{PROGRAM} connect CLIENT writes this server into the settings of", ""]
    for name, client in CLIENTS.items():
        path = client.path()
        lines.append(f"  {name:12} {path or 'shown, for you to enter'}")
    lines += ["", f"It shows the change first. Without a key they send {NO_KEY!r}."]
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stdout.write(f"{text.rstrip()}\n")
