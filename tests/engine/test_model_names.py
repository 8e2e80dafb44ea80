"""What a client's model name means to the CLI."""

from __future__ import annotations

import pytest

from config.settings import Settings
from core.conversation import JsonObject
from core.errors import ModelNotFound
from demo.capabilities import is_retired
from engine.catalogue import ModelCatalogue
from engine.known_models import CLI_ALIASES
from engine.model_successors import RETIRED
from tests.support.harness import Gateway

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
    ("claude-3-haiku-20240307", "haiku"),
    ("claude-3-5-sonnet-20241022", "sonnet"),
    ("claude-3-5-sonnet-latest", "sonnet"),
    ("claude-3.5-sonnet", "sonnet"),
    ("Claude-3.5-Sonnet", "sonnet"),
    ("anthropic/claude-3.7-sonnet:thinking", "sonnet"),
    ("claude-3-7-sonnet-20250219", "sonnet"),
    ("claude-sonnet-4-20250514", "sonnet"),
    ("claude-sonnet-4-0", "sonnet"),
    ("claude-opus-4-20250514", "opus"),
    ("claude-opus-4-1-20250805", "opus"),
    ("claude-sonnet-4.5", "claude-sonnet-4-5"),
    ("claude-4.5-sonnet", "claude-sonnet-4-5"),
    ("anthropic/claude-opus-4.6", "claude-opus-4-6"),
    ("openrouter/anthropic/claude-sonnet-5", "claude-sonnet-5"),
    ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20250929"),
    ("openai/gpt-4o", "sonnet"),
    ("openai/gpt-4o-mini", "haiku"),
    ("anthropic/sonnet", "sonnet"),
    ("claude-sonnet-4@20250514", "claude-sonnet-4@20250514"),
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


async def test_the_operators_own_name_goes_before_a_successor() -> None:
    catalogue = catalogue_of({"claude-3-5-sonnet-20241022": "claude-opus-5"})
    assert await catalogue.resolve("claude-3-5-sonnet-20241022") == "claude-opus-5"
    assert not catalogue.replaced("claude-3-5-sonnet-20241022")
    assert catalogue.replaced("claude-3.5-sonnet")
    assert not catalogue.replaced("sonnet")
    assert not catalogue.replaced("claude-sonnet-4.5"), "that is only a spelling"


async def test_retired_names_stay_what_they_are_where_the_operator_wants_it() -> None:
    settings = Settings.model_construct(model_successors=False)
    catalogue = ModelCatalogue(settings, _live)
    assert await catalogue.resolve("claude-3-5-sonnet-20241022") == "claude-3-5-sonnet-20241022"
    assert not catalogue.replaced("claude-3-5-sonnet-20241022")
    with pytest.raises(ModelNotFound):
        await catalogue.resolve("openai/a-model")


def test_every_retired_name_leads_to_a_family() -> None:
    assert set(RETIRED.values()) <= CLI_ALIASES
    assert not [name for name in RETIRED if not is_retired(name)], "the fake upstream refuses them"


@pytest.mark.wire
async def test_a_retired_model_is_answered_by_its_successor_and_said_so(gateway: Gateway) -> None:
    body = {
        "model": "claude-3-5-sonnet-20241022",
        "messages": [{"role": "user", "content": "Hello"}],
    }
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert answer.headers["x-model-replaced"] == "claude-3-5-sonnet-20241022"
    assert answer.json()["model"] == gateway.upstream.requests[-1].model == "claude-sonnet-5-5"
    plain = await gateway.http.post("/v1/chat/completions", json={**body, "model": "sonnet"})
    assert "x-model-replaced" not in plain.headers
