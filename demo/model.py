"""The rules of the demo model: from a conversation to an answer."""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from demo import answer as answers
from demo import blocks, searching, speech
from demo.answer import Answer, Usage
from demo.blocks import AnswerBlock, Text, ToolUse
from demo.conversation import Conversation, blocks_of, text_of
from demo.directives import Call, Directive
from demo.errors import MESSAGES, ApiError, invalid
from demo.schema import instance

_QUOTED_CHARS: Final = 2000
_DEFAULT_STOP: Final = "end_turn"
_STRUCTURED: Final = "StructuredOutput"
_PLAN_FILE: Final = re.compile(r"(?:plan at|plan file already exists at) (/\S+\.md)")
_INSTRUCTED: Final = re.compile(r"by calling (?:the tool|at least one of the tools) `([^`]+)`")
STOP_REASONS: Final = frozenset(
    {
        "end_turn",
        "max_tokens",
        "stop_sequence",
        "tool_use",
        "pause_turn",
        "refusal",
        "model_context_window_exceeded",
    }
)
# Claude Code's built-in tools have names that are plain English words: "Write a poem" is not a
# call.
OWN_TOOLS: Final = frozenset(
    [
        "Agent",
        "Bash",
        "Edit",
        "EnterPlanMode",
        "ExitPlanMode",
        "Explore",
        "Glob",
        "Grep",
        "Monitor",
        "NotebookEdit",
        "Plan",
        "Read",
        "Skill",
        "StructuredOutput",
        "Task",
        "TodoWrite",
        "ToolSearch",
        "WebFetch",
        "WebSearch",
        "Workflow",
        "Write",
    ]
)


