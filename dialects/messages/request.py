"""Anthropic's request -> a `Call`: what need not be read is not, and nothing is written again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from core.conversation import Block, JsonObject, Message, SystemPrompt, text_block
from core.errors import InvalidRequest
from core.turn import Turn
from dialects.base import Call, Context, as_it_is
from dialects.messages.builtin_tools import ask, complete, fill
from dialects.messages.wire import MessagesRequest
from models import ToolActivity

NOT_REPLAYABLE = "claude-code-activity"
"""The signature of thinking that the API never signed: what this server shows of Claude Code's own
work. Such blocks come back with the next request and are left out of it."""

BETA_HEADER = "anthropic-beta"


@dataclass(frozen=True, slots=True)
class MessagesCall(Call):
    """`tool_activity`: where Claude Code's own work is shown."""

    tool_activity: ToolActivity = "reasoning"


def parse(request: MessagesRequest, context: Context) -> MessagesCall:
    """Raises InvalidRequest, in the API's words where they are known, and ToolsNotAllowed."""
    asked = ask(request, context.headers)
    native = request.others()
    if "max_tokens" not in native:  # the CLI would fill it in, where the API refuses the request
        raise InvalidRequest("max_tokens: Field required", param="max_tokens")
    turn = Turn(
        model=context.model,
        messages=read_messages(request.messages),
        system=read_system(request.system),
        principal=context.principal,
        session_id=context.session_id,
        betas=read_betas(context.raw_headers),
    )
    more: tuple[str, ...] = ()
    if asked.tool_request is None:
        if context.session_id is None:  # in a session they are only what is new
            native |= _conversation(request, turn)
        turn = replace(turn, native=native, api_events=True)
    else:
        turn, more = fill(turn, native, context.capabilities)
    return MessagesCall(
        turn=turn,
        stream=bool(request.stream),
        tool_request=asked.tool_request,
        ignored=tuple(sorted({*asked.ignored, *more})),
        complete=as_it_is if asked.tool_request is None else complete,
        tool_activity=asked.activity,
    )


def _conversation(request: MessagesRequest, turn: Turn) -> JsonObject:
    """`messages` and `system` as the client wrote them, but for blocks of this server's own."""
    messages = [
        written
        if len(written["content"]) == len(message.content) or _is_text(written)
        else {**written, "content": list(message.content)}
        for written, message in zip(request.messages, turn.messages, strict=True)
    ]
    given = "system" in request.model_fields_set
    return {"messages": messages, **({"system": request.system} if given else {})}


def _is_text(message: JsonObject) -> bool:
    return isinstance(message["content"], str)


def read_messages(messages: list[Any]) -> tuple[Message, ...]:
    """Each message with its blocks as the same objects. Raises InvalidRequest for what is no
    conversation in any reading; of all else the API is the judge."""
    if not messages:
        raise _invalid("messages", "at least one message is required")
    return tuple(_message(message, f"messages.{i}") for i, message in enumerate(messages))


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise _invalid(where, "Input should be a valid dictionary")
    for name in ("role", "content"):
        if name not in message:
            raise _invalid(f"{where}.{name}", "Field required")
    if not isinstance(role := message["role"], str):
        raise _invalid(f"{where}.role", "Input should be a valid string")
    blocks = _blocks(message["content"], f"{where}.content")
    kept = tuple(block for block in blocks if not _is_activity(block))
    return Message(role, kept)  # type: ignore[arg-type]  # the API knows more of them


def _blocks(content: Any, where: str) -> tuple[Block, ...]:
    if isinstance(content, str):
        return (text_block(content),)
    if not isinstance(content, list):
        raise _invalid(where, "Input should be a valid string or array")
    for index, block in enumerate(content):
        if not isinstance(block, dict):
            raise _invalid(f"{where}.{index}", "Input should be a valid dictionary")
        if not isinstance(block.get("type"), str):
            raise _invalid(f"{where}.{index}.type", "Field required")
    return tuple(content)


def _is_activity(block: Block) -> bool:
    return block["type"] == "thinking" and block.get("signature") == NOT_REPLAYABLE


def read_system(system: Any) -> SystemPrompt:
    """Raises InvalidRequest for what is neither a text nor text blocks."""
    if system is None or isinstance(system, str):
        return system
    if not isinstance(system, list) or not all(isinstance(block, dict) for block in system):
        raise _invalid("system", "Input should be a valid string or array")
    for index, block in enumerate(system):
        if block.get("type") != "text" or not isinstance(block.get("text"), str):
            raise _invalid(f"system.{index}.type", "Input should be 'text'")
    return tuple(system)


def read_betas(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The values of `anthropic-beta`, of which a request may have several, each with several."""
    values = (value.strip() for value in headers.get(BETA_HEADER, "").split(","))
    return tuple(value for value in values if value)


def _invalid(where: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{where}: {message}", param=where)
