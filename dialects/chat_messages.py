"""OpenAI chat messages -> a system prompt and native messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dialects import content
from dialects.chat_tools import Names, arguments, native_id
from errors import InvalidRequest
from events import Block, Message, ToolResultBlock, merged, text_block
from models import (
    AssistantMessage,
    ChatMessage,
    FunctionCall,
    FunctionMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)


@dataclass(slots=True)
class Conversation:
    """What `read` made of the messages: `ignored` names what had no counterpart."""

    system: str | None
    messages: tuple[Message, ...]
    ignored: tuple[str, ...]


@dataclass(slots=True)
class _Reader:
    names: Names
    system: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    legacy_calls: int = 0

    def read(self, message: ChatMessage, where: str) -> None:
        if getattr(message, "name", None) and not isinstance(message, FunctionMessage):
            self.ignored.add("messages.name")
        match message:
            case SystemMessage():
                self.system.append(content.plain_text(message.content, f"{where}.content"))
            case UserMessage():
                self._add("user", content.blocks(message.content, f"{where}.content"))
            case AssistantMessage():
                self._add("assistant", self._answer(message, where))
            case ToolMessage():
                call_id = native_id(message.tool_call_id)
                self._add("user", [self._result(call_id, message, where)])
            case FunctionMessage():
                call_id = f"call_{self.legacy_calls}"
                self._add("user", [self._result(call_id, message, where)])

    def _add(self, role: str, blocks: Iterable[Block]) -> None:
        kept = tuple(blocks)
        if kept:
            self.messages.append(Message("user" if role == "user" else "assistant", kept))

    def _answer(self, message: AssistantMessage, where: str) -> Iterable[Block]:
        text = content.plain_text(message.content, f"{where}.content") or message.refusal or ""
        if text.strip():
            yield text_block(text)
        for index, call in enumerate(message.tool_calls or []):
            place = f"{where}.tool_calls[{index}].function.arguments"
            yield self._call(native_id(call.id), call.function, place)
        if message.function_call is not None:
            self.legacy_calls += 1
            place = f"{where}.function_call.arguments"
            yield self._call(f"call_{self.legacy_calls}", message.function_call, place)

    def _call(self, call_id: str, call: FunctionCall, where: str) -> Block:
        return {
            "type": "tool_use",
            "id": call_id,
            "name": self.names.native(call.name),
            "input": arguments(call.arguments, where),
        }

    def _result(
        self, call_id: str, message: ToolMessage | FunctionMessage, where: str
    ) -> ToolResultBlock:
        return {
            "type": "tool_result",
            "tool_use_id": call_id,
            "content": content.result_content(message.content, f"{where}.content"),
        }


def read(messages: list[ChatMessage], names: Names) -> Conversation:
    """Raises InvalidRequest for a conversation that the model could not have had."""
    reader = _Reader(names)
    for index, message in enumerate(messages):
        reader.read(message, f"messages[{index}]")
    system = "\n\n".join(part for part in reader.system if part) or None
    native = merged(reader.messages)
    _check(native)
    return Conversation(system, native, tuple(sorted(reader.ignored)))


def _check(messages: tuple[Message, ...]) -> None:
    if not messages:
        raise InvalidRequest("There is no message with any content.", param="messages")
    if messages[-1].role == "assistant":
        raise InvalidRequest(
            "The last message is the assistant's: it must be a user's or a tool's.",
            param="messages",
        )
    open_calls: set[str] = set()
    for message in messages:
        _check_results(message, open_calls)
        open_calls = {block["id"] for block in message.content if block["type"] == "tool_use"}


def _check_results(message: Message, open_calls: set[str]) -> None:
    """Each call is answered once, in the very next message; nothing else is."""
    answered: set[str] = set()
    for block in message.content:
        if block["type"] != "tool_result":
            continue
        call_id = block["tool_use_id"]
        if call_id in answered:
            raise _bad_result(f"The tool call {call_id!r} is answered twice.")
        if call_id not in open_calls:
            raise _bad_result(f"There is no tool call {call_id!r} before its result.")
        answered.add(call_id)
    if missing := sorted(open_calls - answered):
        raise _bad_result(
            "Tool calls without a result in the next messages: " + ", ".join(missing) + "."
        )


def _bad_result(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="messages", code="invalid_tool_results")