class DemoModel:
    """Answers by rules; the only state is the id counter and how often each text has failed. With
    `speaks` it talks as for people, where no directive says otherwise."""

    def __init__(self, *, speaks: bool = False) -> None:
        self._speaks = speaks
        # ids must not repeat when a stored conversation meets a restarted fake upstream
        self._run = secrets.token_hex(3)
        self._made = 0
        self._failed: dict[str, int] = {}

    def clear(self) -> None:
        """Forget how often each text has failed."""
        self._failed.clear()

    def check(self, talk: Conversation, asks: Directive) -> None:
        """Raise the `ApiError` that the directive asks for, if any."""
        for name in asks.reject:
            if name in talk.body:
                raise invalid(asks.message or f"`{name}` is deprecated for this model.")
        if asks.stop is not None and asks.stop not in STOP_REASONS:
            raise invalid(f"!demo: unknown stop reason {asks.stop!r}")
        if asks.error is None or asks.round != talk.rounds:
            return
        if asks.error_times is not None and self._count_failure(talk.asked) > asks.error_times:
            return
        raise error_of(asks, asks.error)

    def answer(self, talk: Conversation, asks: Directive, input_tokens: int) -> Answer:
        """The whole answer; `check` comes first."""
        found = tuple(self._blocks(talk, asks))
        answer = Answer(
            id=self._new_id("msg_demo_"),
            model=talk.model,
            blocks=found,
            stop_reason=_stop_reason(talk, asks, found),
            usage=_usage(asks, input_tokens, found),
            edits_context="context_management" in talk.body,
            pings=asks.pings,
            category=asks.category,
            explanation=asks.explanation,
        )
        stops = talk.body.get("stop_sequences") or []
        answer = answers.cut_at_stop(answer, stops)
        answer = answers.cut_at_limit(answer, talk.body["max_tokens"])
        return _stopped(answer, asks.stop, stops) if asks.stop else answer

    def paced(self, asks: Directive) -> Directive:
        """As fast as one reads, where it speaks and nothing else is asked for."""
        is_plain = self._speaks and asks == Directive()
        return replace(asks, rate=speech.WORDS_A_SECOND) if is_plain else asks

    def _count_failure(self, text: str) -> int:
        self._failed[text] = self._failed.get(text, 0) + 1
        return self._failed[text]

    def _new_id(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}{self._run}{self._made:08x}"

    def _blocks(self, talk: Conversation, asks: Directive) -> Iterator[AnswerBlock]:
        if asks.empty:
            return
        if asks.thinking is not None and (asks.thinking_force or _may_think(talk)):
            shown = (talk.body.get("thinking") or {}).get("display") != "omitted"
            yield blocks.thinking(asks.thinking, asks.chars, shown)
        if asks.redacted is not None and (asks.thinking_force or _may_think(talk)):
            yield blocks.redacted(asks.redacted)
        if calls := self._calls(talk, asks):
            if asks.say:
                yield Text(blocks.words(asks.say, asks.chars))
            if talk.tool_choice.get("disable_parallel_tool_use"):
                calls = calls[:1]
            for name, arguments in calls:
                yield self._tool_use(talk, asks, name, arguments)
        elif asks.search is not None and not talk.resumed:
            yield from self._search(talk, asks)
        elif text := self._text(talk, asks):
            cited = searching.citations(talk) if asks.cite else ()
            yield Text(blocks.words(text, asks.chars), cited)

    def _calls(self, talk: Conversation, asks: Directive) -> list[Call]:
        calls = chosen_calls(talk, asks)
        if not self._speaks or asks != Directive():
            return calls
        if file := speech.file_asked_for(talk):
            return [("Read", {"file_path": file})]
        if not calls and not talk.rounds and talk.tool_choice["type"] == "auto":
            names = [tool["name"] for tool in talk.tools if tool.get("name")]
            meant = speech.function_meant([n for n in names if n not in OWN_TOOLS], talk.asked)
            calls = [(meant, None)] if meant else []
        return calls

    def _text(self, talk: Conversation, asks: Directive) -> str:
        is_free = asks == Directive() and talk.output_schema is None
        return speech.text(talk) if self._speaks and is_free else chosen_text(talk, asks)

    def _search(self, talk: Conversation, asks: Directive) -> Iterator[AnswerBlock]:
        call_id = self._new_id("srvtoolu_demo_")
        if asks.pause:
            yield searching.search_begun(asks, call_id)
        else:
            yield from searching.search(talk, asks, call_id, chosen_text(talk, asks))

    def _tool_use(self, talk: Conversation, asks: Directive, name: str, arguments: Any) -> ToolUse:
        call_id = self._new_id("toolu_demo_")
        if asks.bad_args is not None:
            return blocks.broken_tool_use(call_id, name, asks.bad_args, asks.chars)
        offered = next((tool for tool in talk.tools if tool.get("name") == name), {})
        if arguments is None:
            schema = offered.get("input_schema") or {"type": "object"}
            arguments = speech.arguments(schema, talk.asked) if self._speaks else instance(schema)
        elif isinstance(arguments, dict) and "$PLAN_FILE" in arguments.values():
            path = _plan_file(talk)
            arguments = {k: path if v == "$PLAN_FILE" else v for k, v in arguments.items()}
        return blocks.tool_use(call_id, name, arguments, asks.chars)


def _plan_file(talk: Conversation) -> str:
    """Where Claude Code's plan mode tells the model to write its plan."""
    found = _PLAN_FILE.search("\n".join(text_of(m["content"]) for m in talk.body["messages"]))
    return found[1] if found else "$PLAN_FILE"


def error_of(asks: Directive, status: int) -> ApiError:
    """The error that a directive describes; 429 always has a retry-after."""
    retry_after = asks.retry_after
    if retry_after is None and status == 429:
        retry_after = 1.0
    return ApiError(status, asks.message or MESSAGES.get(status, MESSAGES[500]), retry_after)


def chosen_calls(talk: Conversation, asks: Directive) -> list[Call]:
    """The calls of this turn; empty when the model answers with text."""
    if asks.steps:
        return list(asks.steps[talk.rounds]) if talk.rounds < len(asks.steps) else []
    if asks.calls or asks.call:
        return [] if talk.rounds else [*asks.calls, *_named_calls(asks)]
    if _has_text(asks):
        return []
    return [(name, None) for name in _unasked_calls(talk)]


