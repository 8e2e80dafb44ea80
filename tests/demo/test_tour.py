"""`make demo` as anybody runs it, without a terminal: it streams one chat and ends by itself.

Also where a real server is set up already: its key is not the demo's.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import ROOT

pytestmark = pytest.mark.wire


def test_the_tour_streams_a_chat_says_how_to_go_on_and_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])  # not 8000, where other tests' servers begin to look
    done = subprocess.run(
        [sys.executable, "-m", "demo.tour", port, "--exit"],
        env={"PATH": os.defpath, "HOME": str(tmp_path), "API_KEY": "sk-of-the-real-server-0123"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    chats = re.findall(r"First token after \d+ ms, (\d+) pieces, answered by \S+\.", done.stdout)
    assert len(chats) == 2
    assert int(chats[0]) > 10
    assert "Your name is Ada: you told me." in done.stdout
    assert 'get_weather({"city": "Rome"}) = ' in done.stdout
    assert re.search(r"The call came after \d+ ms, the answer to its result after", done.stdout)
    assert re.search(r"^\d\d:\d\d:\d\d ", done.stdout + done.stderr, re.MULTILINE) is None
    assert f"open http://127.0.0.1:{port}/ in a browser" in done.stdout
    assert re.search(rf"curl -N http://127\.0\.0\.1:{port}/v1/chat/completions", done.stdout)
    assert "keeps running" not in done.stdout
