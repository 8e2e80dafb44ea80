"""Counts of tool uses: per principal, and never more than so many."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from core.conversation import text_block
from core.events import BuiltinToolResult, BuiltinToolUse, Event
from core.turn import ToolGrant, Turn
from turns.tool_stats import MOST_PRINCIPALS, MOST_TOOLS, Counts, ToolStats

DENIED = "Permission to use Bash with command rm x has been denied."


def use(name: str) -> list[Event]:
    return [BuiltinToolUse("1", name, {})]


def failed(name: str, text: str) -> list[Event]:
    return [*use(name), BuiltinToolResult("1", (text_block(text),), True)]


class Source:
    """Events that know whether they were closed."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self.is_closed = False

    async def run(self, turn: Turn) -> AsyncGenerator[Event, None]:
        try:
            for event in self._events:
                yield event
        finally:
            self.is_closed = True


def turn(principal: str) -> Turn:
    return Turn("any", (), principal=principal, builtin_tools=ToolGrant())


async def watch(stats: ToolStats, principal: str, events: list[Event]) -> None:
    run = stats.watched(Source(events).run)
    assert [event async for event in run(turn(principal))] == events


async def test_uses_errors_and_denials_are_counted_for_each_principal() -> None:
    stats = ToolStats()
    denied_by_a_program = "cat: Permission to use x has been denied"
    await watch(stats, "a", [*use("Read"), *failed("Bash", "exit 1"), *failed("Bash", DENIED)])
    await watch(stats, "a", failed("Bash", denied_by_a_program))
    assert stats.of("a") == {"Read": Counts(1, 0, 0), "Bash": Counts(3, 3, 1)}
    assert stats.of("b") == {}


async def test_neither_principals_nor_tools_are_counted_without_end() -> None:
    stats = ToolStats()
    for number in range(MOST_PRINCIPALS + 1):
        await watch(stats, str(number), use("Read"))
    assert (stats.of("0"), len(stats.of("1"))) == ({}, 1)
    await watch(stats, "a", [event for n in range(MOST_TOOLS + 5) for event in use(f"t{n}")])
    assert len(stats.of("a")) == MOST_TOOLS


async def test_what_is_watched_is_closed_with_the_watching() -> None:
    source = Source(use("Read"))
    watched = ToolStats().watched(source.run)(turn("a"))
    await anext(watched)
    await watched.aclose()
    assert source.is_closed
