"""`make demo`, `main.py demo`: the server on its fake upstream, three questions, and how to go on.

Starts `main.py --demo` as a child, talks to it with the official `openai` client, and leaves it
running until Ctrl-C; with `--exit`, DEMO_EXIT=1 or without a terminal it ends it at once. A number
is the first port to try, instead of 8000.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, cast

import httpx
import openai
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

ROOT = Path(__file__).resolve().parent.parent
FIRST_PORT = 8000
PORT_TRIES = 100
START_SECONDS = 60.0
STOP_SECONDS = 15.0
MODEL = "gpt-4o"
QUESTION = "My name is Ada. Why do I see a stream of words here?"
FOLLOW_UP = "What is my name?"
ABOUT_WEATHER = "What is the weather in Rome?"
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city, now",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
PASSED_ON = ("PATH", "TMPDIR", "LANG", "LC_ALL", "TERM", "NO_COLOR")
IS_INSTALLED = ROOT.name == "_server"
START = "claude-openai-server" if IS_INSTALLED else ".venv/bin/python main.py"


class TourFailed(Exception):
    """The server did not start, or not well; the message says what was seen."""


def main(argv: Sequence[str]) -> int:
    first = next((int(text) for text in argv if text.isdigit()), FIRST_PORT)
    return run(first, stays="--exit" not in argv)


def run(first_port: int, *, stays: bool) -> int:
    """The tour, and then the server until Ctrl-C if it `stays` and this is a terminal."""
    signal.signal(signal.SIGTERM, _stop)  # so that the child ends with us
    stays = stays and os.environ.get("DEMO_EXIT") != "1" and _on_a_terminal()
    try:
        with server(free_port(first_port)) as (child, url, log):
            tour(url)
            how_to_go_on(url, stays=stays)
            if stays:
                log.show()
                child.wait()
    except KeyboardInterrupt:
        print("\nStopped.")
    except (TourFailed, openai.OpenAIError) as error:
        print(f"\nThe tour failed: {error}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def server(port: int) -> Iterator[tuple[subprocess.Popen[bytes], str, Log]]:
    """`main.py --demo` on the port, once it is ready to answer; it has ended on leaving.

    What is set for the real server, in its settings file or the environment, is not the demo's: its
    API key, its limits, its sessions.
    """
    command = [sys.executable, str(ROOT / "main.py"), str(port), "--host", "127.0.0.1", "--demo"]
    environ = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="demo-") as without_settings:
        environ["HOME"] = without_settings
        child = subprocess.Popen(
            command,
            cwd=without_settings,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # its banner: the tour says the same
            stderr=subprocess.PIPE,
        )
        log = Log(cast(IO[bytes], child.stderr))
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(child, url, log)
            yield child, url, log
        finally:
            stop(child)


def wait_until_ready(child: subprocess.Popen[bytes], url: str, log: Log) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(trust_env=False, timeout=START_SECONDS) as client:  # no proxy for loopback
        while time.monotonic() < deadline:
            if child.poll() is not None:
                raise TourFailed(f"the server ended with status {child.returncode}\n{log.text()}")
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


def tour(url: str) -> None:
    """Three questions, with their times."""
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=f"{url}/v1", api_key="demo", http_client=http) as client:
        history: list[ChatCompletionMessageParam] = [{"role": "user", "content": QUESTION}]
        title("A chat, as it is written", f'client.chat.completions.create(model="{MODEL}", …)')
        history.append({"role": "assistant", "content": chat(client, history)})
        title("It knows what was said before", "the same conversation, one question more")
        history.append({"role": "user", "content": FOLLOW_UP})
        chat(client, history)
        title("It calls your function", "tools=[get_weather]")
        call_a_function(client)


def title(what: str, how: str) -> None:
    print(f"\n{bold(what)}   {how}\n")


def chat(client: openai.OpenAI, messages: list[ChatCompletionMessageParam]) -> str:
    """One streamed answer, printed as it comes, and how long its first token took."""
    print(f"> {messages[-1].get('content')}\n")
    arrivals, models, said = [], set(), ""
    started = time.perf_counter()
    for model, text in answer(client, messages):
        arrivals.append(time.perf_counter() - started)
        models.add(model)
        said += text
        print(text, end="", flush=True)
    if not arrivals:
        raise TourFailed("the stream held no text")
    first_ms, by = arrivals[0] * 1000, ", ".join(models)
    print(f"\n\nFirst token after {first_ms:.0f} ms, {len(arrivals)} pieces, answered by {by}.")
    return said


def answer(
    client: openai.OpenAI, messages: list[ChatCompletionMessageParam]
) -> Iterator[tuple[str, str]]:
    """The model and the pieces of its text, as the official client reads them."""
    chunks = client.chat.completions.create(model=MODEL, messages=messages, stream=True)
    for chunk in chunks:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            yield chunk.model, text


def call_a_function(client: openai.OpenAI) -> None:
    """The model asks for a function, which runs here; its result goes back."""
    print(f"> {ABOUT_WEATHER}\n")
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": ABOUT_WEATHER}]
    started = time.perf_counter()
    asked = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    asked_ms = (time.perf_counter() - started) * 1000
    message = asked.choices[0].message
    if not message.tool_calls or message.tool_calls[0].type != "function":
        raise TourFailed("the model did not call the function")
    call = message.tool_calls[0]
    result = get_weather(**json.loads(call.function.arguments))
    print(f"  {call.function.name}({call.function.arguments}) = {result}\n")
    messages.append(
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
            ],
        }
    )
    messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    started = time.perf_counter()
    said = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    said_ms = (time.perf_counter() - started) * 1000
    print(said.choices[0].message.content)
    print(
        f"\nThe call came after {asked_ms:.0f} ms, the answer to its result after {said_ms:.0f} ms."
    )


def get_weather(city: str) -> str:
    return json.dumps({"city": city, "sky": "clear", "celsius": 21})


def how_to_go_on(url: str, *, stays: bool) -> None:
    body = '{"model": "sonnet", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'
    print(f"""
{bold("Go on")}

  open {url}/ in a browser, or {url}/docs for all endpoints,

  curl -N {url}/v1/chat/completions \\
    -H 'content-type: application/json' \\
    -d '{body}'

  or point any OpenAI client at {url}/v1.
  With an account: set ANTHROPIC_API_KEY, then `{START}`.
""")
    if stays:
        print("The server keeps running here, and its log follows. Ctrl-C ends it.\n", flush=True)


def bold(text: str) -> str:
    """On a terminal that shows it."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\x1b[1m{text}\x1b[0m"


class Log:
    """What the server writes on its log: kept while the tour speaks, passed on afterwards."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._is_shown = False
        self.kept: deque[bytes] = deque(maxlen=50)
        threading.Thread(target=self._read, daemon=True).start()

    def show(self) -> None:
        self._is_shown = True

    def text(self) -> str:
        return b"".join(self.kept).decode(errors="replace")

    def _read(self) -> None:
        for line in self._source:
            if self._is_shown:
                sys.stderr.write(line.decode(errors="replace"))
                sys.stderr.flush()
            else:
                self.kept.append(line)


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
