"""OpenAI chat messages -> a system prompt and native messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from core.conversation import (
    Block,
    Message,
    Role,
    ToolResultBlock,
    ToolUseBlock,
    merged,
    text_block,
)
from core.errors import InvalidRequest
from dialects import tool_results
from dialects.content import PartReader
from dialects.function_tools import arguments
from dialects.tool_names import Names, native_id
from models import (
    AssistantMessage,
    ChatMessage,
    FunctionCall,
    FunctionMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)

complete = tool_results.complete


@dataclass(slots=True)
class Conversation:
    """What `read` made of the messages: `ignored` names what had no counterpart."""

    system: str | None
    messages: tuple[Message, ...]
    ignored: tuple[str, ...]


@dataclass(slots=True)
class _Reader:
    names: Names
    parts: PartReader
    system: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    legacy_calls: int = 0

    def read(self, message: ChatMessage, where: str) -> None:
        place = f"{where}.content"
        match message:
            case SystemMessage():
                self._note_name(message.name)
                self.system.append(self.parts.text(message.content, place))
            case UserMessage():
                self._note_name(message.name)
                self._add("user", self.parts.asked(message.content, place))
            case AssistantMessage():
                self._note_name(message.name)
                self._add("assistant", self._answer(message, where))
            case ToolMessage():
                self._add("user", [self._result(native_id(message.tool_call_id), message, place)])
            case FunctionMessage():
                self._add("user", [self._result(f"call_{self.legacy_calls}", message, place)])

    def _note_name(self, name: str | None) -> None:
        if name:
            self.parts.ignored.add("messages.name")

    def _add(self, role: Role, blocks: Iterable[Block]) -> None:
        if kept := tuple(blocks):
            self.messages.append(Message(role, kept))

    def _answer(self, message: AssistantMessage, where: str) -> list[Block]:
        if (message.model_extra or {}).get("audio"):
            self.parts.ignored.add("messages.audio")
        blocks = self.parts.answered(message.content, f"{where}.content")
        if not blocks:
            blocks = self.parts.answered(message.refusal, f"{where}.refusal")
        known = {block["id"] for block in blocks if block["type"] == "tool_use"}
        calls = self._calls(message, where)
        return [*blocks, *(call for call in calls if call["id"] not in known)]

    def _calls(self, message: AssistantMessage, where: str) -> Iterable[ToolUseBlock]:
        for index, call in enumerate(message.tool_calls or []):
            place = f"{where}.tool_calls[{index}].function.arguments"
            yield self._call(native_id(call.id), call.function, place)
        if message.function_call is not None:
            self.legacy_calls += 1
            place = f"{where}.function_call.arguments"
            yield self._call(f"call_{self.legacy_calls}", message.function_call, place)

    def _call(self, call_id: str, call: FunctionCall, where: str) -> ToolUseBlock:
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
            "content": self.parts.result(message.content, where),
        }


def read(messages: list[ChatMessage], names: Names, *, whole: bool = True) -> Conversation:
    """Raises InvalidRequest for a conversation that the model could not have had. Without `whole`
    something may come before it, and `complete` is still to be called."""
    reader = _Reader(names, PartReader(names))
    for index, message in enumerate(messages):
        reader.read(message, f"messages[{index}]")
    system = "\n\n".join(part for part in reader.system if part.strip()) or None
    native = tuple(tool_results.results_first(message) for message in merged(reader.messages))
    if not native and system is not None:
        native, system = (Message("user", (text_block(system),)),), None
    if whole:
        native = complete(native)
    _check_end(native, messages)
    ignored = tuple(sorted(reader.parts.ignored))
    return Conversation(system, native, ignored)


def _check_end(native: tuple[Message, ...], messages: list[ChatMessage]) -> None:
    if not native:
        raise InvalidRequest("There is no message with any content.", param="messages")
    if native[-1].role == "user":
        return
    where = f"messages[{len(messages) - 1}]"
    if not isinstance(messages[-1], AssistantMessage):
        raise InvalidRequest("The last message is empty.", param=f"{where}.content")
    raise InvalidRequest(
        "The last message is the assistant's. Claude does not continue a begun answer: end the "
        "messages with a user's, which may ask to go on.",
        param=where,
        code="unsupported_prefill",
    )
