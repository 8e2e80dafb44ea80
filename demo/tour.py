"""`make demo`: the server on its fake upstream, one streamed chat, and how to go on.

Starts `main.py --demo` as a child, talks to it with the official `openai` client, and leaves it
running until Ctrl-C; with `--exit`, DEMO_EXIT=1 or without a terminal it ends it at once. A number
is the first port to try, instead of 8000.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import httpx
import openai

ROOT = Path(__file__).resolve().parent.parent
FIRST_PORT = 8000
PORT_TRIES = 100
START_SECONDS = 60.0
STOP_SECONDS = 15.0
MODEL = "gpt-4o"
QUESTION = "Say something about this server, slowly."
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TERM", "NO_COLOR")
DIRECTIVE = "!demo tokens=60 rate=40"


class TourFailed(Exception):
    """The server did not start, or not well; the message says what was seen."""


def main(argv: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, _stop)  # so that the child ends with us
    stays = not ("--exit" in argv or os.environ.get("DEMO_EXIT") == "1" or not _on_a_terminal())
    try:
        first = next((int(text) for text in argv if text.isdigit()), FIRST_PORT)
        with server(free_port(first)) as (child, url):
            chat(url)
            how_to_go_on(url, stays=stays)
            if stays:
                child.wait()
    except KeyboardInterrupt:
        print("\nStopped.")
    except (TourFailed, openai.OpenAIError) as error:
        print(f"\nThe tour failed: {error}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def server(port: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`main.py --demo` on the port, once it is ready to answer; it has ended on leaving.

    What is set for the real server, in `.env` or the environment, is not the demo's: its API key,
    its limits, its sessions.
    """
    command = [sys.executable, str(ROOT / "main.py"), str(port), "--host", "127.0.0.1", "--demo"]
    environ = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="demo-") as without_env_file:
        child = subprocess.Popen(command, cwd=without_env_file, env=environ)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(child, url)
            yield child, url
        finally:
            stop(child)


def wait_until_ready(child: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(trust_env=False, timeout=START_SECONDS) as client:  # no proxy for loopback
        while time.monotonic() < deadline:
            if child.poll() is not None:
                raise TourFailed(f"the server ended with status {child.returncode}")
            try:
                answer = client.get(f"{url}/health/ready")
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code == httpx.codes.OK:
                return
            raise TourFailed(f"the server is not ready: {answer.text}")
    raise TourFailed(f"the server did not start within {START_SECONDS:.0f} seconds")


def stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def chat(url: str) -> None:
    """One streamed chat, printed as it comes, and how long its first token took."""
    print(f'\n> client.chat.completions.create(model="{MODEL}", stream=True, …)')
    print(f"> {QUESTION}\n")
    arrivals, models = [], set()
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=f"{url}/v1", api_key="demo", http_client=http) as client:
        started = time.perf_counter()
        for model, text in answer(client):
            arrivals.append(time.perf_counter() - started)
            models.add(model)
            print(text, end="", flush=True)
    if not arrivals:
        raise TourFailed("the stream held no text")
    first_ms, by = arrivals[0] * 1000, ", ".join(models)
    print(f"\n\nFirst token after {first_ms:.0f} ms, {len(arrivals)} pieces, answered by {by}.")


def answer(client: openai.OpenAI) -> Iterator[tuple[str, str]]:
    """The model and the pieces of its text, as the official client reads them."""
    chunks = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": f"{DIRECTIVE}\n{QUESTION}"}],
        stream=True,
    )
    for chunk in chunks:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            yield chunk.model, text


def how_to_go_on(url: str, *, stays: bool) -> None:
    body = '{"model": "sonnet", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'
    print(f"""
Go on with curl:

  curl -N {url}/v1/chat/completions \\
    -H 'content-type: application/json' \\
    -d '{body}'

or point any OpenAI client at {url}/v1. All endpoints: {url}/docs
With an account: set ANTHROPIC_API_KEY in .env, then `.venv/bin/python main.py`.
""")
    if stays:
        print("The server keeps running here; Ctrl-C ends it.", flush=True)


def free_port(first: int) -> int:
    """The first free port from there up. Raises TourFailed where a hundred are taken."""
    for port in range(first, first + PORT_TRIES):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise TourFailed(f"all ports from {first} to {first + PORT_TRIES} are taken")


def _on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _stop(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
