"""OpenAI chat messages -> a system prompt and native messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from core.conversation import (
    Block,
    Message,
    Role,
    SystemPrompt,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    merged,
    system_text,
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
    Content,
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

    system: SystemPrompt
    messages: tuple[Message, ...]
    ignored: tuple[str, ...]


@dataclass(slots=True)
class _Reader:
    names: Names
    parts: PartReader
    system: list[TextBlock] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    legacy_calls: int = 0

    def read(self, message: ChatMessage, where: str) -> None:
        place = f"{where}.content"
        match message:
            case SystemMessage():
                self._note_name(message.name)
                self.system += self._system(message.content, place)
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

    def _system(self, content: Content, where: str) -> list[TextBlock]:
        """One block of each message; several where one has cache marks of its own."""
        blocks = self.parts.texts(content, where)
        if not any("cache_control" in block for block in blocks):
            blocks = [text_block("".join(block["text"] for block in blocks))]
        return [block for block in blocks if block["text"].strip()]

    def system_prompt(self) -> SystemPrompt:
        """The system messages, joined by an empty line; as blocks where they have cache marks."""
        blocks = tuple(self.system)
        return blocks if any("cache_control" in block for block in blocks) else system_text(blocks)

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
        calls = self._calls(message)
        return [*blocks, *(call for call in calls if call["id"] not in known)]

    def _calls(self, message: AssistantMessage) -> Iterable[ToolUseBlock]:
        for call in message.tool_calls or []:
            yield self._call(native_id(call.id), call.function)
        if message.function_call is not None:
            self.legacy_calls += 1
            yield self._call(f"call_{self.legacy_calls}", message.function_call)

    def _call(self, call_id: str, call: FunctionCall) -> ToolUseBlock:
        return {
            "type": "tool_use",
            "id": call_id,
            "name": self.names.native(call.name),
            "input": arguments(call.arguments),
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
    system = reader.system_prompt()
    native = tuple(tool_results.results_first(message) for message in merged(reader.messages))
    if not native and system is not None:
        native, system = (Message("user", tuple(reader.system)),), None
    if whole:
        native = complete(native)
    _check_end(native, messages)
    ignored = tuple(sorted(reader.parts.ignored))
    return Conversation(system, native, ignored)


def _check_end(native: tuple[Message, ...], messages: list[ChatMessage]) -> None:
    if not native:
        raise InvalidRequest("No message has any content.", param="messages")
    if isinstance(messages[-1], UserMessage) and native[-1].role != "user":
        where = f"messages[{len(messages) - 1}].content"
        raise InvalidRequest("The last message is empty.", param=where)
