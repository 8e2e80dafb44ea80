"""What a client's model name means to the CLI."""

from __future__ import annotations

import pytest

from config.settings import Settings
from core.conversation import JsonObject
from core.errors import ModelNotFound
from engine.catalogue import ModelCatalogue

LIVE: JsonObject = {
    "models": [
        {"value": "opus", "resolvedModel": "claude-opus-6"},
        {"value": "mythos", "resolvedModel": "claude-mythos-1"},
    ]
}


def catalogue_of(
    model_aliases: dict[str, str] | None = None, default_model: str = "sonnet"
) -> ModelCatalogue:
    settings = Settings.model_construct(
        model_aliases=model_aliases or {}, default_model=default_model
    )
    return ModelCatalogue(settings, _live)


async def _live() -> JsonObject:
    return LIVE


NAMES = [
    ("", "sonnet"),
    ("sonnet", "sonnet"),
    ("Opus", "opus"),
    ("default", "default"),
    ("fable", "fable"),
    ("sonnet[1m]", "sonnet[1m]"),
    ("mythos", "mythos"),
    ("claude-opus-6", "claude-opus-6"),
    ("claude-3-haiku-20240307", "claude-3-haiku-20240307"),
    ("anthropic.claude-opus-5", "anthropic.claude-opus-5"),
    ("us.anthropic.claude-opus-4-1-20250805-v1:0", "us.anthropic.claude-opus-4-1-20250805-v1:0"),
    ("claude-opus-4-1@20250805", "claude-opus-4-1@20250805"),
    ("arn:aws:bedrock:us-east-1:1:application-inference-profile/x", None),
    ("gpt-3.5-turbo", "haiku"),
    ("gpt-4", "sonnet"),
    ("gpt-4o", "sonnet"),
    ("GPT-4o", "sonnet"),
    ("gpt-4o-2024-08-06", "sonnet"),
    ("gpt-4o-mini", "haiku"),
    ("gpt-4.1-nano", "haiku"),
    ("gpt-5", "sonnet"),
    ("gpt-5-mini", "haiku"),
    ("chatgpt-4o-latest", "sonnet"),
    ("o1", "sonnet"),
    ("o1-preview", "sonnet"),
    ("o3-mini", "haiku"),
    ("o4-mini", "haiku"),
]


@pytest.mark.parametrize(("name", "reported"), NAMES)
async def test_a_clients_name_means(name: str, reported: str | None) -> None:
    assert await catalogue_of().resolve(name) == (name if reported is None else reported)


@pytest.mark.parametrize("name", ["llama-3", "gpt", "text-embedding-3-small", "x" * 5000])
async def test_an_unknown_name_is_refused_as_openai_does(name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        await catalogue_of().resolve(name)
    error = caught.value.openai_body()["error"]
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert error["message"].endswith("does not exist or you do not have access to it.")
    assert len(error["message"]) < 200


OWN_TABLES: list[tuple[dict[str, str], str, str]] = [
    ({"gpt-4*": "opus"}, "gpt-4", "opus"),
    ({"GPT-4*": "opus"}, "gpt-4", "opus"),
    ({"gpt-4o*": "opus"}, "gpt-4o-mini", "opus"),
    ({"gpt-4o*": "opus"}, "gpt-4", "sonnet"),
    ({"*": "opus"}, "llama-3", "opus"),
    ({"*": "opus"}, "gpt-4", "sonnet"),
    ({"*": "opus"}, "claude-opus-9", "claude-opus-9"),
    ({"claude-3*": "haiku"}, "claude-3-opus-20240229", "haiku"),
    ({"opus": "sonnet"}, "opus", "sonnet"),
    ({"my-model": "claude-opus-6"}, "my-model", "claude-opus-6"),
]


@pytest.mark.parametrize(("aliases", "name", "reported"), OWN_TABLES)
async def test_the_most_specific_pattern_wins_and_the_operators_among_equals(
    aliases: dict[str, str], name: str, reported: str
) -> None:
    assert await catalogue_of(model_aliases=aliases).resolve(name) == reported


async def test_the_default_model_may_be_any_name() -> None:
    assert await catalogue_of(default_model="gpt-4o-mini").resolve("") == "haiku"
