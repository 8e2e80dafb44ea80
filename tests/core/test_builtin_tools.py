"""The catalogue of Claude Code's built-in tools, and the rules that are made of their names."""

from __future__ import annotations

import pytest

from core.builtin_tools import BY_NAME, TOOLS, named, rules, tool_of


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("Read", "Read"),
        ("read_file", "Read"),
        ("write_file", "Write"),
        ("edit_file", "Edit"),
        ("run_command", "Bash"),
        ("list_directory", "Glob"),
        ("search_files", "Glob"),
        ("search_in_files", "Grep"),
        ("web_search", "WebSearch"),
        ("fetch_url", "WebFetch"),
        ("bash", "Bash"),
    ],
)
def test_a_tool_has_claude_codes_name_and_friendly_ones(name: str, tool: str) -> None:
    assert named(name).name == tool


def test_every_tool_has_a_schema_with_its_subject() -> None:
    for tool in TOOLS:
        assert tool.subject in tool.input_schema["properties"], tool.name


def test_rules_get_claude_codes_names_and_stand_once() -> None:
    assert rules(["read_file", "run_command(git *)", "Read", "mcp__calc"]) == (
        "Read",
        "Bash(git *)",
        "mcp__calc",
    )
    assert rules(["all"]) == tuple(BY_NAME)
    assert rules(["none"]) == ()
    assert [tool_of(rule) for rule in ("Bash(git *)", "Read", "mcp__a__b")] == [
        "Bash",
        "Read",
        "mcp__a__b",
    ]


@pytest.mark.parametrize("rule", ["Frobnicate", "Bash(", "Bash()", "", "Bash(ls) x", "mcp__"])
def test_a_rule_of_no_tool_is_refused_with_the_names_of_all(rule: str) -> None:
    with pytest.raises(
        ValueError, match=r"not one of Claude Code's built-in tools: Read \(read_file\), "
    ):
        rules([rule])
