"""The question for a key when a server starts on a terminal: asked once, and explained."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from auth import new_key
from config.places import env_file, remembered_answers

EXPLANATION = """\
Only programs on this computer can connect; with a key, they have to send it.
y makes one and keeps it in {file}; n (or Enter) goes on without, and this is not asked again.
"""
QUESTION = "Enable API key protection? (y/N) "
ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}
INTERRUPTED = 130


def key_from_question() -> str | None:
    """A new key where the operator wants one, kept in the settings file. Asks on a terminal only,
    and where it was not answered before."""
    place = str(env_file().absolute())
    if _was_answered(place) or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    try:
        is_wanted = asked(sys.stdin, sys.stdout)
    except KeyboardInterrupt:
        sys.stdout.write("\n")
        raise SystemExit(INTERRUPTED) from None
    if is_wanted:
        key = new_key()
        keep_key(key)
        return key
    _remember(place)
    return None


def asked(terminal_in: TextIO, terminal_out: TextIO) -> bool:
    """Asks until the answer is one of ANSWERS; the end of the input is a no."""
    terminal_out.write("\n" + EXPLANATION.format(file=env_file()))
    while True:
        terminal_out.write(QUESTION)
        terminal_out.flush()
        line = terminal_in.readline()
        if (answer := line.strip().lower()) in ANSWERS:
            return ANSWERS[answer]
        terminal_out.write("Please answer y or n.\n")


def keep_key(key: str) -> bool:
    """Adds the key to the settings file, which only its owner may read if it is new. False where
    it cannot be written."""
    file = env_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600, exist_ok=True)
        text = file.read_text(encoding="utf-8")
        line_break = "\n" if text and not text.endswith("\n") else ""
        with file.open("a", encoding="utf-8") as settings:
            settings.write(f"{line_break}API_KEY={key}\n")
    except OSError:
        return False
    return True


def _was_answered(place: str) -> bool:
    with suppress(OSError, ValueError):
        return place in json.loads(remembered_answers().read_text(encoding="utf-8"))
    return False


def _remember(place: str) -> None:
    """Where that is impossible it is asked again, which does no harm."""
    file: Path = remembered_answers()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        places: list[str] = []
        with suppress(OSError, ValueError):
            places = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps([*places, place], indent=2) + "\n", encoding="utf-8")
