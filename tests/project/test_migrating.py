"""What other wrappers' users are told to use here is here."""

from __future__ import annotations

import re
from typing import Any

import pytest

from config.settings import Settings, load_settings
from engine.catalogue import ModelCatalogue
from main import create_app
from models import BuiltinToolHeaders, ChatRequest
from tests.support.arguments import understood
from tests.support.pages import ROOT, blocks, known_variables

PAGE = ROOT / "docs" / "migrating.md"
ROW = re.compile(r"^\| .*? \| (.*?) \| .*\|$", re.MULTILINE)
HERE = sorted(
    {code for cell in ROW.findall(PAGE.read_text()) for code in re.findall(r"`([^`]+)`", cell)}
)
ANSWERED = {"param", "x-ignored-parameters", "opus", "sonnet", "haiku"}
HEADERS = {name.replace("_", "-") for name in BuiltinToolHeaders.model_fields} | {"x-session-id"}


@pytest.fixture(scope="module")
def endpoints() -> set[str]:
    paths: dict[str, Any] = create_app(Settings.model_construct(), environ={}).openapi()["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


@pytest.mark.parametrize("code", HERE)
def test_what_is_named_in_the_column_here_exists(code: str, endpoints: set[str]) -> None:
    if code.startswith("python main.py"):
        words = code.split()[2:]
        understood(words)
    elif re.match(r"(GET|POST|PUT|DELETE) ", code):
        assert code in endpoints
    elif re.match(r"[A-Z][A-Z0-9_]+(=|$)", code):
        assert code.partition("=")[0] in known_variables()
    else:
        assert code.lower() in {*HEADERS, *ChatRequest.model_fields, *ANSWERED}


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("claude-opus-4", "opus"),
        ("claude-max/claude-haiku-4", "haiku"),
        ("claude-sonnet-4", "sonnet"),
    ],
)
async def test_the_aliases_of_the_page_lead_to_claude_codes_own(
    name: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [block] = [block for block in blocks() if block.page == "docs/migrating.md"]
    for variable, value in re.findall(r"^(\w+)=(.*)$", block.text, re.M):
        monkeypatch.setenv(variable, value)

    async def no_list() -> None:
        return None

    catalogue = ModelCatalogue(load_settings(), no_list)
    assert await catalogue.resolve(name) == model
    await catalogue.aclose()
