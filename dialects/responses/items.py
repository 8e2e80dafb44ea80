"""The input items of a Responses request -> a system prompt and native messages.

Source: https://platform.openai.com/docs/api-reference/responses/create#responses_create-input.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from core.conversation import Block, DocumentBlock, JsonObject, Message, Role, merged, text_block
from core.errors import InvalidRequest
from dialects import tool_results
from dialects.content import PartReader
from dialects.function_tools import arguments
from dialects.responses import compaction, signed
from dialects.responses.tools import ToolNames
from dialects.tool_names import Names, native_id

OWN_WORK = frozenset(
    {
        "web_search_call",
        "code_interpreter_call",
        "mcp_call",
        "mcp_list_tools",
        "mcp_approval_request",
    }
)
"""What the API's own tools did in an earlier answer: what came of it stands in the text."""


@dataclass(slots=True)
class Conversation:
    """What `read` made of the items: `ignored` names what had no counterpart; `decisions` are the
    answers to approval requests with which the items end."""

    system: str | None
    messages: tuple[Message, ...]
    ignored: set[str]
    decisions: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Reader:
    names: ToolNames
    parts: PartReader
    system: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    decisions: list[tuple[str, str]] = field(default_factory=list)

    def read(self, item: JsonObject, where: str) -> None:
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind != "mcp_approval_response":
            self.decisions.clear()  # of an earlier answer
        match kind:
            case "mcp_approval_response":
                self._decision(item, where)
            case "message":
                self._message(item, where)
            case "function_call":
                self._call(item, arguments(item.get("arguments")), where)
            case "custom_tool_call":
                self._call(item, {"input": _string(item, "input", where)}, where)
            case "function_call_output" | "custom_tool_call_output":
                self._result(item, where)
            case "reasoning":
                self._reasoning(item, where)
            case "compaction":
                self._compaction(item, where)
            case str() if kind in OWN_WORK:
                pass
            case "item_reference" | None:
                raise _unknown_reference(item, where)
            case _:
                raise InvalidRequest(
                    f"Input items of this type are not supported here: {str(kind)[:40]!r}.",
                    param=f"{where}.type",
                    code="unsupported_item",
                )

    def _add(self, role: Role, blocks: Iterable[Block], model: str | None = None) -> None:
        if kept := tuple(blocks):
            self.messages.append(Message(role, kept, model))

    def _message(self, item: JsonObject, where: str) -> None:
        content, place = _content(item, "content", where), f"{where}.content"
        match item.get("role"):
            case "system" | "developer":
                self.system.append(self.parts.text(content, place))
            case "user":
                self._add("user", self._asked(content, place))
            case "assistant":
                self._add("assistant", self.parts.answered(content, place))
            case role:
                raise InvalidRequest(
                    "The role must be 'user', 'assistant', 'system' or 'developer', "
                    f"not {str(role)[:40]!r}.",
                    param=f"{where}.role",
                )

    def _asked(self, content: Any, where: str) -> list[Block]:
        """A user's blocks. Files by address are left to the API, which fetches them itself."""
        if isinstance(content, str) or not any(_is_file_url(part) for part in content):
            return self.parts.asked(content, where)
        blocks: list[Block] = []
        for index, part in enumerate(content):
            place = f"{where}[{index}]"
            if _is_file_url(part):
                blocks.append(_document_of(part, place))
            else:
                blocks += self.parts.asked([part], place)
        return blocks

    def _call(self, item: JsonObject, given: JsonObject, where: str) -> None:
        name = self.names.native(_string(item, "name", where), _optional(item, "namespace"))
        call_id = native_id(_string(item, "call_id", where))
        self._add("assistant", [{"type": "tool_use", "id": call_id, "name": name, "input": given}])

    def _result(self, item: JsonObject, where: str) -> None:
        call_id = native_id(_string(item, "call_id", where))
        content = self.parts.result(_content(item, "output", where), f"{where}.output")
        self._add("user", [{"type": "tool_result", "tool_use_id": call_id, "content": content}])

    def _decision(self, item: JsonObject, where: str) -> None:
        approve = item.get("approve")
        if not isinstance(approve, bool):
            raise InvalidRequest("`approve` must be true or false.", param=f"{where}.approve")
        decision = json.dumps({"approve": approve, "reason": _optional(item, "reason") or ""})
        self.decisions.append((_string(item, "approval_request_id", where), decision))

    def _reasoning(self, item: JsonObject, where: str) -> None:
        """Only what Claude signed can go back; a summary alone says nothing to it."""
        encrypted = item.get("encrypted_content")
        if encrypted is None:
            return
        text = _string(item, "encrypted_content", where)
        thinking = signed.decode(text, f"{where}.encrypted_content")
        self._add("assistant", [cast(Block, thinking.block)], thinking.model)

    def _compaction(self, item: JsonObject, where: str) -> None:
        """The summary of what came before becomes a user's message."""
        text = _string(item, "encrypted_content", where)
        kept = signed.decode(text, f"{where}.encrypted_content", signed.COMPACTION)
        self._add("user", [text_block(compaction.told(kept.block["text"]))])


