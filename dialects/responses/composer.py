"""A turn's events -> the response's output items, with the frames that tell of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from core.approval import APPROVAL_ID_PREFIX
from core.conversation import JsonObject
from core.events import (
    ApiEvent,
    BuiltinToolResult,
    BuiltinToolUse,
    Citation,
    Event,
    Finished,
    OtherBlock,
    Started,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from dialects.responses import server_tools, signed
from dialects.responses.events import EventWriter
from dialects.responses.output import (
    CustomCallItem,
    FunctionCallItem,
    ItemStatus,
    MessageItem,
    NewId,
    OpenItem,
    Place,
    ReasoningItem,
)
from dialects.responses.request import (
    CODE_OUTPUTS,
    ENCRYPTED_REASONING,
    SEARCH_SOURCES,
    ResponsesCall,
)
from dialects.responses.server_tools import ApprovalItem, CodeItem, McpItem, SearchItem
from dialects.responses.signed import SignedThinking

REFUSED = "The model refused to answer."


@dataclass(slots=True)
class Composer:
    """`model` is the one that answers, as soon as that is known."""

    call: ResponsesCall
    writer: EventWriter
    new_id: NewId
    model: str = ""
    _items: list[OpenItem] = field(default_factory=list)
    _open: OpenItem | None = None
    _waiting: dict[str, SearchItem | CodeItem | McpItem] = field(default_factory=dict)
    _labels: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        tools = self.call.request.tools or ()
        labels = (tool.get("server_label") for tool in tools if tool.get("type") == "mcp")
        self._labels = frozenset(label for label in labels if isinstance(label, str))

    @property
    def output(self) -> list[JsonObject]:
        return [item.item for item in self._items]

    def replayable(self) -> list[JsonObject]:
        """The items with all that makes them a native history, shown or not."""
        return [i.replayable() if isinstance(i, ReasoningItem) else i.item for i in self._items]

    def feed(self, event: Event) -> bytes:
        match event:
            case TextDelta(text):
                return self._text(text)
            case ThinkingDelta(text):
                return self._thinking(text)
            case ThinkingEnd(signature):
                return self._signed(signature)
            case ToolCallStart():
                return self._call(event)
            case ToolCallDelta(_, json):
                return self._arguments(json)
            case ToolCallEnd():
                return self._end()
            case Citation(citation):
                return self._cite(citation)
            case OtherBlock(block):
                return self._block(block)
            case BuiltinToolUse():
                return self._mcp_call(event)
            case BuiltinToolResult():
                return self._mcp_result(event)
            case ApiEvent(api_event):
                return self._boundary(api_event)
            case Finished(reason):
                return self._refuse() if reason == "refusal" else b""
            case Started(model):
                self.model = model
                return b""
            case _:
                assert_never(event)

    def close(self, status: ItemStatus) -> bytes:
        """Ends what is open: `incomplete` where the model was cut off in it."""
        frames = self._end(status)
        waiting, self._waiting = [*self._waiting.values()], {}
        return frames + b"".join(item.end(status) for item in waiting)

    def _end(self, status: ItemStatus = "completed") -> bytes:
        item, self._open = self._open, None
        return b"" if item is None else item.end(status)

    def _place(self, prefix: str) -> Place:
        return Place(self.writer, len(self._items), self.new_id(prefix))

    def _text(self, text: str) -> bytes:
        item, begun = self._message()
        return begun + item.add(text)

    def _message(self) -> tuple[MessageItem, bytes]:
        """The message that is open, or a new one with the frames of its beginning."""
        if isinstance(self._open, MessageItem):
            return self._open, b""
        ended = self._end()
        item = MessageItem(self._place("msg"))
        self._begin(item)
        return item, ended + item.begin()

    def _begin(self, item: OpenItem) -> None:
        self._items.append(item)
        self._open = item

    def _refuse(self) -> bytes:
        item, begun = self._message()
        return begun + item.refuse(REFUSED)

    def _cite(self, citation: JsonObject) -> bytes:
        source = citation.get("url") or citation.get("source")
        if not isinstance(source, str) or "://" not in source:
            return b""
        item, begun = self._message()
        return begun + item.cite({"url": source, "title": str(citation.get("title") or source)})

    def _boundary(self, event: JsonObject) -> bytes:
        """Blocks are what citations are about."""
        if event.get("type") not in ("content_block_start", "content_block_stop"):
            return b""
        return self._open.begin_block() if isinstance(self._open, MessageItem) else b""

    def _thinking(self, text: str) -> bytes:
        item, begun = self._reasoning()
        return begun + item.add(text)

    def _reasoning(self) -> tuple[ReasoningItem, bytes]:
        if isinstance(self._open, ReasoningItem):
            return self._open, b""
        ended = self._end()
        shows_encrypted = ENCRYPTED_REASONING in self.call.include
        item = ReasoningItem(self._place("rs"), self.call.summary, shows_encrypted)
        self._begin(item)
        return item, ended + item.begin()

    def _signed(self, signature: str) -> bytes:
        item, begun = self._reasoning()
        block = {"type": "thinking", "thinking": item.thinking, "signature": signature}
        self._encrypt(item, block)
        return begun + self._end()

    def _encrypt(self, item: ReasoningItem, block: JsonObject) -> None:
        item.encrypted = signed.encode(SignedThinking(self.model, block))

    def _block(self, block: JsonObject) -> bytes:
        kind, use = str(block.get("type")), block.get("tool_use_id")
        if kind == "redacted_thinking":
            return self._redacted(block)
        if kind == "server_tool_use":
            return self._server_tool(block)
        if kind.endswith(server_tools.RESULT) and isinstance(use, str):
            item = self._waiting.pop(use, None)
            if isinstance(item, SearchItem | CodeItem):
                return item.result(block)
        return b""

    def _redacted(self, block: JsonObject) -> bytes:
        frames = self._end()
        item, begun = self._reasoning()
        self._encrypt(item, {"type": "redacted_thinking", "data": str(block.get("data") or "")})
        return frames + begun + self._end()

    def _server_tool(self, block: JsonObject) -> bytes:
        name, given = block.get("name"), block.get("input")
        if name == server_tools.SEARCH:
            with_sources = SEARCH_SOURCES in self.call.include
            query = server_tools.query_of(given)
            return self._wait(block, SearchItem(self._place("ws"), query, with_sources))
        if name in server_tools.CODE:
            with_outputs = CODE_OUTPUTS in self.call.include
            code = server_tools.code_of(given)
            return self._wait(block, CodeItem(self._place("ci"), code, with_outputs))
        return b""

    def _wait(self, use: JsonObject, item: SearchItem | CodeItem) -> bytes:
        frames = self._end()
        self._items.append(item)
        self._waiting[str(use.get("id"))] = item
        return frames + item.begin()

    def _call(self, event: ToolCallStart) -> bytes:
        frames = self._end()
        if self.call.turn.asks_by_item and event.id.startswith(APPROVAL_ID_PREFIX):
            self._begin(ApprovalItem(Place(self.writer, len(self._items), event.id)))
            return frames
        tool = self.call.names.wire(event.name)
        item: FunctionCallItem | CustomCallItem
        if tool.kind == "custom":
            item = CustomCallItem(self._place("ctc"), event.id, tool)
        else:
            item = FunctionCallItem(self._place("fc"), event.id, tool)
        self._begin(item)
        return frames + item.begin()

    def _arguments(self, json: str) -> bytes:
        if isinstance(self._open, FunctionCallItem | CustomCallItem | ApprovalItem):
            return self._open.add(json)
        return b""

    def is_mcp(self, event: Event) -> bool:
        """Whether this is the work of an MCP server that stands among the request's tools."""
        match event:
            case BuiltinToolUse():
                return server_tools.mcp_name(event, self._labels) is not None
            case BuiltinToolResult(use):
                return use in self._waiting
            case _:
                return False

    def _mcp_call(self, use: BuiltinToolUse) -> bytes:
        named = server_tools.mcp_name(use, self._labels)
        if named is None:
            return b""
        frames = self._end()
        item = McpItem(self._place("mcp"), *named, server_tools.json_of(use.input))
        self._items.append(item)
        self._waiting[use.id] = item
        return frames + item.begin()

    def _mcp_result(self, result: BuiltinToolResult) -> bytes:
        item = self._waiting.pop(result.id, None)
        if not isinstance(item, McpItem):
            return b""
        return item.result(server_tools.text_of(result), is_error=result.is_error)
