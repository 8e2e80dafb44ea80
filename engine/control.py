"""What is written to the CLI: one JSON object a line. Pure functions, no state.

The lines are those of `docs/claude-cli.md`, "The whole body" and "Native history on a live
process"; the contract tests hold each of them against the real CLI.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable

from core.conversation import Block, JsonObject, Message
from core.errors import InvalidRequest
from engine.ask import Ask

PROMPT = "."
"""All that the CLI itself is asked: the body carries the conversation."""

NO_CALL = "1"
"""As a limit of the prompt's length in tokens, it keeps the CLI from calling the API at all."""

UNLIMITED = "1000000000"
LARGEST_OUTPUT = "1000000"
"""The CLI cuts it down to the most that a model can write."""


def settings_line(
    request_id: str, model: str, body: str, prompt_limit: str, headers: str | None = None
) -> str:
    """Sets model and body for the next call. `body` is a JSON object, or "" for none; with a wrong
    one the CLI would ask the model `PROMPT`, without an error. `headers` stay until others come."""
    environment = {
        "CLAUDE_CODE_EXTRA_BODY": body,
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": LARGEST_OUTPUT,
        "CLAUDE_CODE_BLOCKING_LIMIT_OVERRIDE": prompt_limit,
    }
    if headers is not None:
        environment["ANTHROPIC_CUSTOM_HEADERS"] = headers
    settings = {"model": model, "env": environment}
    return control_line(request_id, {"subtype": "apply_flag_settings", "settings": settings})


def asking_line(request_id: str, ask: Ask, prompt_limit: str) -> str:
    """The settings line of a whole body. Raises InvalidRequest for a number that JSON has not."""
    try:
        text = body_text(ask.body)
    except ValueError as error:
        message = "The request holds a number that JSON does not have (NaN or Infinity)."
        raise InvalidRequest(message) from error
    return settings_line(request_id, ask.model, text, prompt_limit, ask.headers)


def body_text(body: JsonObject) -> str:
    """The body as JSON. Raises ValueError for a number that JSON has not."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def interrupt_line(request_id: str) -> str:
    return control_line(request_id, {"subtype": "interrupt"})


def withdraw_line(request_id: str, line_id: str) -> str:
    """Takes a user line back that waits for its turn."""
    return control_line(request_id, {"subtype": "cancel_async_message", "message_uuid": line_id})


def control_line(request_id: str, request: JsonObject) -> str:
    return _line({"type": "control_request", "request_id": request_id, "request": request})


def control_answer_line(request_id: str, answer: JsonObject) -> str:
    """The answer to a request of the CLI's own."""
    response = {"subtype": "success", "request_id": request_id, "response": answer}
    return _line({"type": "control_response", "response": response})


def boundary_line() -> str:
    """Makes the CLI forget everything before it."""
    return _line(
        {
            "type": "system",
            "subtype": "compact_boundary",
            "session_id": "default",
            "uuid": str(uuid.uuid4()),
            "compact_metadata": {"trigger": "manual", "pre_tokens": 1},
        }
    )


def user_line(
    content: Iterable[Block] | str, *, ask: bool = True, line_id: str | None = None
) -> str:
    """A user message. With `ask` the model answers; without, it only joins the conversation. It is
    marked as the SDK's `verbatim_prompts` marks it: `@` and `/` in it mean nothing."""
    line: JsonObject = {
        "type": "user",
        "message": {"role": "user", "content": content if content == PROMPT else [*content]},
        "parent_tool_use_id": None,
        "session_id": "default",
        "uuid": line_id or str(uuid.uuid4()),
        "client_composed": True,
    }
    return _line(line if ask else {**line, "shouldQuery": False})


def assistant_line(message: Message, model: str) -> str:
    """An earlier answer, as if this process had given it; `model` where it is not known whose."""
    calls = any(block["type"] == "tool_use" for block in message.content)
    answer = {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": message.model or model,
        "content": [*message.content],
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
    return _line(
        {
            "type": "assistant",
            "message": answer,
            "parent_tool_use_id": None,
            "session_id": "default",
            "uuid": str(uuid.uuid4()),
            "client_composed": True,
        }
    )


def _line(message: JsonObject) -> str:
    """ASCII alone: some readers take U+2028 for the end of a line."""
    return json.dumps(message, separators=(",", ":")) + "\n"
