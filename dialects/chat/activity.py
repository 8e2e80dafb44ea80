"""Claude Code's own work as a client sees it: lines between what the model says, and entries for
programs. Texts and inputs are cut, so that a file that is read or written is not sent along."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from core.builtin_tools import BY_NAME
from core.events import (
    PARAGRAPH,
    BuiltinToolResult,
    BuiltinToolUse,
    Event,
    Finished,
    StopReason,
    TextDelta,
    ThinkingDelta,
)
from core.turn import ToolGrant
from models import ClaudeActivity, ToolActivity

MOST_SHOWN = 2_000
MOST_IN_A_LINE = 200
LIMITS: dict[StopReason, str] = {"max_turns": "max_turns", "max_budget": "max_budget_usd"}
"""Why a turn with built-in tools may end before the model is done, and the field that says when."""

Shown: TypeAlias = tuple[Event | None, ClaudeActivity | None]
"""What goes into the answer for an event: text, if any, and an entry, if any."""


@dataclass(slots=True)
class Column:
    """A text that grows, of prose and of lines of work. `lead` begins a line of work, `turn` ends
    it where another follows."""

    lead: str = ""
    turn: str = "\n"
    _begun: bool = False
    _apart: bool = False
    _in_lines: bool = False
    _open: str | None = None

    def part(self) -> None:
        """What comes next does not continue the prose before it."""
        self._apart = True

    def prose(self, text: str) -> str:
        gap = PARAGRAPH if self._begun and self._apart else ""
        self._begun, self._apart, self._in_lines, self._open = True, False, False, None
        return gap + text

    def line(self, text: str, use: str | None = None) -> str:
        """`use` is the one that the line announces."""
        gap = (self.turn if self._in_lines else PARAGRAPH) if self._begun else ""
        self._begun, self._apart, self._in_lines, self._open = True, True, True, use
        return f"{gap}{self.lead}{text}"

    def end(self, use: str, title: str, outcome: str) -> str:
        """Goes on with the use's line, or writes another one where others came between."""
        if self._open != use:
            return self.line(f"{title} → {outcome}")
        self._open = None
        return f" → {outcome}"


@dataclass(slots=True)
class Activity:
    """The work of one answer. `entries` are those of a body: one for each use, with its outcome."""

    where: ToolActivity
    own: ToolGrant
    entries: dict[str, ClaudeActivity] = field(default_factory=dict)
    _text: Column = field(default_factory=lambda: Column(lead="> ", turn="  \n"))
    _thinking: Column = field(default_factory=Column)

    def shown(self, event: Event) -> Iterator[Shown]:
        match event:
            case TextDelta(text):
                yield TextDelta(self._text.prose(text)), None
            case ThinkingDelta(text):
                yield ThinkingDelta(self._thinking.prose(text)), None
            case BuiltinToolUse():
                yield self._begun(event)
            case BuiltinToolResult():
                yield self._ended(event)
            case Finished(reason) if reason in LIMITS:
                yield self._line(_limit(reason, self.own)), None
                yield event, None
            case _:
                yield event, None

    def _line(self, text: str, use: str | None = None) -> Event | None:
        match self.where:
            case "content":
                return TextDelta(self._text.line(text, use))
            case "reasoning":
                return ThinkingDelta(self._thinking.line(text, use))
            case "none":
                return None

    def _end(self, use: str, title: str, outcome: str) -> Event | None:
        match self.where:
            case "content":
                return TextDelta(self._text.end(use, title, outcome))
            case "reasoning":
                return ThinkingDelta(self._thinking.end(use, title, outcome))
            case "none":
                return None

    def _begun(self, use: BuiltinToolUse) -> Shown:
        tool = BY_NAME.get(use.name)
        entry = self.entries[use.id] = ClaudeActivity(
            id=use.id,
            name=use.name,
            friendly_name=tool.friendly_name if tool else use.name,
            input=_cut(use.input),
            status="started",
        )
        self._text.part()
        self._thinking.part()
        return self._line(self._title(use.name, use.input), use.id), entry

    def _ended(self, result: BuiltinToolResult) -> Shown:
        begun = self.entries.get(result.id)
        if begun is None:
            return None, None
        text = _text(result)
        entry = self.entries[result.id] = begun.model_copy(
            update={
                "status": "failed" if result.is_error else "finished",
                "result": text[:MOST_SHOWN],
                "result_chars": len(text),
            }
        )
        title = self._title(begun.name, begun.input)
        return self._end(result.id, title, _outcome(result, text)), entry

    def _title(self, name: str, given: dict[str, Any]) -> str:
        """`Read README.md`, `Bash: make test`, `calc add {"a":1}`."""
        tool = BY_NAME.get(name)
        if tool is None:
            words = name.removeprefix("mcp__").replace("__", " ")
            return _first_line(f"{words} {json.dumps(given, ensure_ascii=False)}")
        subject = str(given.get(tool.subject, ""))
        if self.own.directory is not None:
            subject = subject.removeprefix(f"{self.own.directory}/")
        return _first_line(f"{name}: {subject}" if name == "Bash" else f"{name} {subject}")


def _limit(reason: StopReason, own: ToolGrant) -> str:
    name = LIMITS[reason]
    return f"Stopped: the limit of the request was reached, {name} = {getattr(own, name)}."


def _text(result: BuiltinToolResult) -> str:
    return "\n".join(part["text"] for part in result.content if part["type"] == "text")


def _outcome(result: BuiltinToolResult, text: str) -> str:
    if result.is_error:
        return f"failed: {_first_line(text.removeprefix('<tool_use_error>'))}"
    kinds = [part["type"] for part in result.content]
    counts = [
        _count(len(text.splitlines()), "line"),
        _count(kinds.count("image"), "image"),
        _count(kinds.count("document"), "document"),
    ]
    return ", ".join(filter(None, counts)) or "nothing"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""


def _first_line(text: str) -> str:
    """The first line, which is not too long."""
    first, *more = text.strip().splitlines() or [""]
    return f"{first[:MOST_IN_A_LINE]}…" if more or len(first) > MOST_IN_A_LINE else first


def _cut(value: Any) -> Any:
    match value:
        case str():
            return value[:MOST_SHOWN]
        case dict():
            return {key: _cut(item) for key, item in value.items()}
        case list():
            return [_cut(item) for item in value]
        case _:
            return value
