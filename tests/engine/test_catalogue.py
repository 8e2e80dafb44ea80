"""The list of models and what a client's model name means."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import pytest

from config.settings import Settings
from core.conversation import JsonObject
from core.errors import ModelNotFound, UpstreamError
from engine.catalogue import REFRESH_SECONDS, RETRY_SECONDS, ModelCatalogue, cards_of
from engine.known_models import KNOWN_MODELS, Price, plain_id

LEVELS = ["low", "medium", "high", "xhigh", "max"]


def entry(value: str, resolved: str, name: str, description: str, **more: object) -> JsonObject:
    return {
        "value": value,
        "resolvedModel": resolved,
        "displayName": name,
        "description": description,
        "supportedEffortLevels": LEVELS,
        "supportsThinkingOff": False,
        **more,
    }


LIVE: JsonObject = {
    "models": [
        entry(
            "default", "claude-opus-6", "Default (recommended)", "Use the default · $4/$20 per Mtok"
        ),
        entry("opus", "claude-opus-6", "Opus", "Opus 6 · For complex tasks · $4/$20 per Mtok"),
        entry(
            "haiku",
            "claude-haiku-6",
            "Haiku",
            "Haiku 6 · Fast · $0.10/$0.50 per Mtok ($0.50/$2.50 for prompts over 100k)",
        ),
        {"value": "mythos", "displayName": "Mythos", "description": "Mythos 1 · New"},
    ],
    "claude_code_version": "2.1.329",
}
BEDROCK: JsonObject = {
    "models": [
        entry("us.anthropic.claude-sonnet-5-5", "us.anthropic.claude-sonnet-5-5", "Sonnet", ""),
        entry(
            "us.anthropic.claude-opus-4-6-v1[1m]",
            "us.anthropic.claude-opus-4-6-v1[1m]",
            "Opus 4.6 (1M context)",
            "",
        ),
        {"value": "haiku", "resolvedModel": "us.anthropic.claude-haiku-4-5-20251001-v1:0"},
    ]
}


@dataclass
class Cli:
    """What the CLI answers, what processes of turns told, how often it was asked, and the time."""

    answer: JsonObject | Exception | None = field(default_factory=lambda: LIVE)
    reported: JsonObject | None = None
    asked: int = 0
    now: float = 0.0
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def server_info(self) -> JsonObject | None:
        self.asked += 1
        self.is_asked.set()
        await self.may_answer.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def clock(self) -> float:
        return self.now


def answering(answer: JsonObject | Exception | None) -> Cli:
    cli = Cli(answer)
    cli.may_answer.set()
    return cli


def catalogue_of(cli: Cli) -> ModelCatalogue:
    return ModelCatalogue(
        Settings.model_construct(), cli.server_info, lambda: cli.reported, cli.clock
    )


async def first_becomes(catalogue: ModelCatalogue, model_id: str) -> None:
    """Returns when the refresh in the background is through: no event tells of it."""
    async with asyncio.timeout(5):
        while (await catalogue.list())[0].id != model_id:  # noqa: ASYNC110  # see above
            await asyncio.sleep(0)


def test_each_model_is_listed_once_with_all_its_names() -> None:
    opus, haiku, mythos = cards_of(LIVE["models"])
    assert (opus.id, opus.display_name, opus.aliases) == (
        "claude-opus-6",
        "Opus",
        ("default", "opus"),
    )
    assert opus.description == "Opus 6 · For complex tasks"
    assert (opus.effort_levels, opus.thinking_off) == (tuple(LEVELS), False)
    assert haiku.price == Price(0.10, 0.50, 100_000, 0.50, 2.50)
    assert (mythos.id, mythos.price, mythos.thinking_off) == ("mythos", None, True)


def test_prices_are_dollars_per_million_tokens() -> None:
    assert cards_of(LIVE["models"])[0].price == Price(4.0, 20.0)


async def test_callers_at_the_same_time_share_one_question() -> None:
    cli = Cli()
    catalogue = catalogue_of(cli)
    lists = [asyncio.create_task(catalogue.list()) for _ in range(20)]
    await cli.is_asked.wait()
    cli.may_answer.set()
    assert {cards[0].id for cards in await asyncio.gather(*lists)} == {"claude-opus-6"}
    assert cli.asked == 1


async def test_a_caller_that_leaves_does_not_end_the_others_question() -> None:
    cli = Cli()
    catalogue = catalogue_of(cli)
    leaving = asyncio.create_task(catalogue.list())
    staying = asyncio.create_task(catalogue.list())
    await cli.is_asked.wait()
    leaving.cancel()
    cli.may_answer.set()
    assert (await staying)[0].id == "claude-opus-6"


async def test_the_list_is_kept_ten_minutes_and_then_refreshed_behind_the_callers_back() -> None:
    cli = answering(LIVE)
    catalogue = catalogue_of(cli)
    await catalogue.list()
    cli.now += REFRESH_SECONDS - 1
    await catalogue.list()
    assert cli.asked == 1
    cli.now += 1
    cli.answer = BEDROCK
    assert (await catalogue.list())[0].id == "claude-opus-6"
    await first_becomes(catalogue, "us.anthropic.claude-sonnet-5-5")
    assert cli.asked == 2


@pytest.mark.parametrize(
    "answer", [None, {}, {"models": []}, UpstreamError("gone"), ValueError("x")]
)
async def test_known_models_are_listed_while_the_cli_gives_no_list(
    answer: JsonObject | Exception | None,
) -> None:
    cli = answering(answer)
    catalogue = catalogue_of(cli)
    assert await catalogue.list() == KNOWN_MODELS
    cli.now += RETRY_SECONDS - 1
    assert await catalogue.list() == KNOWN_MODELS
    assert cli.asked == 1
    cli.now += 1
    cli.answer = LIVE
    await first_becomes(catalogue, "claude-opus-6")


async def test_a_known_name_asks_no_process_of_its_own() -> None:
    silent = Cli()
    catalogue = catalogue_of(silent)
    async with asyncio.timeout(10):
        assert await catalogue.resolve("gpt-4o") == "sonnet"
    await asyncio.sleep(0)
    assert silent.asked == 0


async def test_the_list_of_a_process_that_started_for_a_turn_will_do() -> None:
    cli = Cli()
    catalogue = catalogue_of(cli)
    cli.reported = LIVE
    assert await catalogue.resolve("gpt-4o-mini") == "haiku"
    assert (await catalogue.list())[0].id == "claude-opus-6"
    cli.reported = BEDROCK
    cli.now += REFRESH_SECONDS - 1
    await catalogue.resolve("haiku")
    assert (await catalogue.list())[0].id == "claude-opus-6"
    cli.now += 1
    await catalogue.resolve("haiku")
    assert (await catalogue.list())[0].id == "us.anthropic.claude-sonnet-5-5"
    assert cli.asked == 0


async def test_a_list_that_cannot_be_read_harms_no_request() -> None:
    cli = Cli()
    catalogue = catalogue_of(cli)
    cli.reported = {"models": [{"displayName": "no value"}]}
    assert await catalogue.resolve("gpt-4o") == "sonnet"
    cli.reported = LIVE
    cli.now += RETRY_SECONDS
    await catalogue.resolve("gpt-4o")
    assert (await catalogue.list())[0].id == "claude-opus-6"


async def test_an_unknown_name_waits_for_the_cli_only_once() -> None:
    cli = answering(None)
    catalogue = catalogue_of(cli)
    with pytest.raises(ModelNotFound):
        await catalogue.resolve("mythos")
    cli.may_answer.clear()
    cli.now += RETRY_SECONDS
    async with asyncio.timeout(10):
        with pytest.raises(ModelNotFound):
            await catalogue.resolve("mythos")
    assert cli.asked == 1
    await catalogue.aclose()


async def test_a_name_is_resolved_in_under_a_millisecond() -> None:
    catalogue = catalogue_of(answering(LIVE))
    await catalogue.list()
    started = time.process_time()  # of this process alone, however busy the machine is
    for _ in range(100):
        await catalogue.resolve("gpt-4o-mini")
    assert time.process_time() - started < 0.1


async def test_thinking_and_effort_are_those_of_the_live_list() -> None:
    catalogue = catalogue_of(answering(BEDROCK))
    await catalogue.list()
    assert catalogue.supports_thinking_off("haiku")
    assert not catalogue.supports_thinking_off("us.anthropic.claude-sonnet-5-5")
    assert not catalogue.supports_thinking_off("sonnet")
    assert catalogue.effort_levels("claude-sonnet-5-5") == tuple(LEVELS)


def test_before_the_live_list_the_known_models_count() -> None:
    catalogue = catalogue_of(Cli())
    assert not catalogue.supports_thinking_off("opus")
    assert not catalogue.supports_thinking_off("us.anthropic.claude-opus-5-5")
    assert catalogue.supports_thinking_off("claude-opus-4-7")
    assert catalogue.effort_levels("claude-opus-4-6") == ("low", "medium", "high", "max")


def test_of_an_unknown_model_thinking_can_be_turned_off_and_no_effort_is_known() -> None:
    catalogue = catalogue_of(Cli())
    assert catalogue.supports_thinking_off("claude-2")
    assert catalogue.effort_levels("claude-2") == ()


async def test_a_model_is_found_by_any_of_its_names() -> None:
    catalogue = catalogue_of(answering(LIVE))
    names = ("claude-opus-6", "opus", "default")
    assert {(await catalogue.find(name)).id for name in names} == {"claude-opus-6"}
    assert (await catalogue.find("gpt-4o-mini")).id == "claude-haiku-6"
    with pytest.raises(ModelNotFound):
        await catalogue.find("claude-unheard-of")


async def test_closing_ends_a_question_that_is_under_way() -> None:
    cli = Cli()
    catalogue = catalogue_of(cli)
    waiting = asyncio.create_task(catalogue.list())
    await cli.is_asked.wait()
    await catalogue.aclose()
    assert await waiting == KNOWN_MODELS


@pytest.mark.parametrize(
    ("model", "plain"),
    [
        ("us.anthropic.claude-opus-4-6-v1[1m]", "claude-opus-4-6"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5"),
        ("claude-opus-4-1@20250805", "claude-opus-4-1"),
        ("claude-sonnet-5-5", "claude-sonnet-5-5"),
    ],
)
def test_a_providers_id_leads_to_the_plain_one(model: str, plain: str) -> None:
    assert plain_id(model) == plain