def read(
    given: str | Sequence[JsonObject],
    names: ToolNames,
    *,
    instructions: str | None = None,
    whole: bool = True,
) -> Conversation:
    """`instructions` go before what the items say to the model. Without `whole` something may come
    before the items, and `complete` is still to be called. Raises InvalidRequest."""
    parts = PartReader(Names(reserved=names.reserved))
    reader = _Reader(names, parts, system=[instructions or ""])
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    for index, item in enumerate(items):
        reader.read(item, "input" if isinstance(given, str) else f"input[{index}]")
    system = "\n\n".join(part for part in reader.system if part.strip()) or None
    native = tuple(tool_results.results_first(message) for message in merged(reader.messages))
    if not native and system is not None:
        native, system = (Message("user", (text_block(system),)),), None
    if whole:
        native = complete(native)
    if not reader.decisions or not native:
        _check_end(native, len(items))
    ignored = {name.replace("messages.", "input.") for name in parts.ignored}
    return Conversation(system, native, ignored, tuple(reader.decisions))


def check(items: Sequence[JsonObject], where: str = "items") -> None:
    """Raises InvalidRequest for an item that no request could use."""
    names = ToolNames()
    reader = _Reader(names, PartReader(Names()))
    for index, item in enumerate(items):
        reader.read(item, f"{where}[{index}]")


def complete(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """A whole conversation as the API takes it. Raises InvalidRequest."""
    try:
        return tool_results.complete(messages)
    except InvalidRequest as error:
        error.param = "input"
        raise


def _check_end(native: tuple[Message, ...], count: int) -> None:
    if not native:
        raise InvalidRequest("There is no input with any content.", param="input")
    if native[-1].role == "user":
        return
    raise InvalidRequest(
        "The input ends with the assistant's. Claude does not continue a begun answer: end it with "
        "a user's message or a tool's output.",
        param=f"input[{count - 1}]",
        code="unsupported_prefill",
    )


def _content(item: JsonObject, name: str, where: str) -> Any:
    content = item.get(name)
    if not isinstance(content, str | list):
        raise InvalidRequest(
            "This must be a string or a list of parts.",
            param=f"{where}.{name}",
            code="invalid_type",
        )
    for index, part in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(part, dict | str):
            place = f"{where}.{name}[{index}]"
            raise InvalidRequest("A part must be an object.", param=place, code="invalid_type")
    return content


def _is_file_url(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "input_file" and "file_url" in part


def _document_of(part: JsonObject, where: str) -> Block:
    url = part["file_url"]
    if not isinstance(url, str) or not url.startswith("https://"):
        raise InvalidRequest("A file's address must be an `https` URL.", param=f"{where}.file_url")
    source = {"type": "url", "url": url}
    return cast(DocumentBlock, {"type": "document", "source": source})


def _string(item: JsonObject, name: str, where: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        message = "This must be a string."
        raise InvalidRequest(message, param=f"{where}.{name}", code="invalid_type")
    return value


def _optional(item: JsonObject, name: str) -> str | None:
    value = item.get(name)
    return value if isinstance(value, str) else None


def _unknown_reference(item: JsonObject, where: str) -> InvalidRequest:
    name = str(item.get("id"))[:80]
    return InvalidRequest(
        f"Item with id {name!r} not found. Items of responses with `store: false` are not kept.",
        param=where,
        code="item_not_found",
    )
