"""The question for a key: on a terminal, and only there."""

from __future__ import annotations

import hashlib
import io
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from commands import command_line, key_question
from commands.banner import banner
from commands.serve import protect
from config.settings import Settings, load_settings
from main import create_app

pytestmark = pytest.mark.wire

ROOT = Path(__file__).parents[2]
QUESTION = "Enable API key protection? (y/N) "
KEY = re.compile(r"sk-[\w-]{43}")


class Terminal:
    """`python main.py` on a pseudo-terminal, in an environment made from nothing."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self._ours, theirs = pty.openpty()
        environment = {"PATH": os.defpath, "HOME": str(folder), "POOL_WARM": "0", **variables}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "main.py"), *arguments],
            env=environment,
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def wait_for(self, pattern: str) -> str:
        """Reads until the pattern was seen or the program has ended; gives all of it."""
        while not re.search(pattern, self.seen):
            try:
                piece = os.read(self._ours, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
            self.seen += piece.decode().replace("\r\n", "\n")
        assert re.search(pattern, self.seen), self.seen
        return self.seen

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> None:
        """Ctrl-C: no traceback, and the status of a success."""
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=20)
        os.close(self._ours)
        assert (self.process.returncode, b"Traceback" in errors) == (0, False)


@contextmanager
def terminal(folder: Path, *arguments: str, **variables: str) -> Iterator[Terminal]:
    opened = Terminal(folder, *arguments, **variables)
    try:
        yield opened
    finally:
        opened.end()


def url_in(text: str) -> str:
    found = re.search(r"URL +(http://\S+)/v1", text)
    assert found
    return found[1]


def test_yes_makes_a_key_shows_it_once_and_uses_it(tmp_path: Path) -> None:
    with terminal(tmp_path) as screen:
        screen.wait_for(re.escape(QUESTION))
        screen.type("y\n")
        text = screen.wait_for(r"curl (.|\n)*Press Ctrl-C.*\n\n")
        url = url_in(text)
        [line] = [line for line in text.splitlines() if "API key  " in line]
        [key] = KEY.findall(line)
        assert f"curl {url}/v1/chat/completions" in text
        assert f"-H 'Authorization: Bearer {key}'" in text
        assert "kept in " in text
        assert text.endswith("  Press Ctrl-C to stop it.\n\n")
        assert "an API key is required (1 known)" in text
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
            assert http.get("/v1/compatibility").status_code == 401
            headers = {"authorization": f"Bearer {key}"}
            assert http.get("/v1/compatibility", headers=headers).status_code == 200


def test_a_demo_does_not_ask_and_ctrl_c_ends_it_without_a_traceback(tmp_path: Path) -> None:
    with terminal(tmp_path, "--demo", POOL_WARM="1") as screen:
        text = screen.wait_for(r"Press Ctrl-C to stop it.\n")
        assert QUESTION not in text
        # it is ready when it says so
        assert httpx.get(f"{url_in(text)}/health", trust_env=False, timeout=30).is_success


@contextmanager
def terminals(answer: str) -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper, int]]:
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    with os.fdopen(theirs, "r") as reader, os.fdopen(os.dup(theirs), "w") as writer:
        yield reader, writer, ours
    os.close(ours)


@pytest.mark.parametrize(
    ("typed", "wanted", "questions"),
    [
        ("y\n", True, 1),
        (" YES \n", True, 1),
        ("n\n", False, 1),
        ("\n", False, 1),
        ("ye\n8000\ny\n", True, 3),
        ("why?\nno\n", False, 2),
        ("\4", False, 1),
    ],
)
def test_it_asks_until_the_answer_is_yes_or_no(typed: str, wanted: bool, questions: int) -> None:
    nowhere = io.StringIO()
    with terminals(typed) as (reader, _, _):
        assert key_question.asked(reader, nowhere) is wanted
    shown = nowhere.getvalue()
    assert shown.count(QUESTION) == questions
    assert shown.startswith("\n" + key_question.EXPLANATION.format(file=".env"))


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a home without any settings or earlier answers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path)})
    return tmp_path


def test_without_a_terminal_it_neither_asks_nor_waits(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()  # nobody will ever write to it
    nowhere = io.StringIO()
    with os.fdopen(reading) as pipe, terminals("y\n") as (reader, writer, _):
        for source, target in ((pipe, writer), (reader, nowhere)):
            monkeypatch.setattr(sys, "stdin", source)
            monkeypatch.setattr(sys, "stdout", target)
            assert key_question.key_from_question() is None
    os.close(writing)
    assert nowhere.getvalue() == ""


def answered(monkeypatch: pytest.MonkeyPatch, typed: str) -> str | None:
    with terminals(typed) as (reader, writer, _):
        monkeypatch.setattr(sys, "stdin", reader)
        monkeypatch.setattr(sys, "stdout", writer)
        return key_question.key_from_question()


def test_a_no_is_remembered_for_this_settings_file_alone(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answered(monkeypatch, "n\n") is None
    assert answered(monkeypatch, "y\n") is None, "it was not asked again"
    (alone / "other").mkdir()
    monkeypatch.chdir(alone / "other")
    assert answered(monkeypatch, "y\n") is not None


def test_a_yes_keeps_the_key_in_the_settings_file_for_its_owner_alone(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = answered(monkeypatch, "y\n")
    assert (alone / ".env").read_text() == f"API_KEY={key}\n"
    assert (alone / ".env").stat().st_mode & 0o777 == 0o600
    assert load_settings().api_key == key


def test_what_the_settings_file_holds_already_stays(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (alone / ".env").write_text("PORT=9000")
    key = answered(monkeypatch, "y\n")
    assert (alone / ".env").read_text() == f"PORT=9000\nAPI_KEY={key}\n"


def protected(
    *, demo: bool = False, reload: bool = False, **settings: Any
) -> tuple[Settings, str | None]:
    chosen = Settings.model_construct(**settings)
    return protect(chosen, demo=demo, reload=reload)


def test_the_question_is_asked_with_neither_reload_nor_demo_nor_key(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminals("y\n") as (reader, writer, _):
        monkeypatch.setattr(sys, "stdin", reader)
        monkeypatch.setattr(sys, "stdout", writer)
        assert protected(reload=True)[1] is None
        assert protected(demo=True)[1] is None
        assert protected(api_keys="a:sk-one")[1] is None
        settings, key = protected()
    assert key is not None
    assert settings.api_key == key
    with terminals("\n") as (reader, writer, _):
        monkeypatch.setattr(sys, "stdin", reader)
        monkeypatch.setattr(sys, "stdout", writer)
        settings, key = protected()
    assert (settings.api_key, key) == (None, None)
    shown = banner(settings, 8000, None)
    assert "no API key is required; only this computer can connect" in shown


def test_a_server_for_other_computers_makes_its_own_key() -> None:
    settings, key = protected(host="0.0.0.0")
    assert key is not None
    assert settings.api_key == key
    assert KEY.fullmatch(key)


def test_a_server_for_other_computers_may_be_told_to_need_none() -> None:
    assert protected(host="0.0.0.0", allow_unprotected=True)[1] is None


def test_a_demo_for_other_computers_needs_none() -> None:
    settings, key = protected(host="0.0.0.0", demo=True)
    assert key is None
    assert settings.allow_unprotected is True


def test_the_reloaders_children_get_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    environ: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", environ)
    _, key = protected(host="0.0.0.0", reload=True)
    assert environ == {"HOST": "0.0.0.0", "API_KEY": key}


def test_a_key_for_scripts_stands_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["key"], create_app) == 0
    reported = capsys.readouterr()
    key = reported.out.strip()
    assert KEY.fullmatch(key)
    assert f"API_KEY={key}" in reported.err
    assert f'"sha256": "{hashlib.sha256(key.encode()).hexdigest()}"' in reported.err
