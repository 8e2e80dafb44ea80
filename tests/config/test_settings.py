"""Settings: defaults, forms, bad values, and that .env.example tells of every one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from config.credentials import METHOD_VARIABLES, may_pass
from config.settings import Settings, SettingsError, load_settings
from config.sizing import PROCESS_BYTES, processes_for

EXAMPLE = Path(__file__).parents[2] / ".env.example"
COMPUTED = {"MAX_PROCESSES"}
ILLUSTRATED = {"ANTHROPIC_CUSTOM_HEADERS"}
GIB = 1024**3


@pytest.fixture(autouse=True)
def no_settings_from_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_safe() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.cors_origins) == ("127.0.0.1", 8000, ())
    assert settings.claude_use_subscription is False


def test_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=9001\ndefault_model=opus\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("PORT", "9002")
    settings = load_settings()
    assert (settings.port, settings.default_model) == (9002, "opus")


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("CLAUDE_CLI_PATH", "")
    assert load_settings().port == 8000
    assert load_settings().claude_cli_path is None


def test_a_bare_name_of_the_cli_is_looked_up_on_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cli = tmp_path / "bin/claude"
    cli.parent.mkdir()
    cli.write_text("#!/bin/sh\n")
    cli.chmod(0o755)
    monkeypatch.setenv("CLAUDE_CLI_PATH", "claude-of-nobody")
    assert load_settings().claude_cli_path is None, "the bundled one is used"
    monkeypatch.setenv("CLAUDE_CLI_PATH", "claude")
    monkeypatch.setenv("PATH", str(cli.parent))
    assert load_settings().claude_cli_path == cli
    monkeypatch.setenv("CLAUDE_CLI_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match=r"^CLAUDE_CLI_PATH must be the path of the claude"):
        load_settings()


@pytest.mark.parametrize(
    ("value", "seconds"), [(600_000, 600.0), (10_000, 10.0), (9_999, 9_999.0), (600, 600.0)]
)
def test_a_timeout_under_ten_thousand_is_seconds(value: int, seconds: float) -> None:
    assert load_settings(max_timeout=value).timeout_seconds == seconds


@pytest.mark.parametrize(
    "text",
    [
        "https://a.example/, app://b",
        '["https://a.example","app://b"]',
        " https://a.example,app://b,",
    ],
)
def test_origins_are_a_list_or_comma_separated(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CORS_ORIGINS", text)
    assert load_settings().cors_origins == ("https://a.example", "app://b")


@pytest.mark.parametrize(
    "text", ['{"X-A": "1", "X-B": 2}', "X-A: 1\nX-B: 2", "X-A: 1\r\n\r\nX-B: 2\n"]
)
def test_custom_headers_become_the_lines_that_the_cli_reads(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", text)
    assert load_settings().anthropic_custom_headers == "X-A: 1\nX-B: 2"


def test_custom_headers_are_not_shown() -> None:
    assert "s3cret" not in repr(load_settings(anthropic_custom_headers="X-Key: s3cret"))


@pytest.mark.parametrize(
    "text", ["Read, Bash(git *, ls *) ,mcp__calc,", '["Read", "Bash(git *, ls *)", "mcp__calc"]']
)
def test_tools_are_a_list_of_names_and_rules(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ALLOWED_TOOLS", text)
    assert load_settings().allowed_tools == ("Read", "Bash(git *, ls *)", "mcp__calc")


BAD_VALUES: list[tuple[str, str, str]] = [
    ("PORT", "eighty", "PORT must be a whole number."),
    ("PORT", "70000", "PORT must be at most 65535."),
    ("MAX_TIMEOUT", "0", "MAX_TIMEOUT must be more than 0."),
    ("HEARTBEAT_SECONDS", "soon", "HEARTBEAT_SECONDS must be a number."),
    ("HEARTBEAT_SECONDS", "inf", "HEARTBEAT_SECONDS must be a finite number."),
    ("LOG_FORMAT", "xml", "LOG_FORMAT must be 'console' or 'json'."),
    ("LOG_LEVEL", "loud", "LOG_LEVEL must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'."),
    ("CLAUDE_USE_SUBSCRIPTION", "maybe", "CLAUDE_USE_SUBSCRIPTION must be true or false."),
    ("MODEL_ALIASES", "gpt-4*=opus", "MODEL_ALIASES must be a JSON object of patterns and models"),
    (
        "MODEL_ALIASES",
        '{"gpt-4*": 4}',
        "MODEL_ALIASES must be a JSON object of patterns and models",
    ),
    ("CORS_ORIGINS", "example.com", "CORS_ORIGINS must be a JSON list or comma separated origins"),
    ("CORS_ORIGINS", "[1]", "CORS_ORIGINS must be a JSON list or comma separated origins"),
    ("ANTHROPIC_CUSTOM_HEADERS", "s3cret", "ANTHROPIC_CUSTOM_HEADERS must be a JSON object"),
    ("ANTHROPIC_CUSTOM_HEADERS", '{"X": "a\\nb"}', "ANTHROPIC_CUSTOM_HEADERS must be a JSON"),
    ("ALLOWED_TOOLS", "[1", "ALLOWED_TOOLS must be a JSON list or names, comma separated."),
    ("SANDBOX", "perhaps", "SANDBOX must be 'auto', 'on', 'required' or 'off'."),
    ("CLAUDE_CLI_PATH", "/nowhere/claude", "CLAUDE_CLI_PATH must be the path of the claude"),
]


@pytest.mark.parametrize(("name", "value", "sentence"), BAD_VALUES)
def test_a_bad_value_is_told_in_one_sentence_without_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_file_that_is_no_text_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe")
    with pytest.raises(SettingsError, match=r"^\.env cannot be read: "):
        load_settings()


@pytest.mark.parametrize(
    ("available", "processes"),
    [(16 * GIB, 37), (4 * GIB, 9), (0, 2), (6 * PROCESS_BYTES, 3), (64 * GIB, 148)],
)
def test_processes_take_half_of_the_free_memory(available: int, processes: int) -> None:
    assert processes_for(available) == processes


def example() -> dict[str, str]:
    lines = re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
    return dict(lines)


def test_every_setting_is_in_the_example_with_its_description() -> None:
    words = " ".join(EXAMPLE.read_text().replace("\n# ", " ").split())
    missing = [
        name
        for name, field in Settings.model_fields.items()
        if name.upper() not in example() or not field.description or field.description not in words
    ]
    assert missing == []


def test_every_variable_of_the_example_is_a_setting_or_reaches_the_cli() -> None:
    settings = {name.upper() for name in Settings.model_fields}
    unknown = [
        name
        for name in example()
        if name not in settings and not any(may_pass(name, method) for method in METHOD_VARIABLES)
    ]
    assert unknown == []


def test_the_defaults_of_the_example_are_the_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    default = load_settings()
    names = [name for name in Settings.model_fields if name.upper() not in COMPUTED | ILLUSTRATED]
    for name in names:
        monkeypatch.setenv(name.upper(), example()[name.upper()])
    assert _values(load_settings(), names) == _values(default, names)


def _values(settings: Settings, names: list[str]) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in names}