def chosen_text(talk: Conversation, asks: Directive) -> str:
    """The text of this turn, when it calls no tool."""
    if asks.recall:
        return json.dumps(_recalled(talk), ensure_ascii=False)
    if asks.tokens is not None:
        return " ".join(f"word{number}" for number in range(1, asks.tokens + 1))
    if (explicit := asks.json if asks.text is None else asks.text) is not None:
        return explicit
    if talk.output_schema is not None:
        return json.dumps(instance(talk.output_schema), ensure_ascii=False)
    if talk.rounds:
        results = "; ".join(f"{name}: {text[:_QUOTED_CHARS]}" for name, text in talk.results)
        return f"Demo model: tool results: {results}"
    return f'Demo model: you said "{talk.asked[:_QUOTED_CHARS]}".'


def _has_text(asks: Directive) -> bool:
    return asks.recall or any(each is not None for each in (asks.text, asks.json, asks.tokens))


def _named_calls(asks: Directive) -> list[Call]:
    if isinstance(asks.args, list):
        rest = [None] * (len(asks.call) - len(asks.args))
        return list(zip(asks.call, [*asks.args, *rest], strict=False))
    return [(name, asks.args) for name in asks.call]


def _unasked_calls(talk: Conversation) -> list[str]:
    """What a model would call of itself: a forced tool, or one that the text names."""
    names = [tool["name"] for tool in talk.tools if tool.get("name")]
    if instructed := _INSTRUCTED.findall(talk.system):
        return [instructed[-1]] if instructed[-1] in names else []
    match talk.tool_choice["type"]:
        case "tool":
            return [talk.tool_choice["name"]]
        case "any":
            return [next(iter(_mentioned(talk.asked, names)), names[0])] if names else []
        case "none":
            return []
    mentioned = [] if talk.rounds else _mentioned(talk.asked, names)
    if not mentioned and _STRUCTURED in names and _STRUCTURED not in talk.called:
        return [_STRUCTURED]
    return mentioned[:1]


def _mentioned(text: str, names: list[str]) -> list[str]:
    def place(name: str) -> int:
        bare = re.escape(name.rsplit("__", 1)[-1])
        found = re.search(rf"(?<![\w-]){bare}(?![\w-])", text)
        return found.start() if found else -1

    found = [(place(name), name) for name in names if name not in OWN_TOOLS]
    return [name for at, name in sorted(found) if at >= 0]


def _recalled(talk: Conversation) -> list[list[str]]:
    return [
        [m["role"], "\n".join(text_of([block]) for block in blocks_of(m))[:40]]
        for m in talk.body["messages"]
    ]


def _may_think(talk: Conversation) -> bool:
    return (talk.body.get("thinking") or {}).get("type") != "disabled"


def _stop_reason(talk: Conversation, asks: Directive, found: tuple[AnswerBlock, ...]) -> str:
    if any(isinstance(block, ToolUse) and block.type == "tool_use" for block in found):
        return "tool_use"
    return "pause_turn" if asks.pause and not talk.resumed else _DEFAULT_STOP


def _usage(asks: Directive, counted: int, found: tuple[AnswerBlock, ...]) -> Usage:
    uses = [block for block in found if isinstance(block, ToolUse)]
    thoughts = [block.pieces for block in found if isinstance(block, blocks.Thinking)]
    return Usage(
        counted if asks.input is None else asks.input,
        cached=asks.cached,
        cache_write=asks.cache_write + asks.cache_write_1h,
        cache_write_1h=asks.cache_write_1h,
        thinking=sum(len(pieces) for pieces in thoughts),
        searches=sum(1 for use in uses if use.type == "server_tool_use"),
        service_tier=asks.service_tier,
    )


def _stopped(answer: Answer, reason: str, stops: list[str]) -> Answer:
    sequence = (stops or ["###"])[0] if reason == "stop_sequence" else None
    return replace(answer, stop_reason=reason, stop_sequence=answer.stop_sequence or sequence)
