"""A scripted `claude` for what the real one does not do on demand. Standard library only.

`installed(folder, mode)` writes an executable that plays one mode; it speaks as much of the line
protocol as a turn needs (docs/claude-cli.md, "Native history on a live process").
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

VERSION = "2.1.329"


def installed(folder: Path, mode: str) -> Path:
    """The path of a new executable for `CLAUDE_CLI_PATH`."""
    path = folder / "claude"
    place = str(Path(__file__).parent)
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {place!r})\n"
        f"import fake_claude\nfake_claude.main({mode!r})\n"
    )
    path.chmod(0o755)
    return path


def say(*messages: Any) -> None:
    for message in messages:
        sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def raw(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def event(**fields: Any) -> dict[str, Any]:
    return {
        "type": "stream_event",
        "event": fields,
        "parent_tool_use_id": None,
        "session_id": "s",
        "uuid": "u",
    }


def opening(text: str) -> list[dict[str, Any]]:
    message = {"id": "msg_1", "model": "claude-fake", "role": "assistant", "content": []}
    block = {"type": "text", "text": ""}
    return [
        event(type="message_start", message=message),
        event(type="content_block_start", index=0, content_block=block),
        event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": text}),
    ]


def ending() -> list[dict[str, Any]]:
    result = {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "duration_ms": 1,
        "duration_api_ms": 1,
        "num_turns": 1,
        "session_id": "s",
        "total_cost_usd": 0.5,
        "result": "",
    }
    return [
        event(type="content_block_stop", index=0),
        event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}),
        event(type="message_stop"),
        result,
    ]


def is_warm_up(settings: dict[str, Any]) -> bool:
    """Whether the limit of the next prompt is so low that the API is not called."""
    environment: dict[str, str] = settings.get("env", {})
    return environment.get("CLAUDE_CODE_BLOCKING_LIMIT_OVERRIDE") == "1"


def too_long() -> dict[str, Any]:
    """The result of a turn without a call."""
    return {**ending()[-1], "is_error": True, "result": "Prompt is too long"}


def answer() -> None:
    say(*opening("fake"), *ending())


def hang_in_turn() -> None:
    """Reads on and says nothing."""


def hang_in_the_middle() -> None:
    say(*opening("half"))


def crash_in_mid_line() -> None:
    say(*opening("half"))
    raw('{"type":"stream_event","event":{"type":"content_block_delta","ind')
    os._exit(3)


def garbage() -> None:
    """Lines that are no protocol, in the middle of a good answer."""
    raw("Warning: something\n\n\x00\x01\n[1, 2]\n3\nnull\n")
    say({"type": "unheard_of", "x": 1}, *opening("fake"))
    raw("{broken\n")
    say(*ending())


def broken_message() -> None:
    """A message of a known kind without its fields."""
    say({"type": "stream_event", "session_id": "s"})


def ends_silently() -> None:
    os._exit(0)


MODES: dict[str, Callable[[], None]] = {
    "answer": answer,
    "slow_start": answer,
    "refuses_settings": answer,
    "never_confirms": answer,
    "hang_in_turn": hang_in_turn,
    "hang_in_the_middle": hang_in_the_middle,
    "crash_in_mid_line": crash_in_mid_line,
    "garbage": garbage,
    "broken_message": broken_message,
    "ends_silently": ends_silently,
}


def main(mode: str) -> None:
    if mode == "crash_at_start":
        sys.stderr.write("Segmentation fault\n")
        os._exit(139)
    if mode == "slow_start":
        time.sleep(0.7)
    settings: dict[str, Any] = {}
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "control_request":
            if mode == "hang_at_start":
                continue
            settings = message["request"].get("settings", settings)
            is_for_turn = "settings" in message["request"] and not is_warm_up(settings)
            if mode == "never_confirms" and is_for_turn:
                continue
            if mode == "refuses_settings" and is_for_turn:
                refusal = {"request_id": message["request_id"], "error": "no such model"}
                say({"type": "control_response", "response": {"subtype": "error", **refusal}})
                continue
            response = {"claude_code_version": VERSION, "models": [], "account": {}}
            outcome = {"request_id": message["request_id"], "response": response}
            say({"type": "control_response", "response": {"subtype": "success", **outcome}})
        elif message["type"] == "user" and is_warm_up(settings):
            say(too_long())
        elif message["type"] == "user" and message.get("shouldQuery", True):
            say({"type": "system", "subtype": "status", "status": "requesting"})
            MODES[mode]()
