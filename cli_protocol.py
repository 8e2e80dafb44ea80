"""What is written to the CLI: one JSON object a line. Pure functions, no state.

The lines are those of `claude-cli.md`, "Native history on a live process" and "Using one process
again"; the contract tests hold each of them against the real CLI.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

from events import Block, JsonObject, Message, Sampling, ToolChoice, Turn

ADAPTIVE_THINKING_TOKENS = 31_999
"""Any number but 0 means adaptive thinking to newer models; older ones take it as the budget."""


def user_line(message: Message, *, ask: bool) -> JsonObject:
    """A user message. With `ask` the model answers; without, it only joins the conversation."""
    line: JsonObject = {
        "type": "user",
        "message": {"role": "user", "content": list(message.content)},
        "parent_tool_use_id": None,
        "uuid": str(uuid.uuid4()),
    }
    return line if ask else {**line, "shouldQuery": False}


def assistant_line(message: Message, model: str) -> JsonObject:
    """An earlier answer, as if this process had given it."""
    calls = any(block["type"] == "tool_use" for block in message.content)
    return {
        "type": "assistant",
        "message": {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": list(message.content),
            "stop_reason": "tool_use" if calls else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        },
        "parent_tool_use_id": None,
        "uuid": str(uuid.uuid4()),
    }


def boundary_line() -> JsonObject:
    """Makes the CLI forget everything before it."""
    return {
        "type": "system",
        "subtype": "compact_boundary",
        "uuid": str(uuid.uuid4()),
        "compact_metadata": {"trigger": "manual", "pre_tokens": 1},
    }


@dataclass(frozen=True, slots=True)
class LateSettings:
    """What may change between two turns of one process. Empty strings unset a variable."""

    model: str
    effort: str | None
    extra_body: str
    max_output_tokens: str
    thinking_tokens: int


def late_settings(turn: Turn, without: frozenset[str] = frozenset()) -> LateSettings:
    """The turn's settings; `without` names parameters that its model is known to refuse."""
    body = {k: v for k, v in _extra_body(turn).items() if k not in without}
    return LateSettings(
        model=turn.model,
        effort=None if "effort" in without else turn.effort,
        extra_body=json.dumps(body, separators=(",", ":")) if body else "",
        max_output_tokens=str(turn.sampling.max_tokens or ""),
        thinking_tokens=ADAPTIVE_THINKING_TOKENS if turn.thinking else 0,
    )


def _extra_body(turn: Turn) -> JsonObject:
    body = _sampling_body(turn.sampling)
    if turn.tools and turn.tool_choice != ToolChoice():
        body["tool_choice"] = _tool_choice_body(turn.tool_choice)
    if turn.output_schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": turn.output_schema}}
    return body


def _sampling_body(sampling: Sampling) -> JsonObject:
    body: JsonObject = {}
    if sampling.max_tokens is not None:
        body["max_tokens"] = sampling.max_tokens
    if sampling.temperature is not None:
        body["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop_sequences"] = list(sampling.stop)
    return body


def _tool_choice_body(choice: ToolChoice) -> JsonObject:
    body: JsonObject = {"type": choice.type}
    if choice.name is not None:
        body["name"] = choice.name
    if not choice.parallel and choice.type != "none":
        body["disable_parallel_tool_use"] = True
    return body


def settings_request(settings: LateSettings) -> JsonObject:
    return {
        "subtype": "apply_flag_settings",
        "settings": {
            "model": settings.model,
            "effortLevel": settings.effort,
            "env": {
                "CLAUDE_CODE_EXTRA_BODY": settings.extra_body,
                "CLAUDE_CODE_MAX_OUTPUT_TOKENS": settings.max_output_tokens,
            },
        },
    }


def thinking_request(settings: LateSettings) -> JsonObject:
    return {
        "subtype": "set_max_thinking_tokens",
        "max_thinking_tokens": settings.thinking_tokens,
    }


def control_line(request_id: str, request: JsonObject) -> str:
    line = {"type": "control_request", "request_id": request_id, "request": request}
    return json.dumps(line) + "\n"


def only_tool_results(content: tuple[Block, ...]) -> bool:
    return bool(content) and all(block["type"] == "tool_result" for block in content)


def answers_just(calls: set[str], content: tuple[Block, ...]) -> bool:
    """Whether a held process can take this: a plain result for each call and nothing else. (What
    MCP makes of an error keeps only its first text, so errors are replayed.)"""
    if not only_tool_results(content):
        return False
    results = [block for block in content if block["type"] == "tool_result"]
    failed = any(block.get("is_error") for block in results)
    ids = [block["tool_use_id"] for block in results]
    return not failed and len(ids) == len(calls) and set(ids) == calls
