"""The models in OpenAI's shape (https://platform.openai.com/docs/api-reference/models), with what
Claude Code tells of them beside it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from claude_cli import ModelCard, Price
from web.dependencies import Catalogue, Pipeline, Principal, ResolveModel

router = APIRouter(prefix="/v1/models", tags=["models"])

RELEASE_DATE = re.compile(r"-(20\d{6})(?!\d)")


class LongPromptPricing(BaseModel):
    """Prices in US dollars per million tokens of prompts longer than `over_tokens`."""

    over_tokens: int
    input: float
    output: float


class Pricing(BaseModel):
    """US dollars per million tokens."""

    input: float
    output: float
    long_prompt: LongPromptPricing | None = None


class Model(BaseModel):
    """`created` is the release date where the id names one, else 0: Claude Code does not tell.
    An agent is owned by `agents`; what it runs on has the price."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["anthropic", "agents"] = "anthropic"
    display_name: str
    description: str
    aliases: list[str]
    pricing: Pricing | None
    effort_levels: list[str]


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


@router.get("", summary="List the models, and the agents behind them")
async def list_models(principal: Principal, catalogue: Catalogue, pipeline: Pipeline) -> ModelList:
    """Those that the caller may use."""
    cards = await catalogue.list()
    usable = [card for card in cards if principal.may_use(card.id, *card.aliases)]
    usable += await pipeline.agent_cards(principal)
    return ModelList(data=[model_of(card) for card in usable])


@router.get("/{model:path}", summary="Look up a model by id or by another name for it")
async def retrieve_model(
    model: str,
    principal: Principal,
    resolve_model: ResolveModel,
    catalogue: Catalogue,
    pipeline: Pipeline,
) -> Model:
    for card in await pipeline.agent_cards(principal):
        if card.id.lower() == model.lower():
            return model_of(card)
    await resolve_model(model)
    return model_of(await catalogue.find(model))


def model_of(card: ModelCard) -> Model:
    return Model(
        id=card.id,
        created=created(card.id),
        owned_by=card.owner,
        display_name=card.display_name,
        description=card.description,
        aliases=list(card.aliases),
        pricing=pricing(card.price) if card.price else None,
        effort_levels=list(card.effort_levels),
    )


def created(model_id: str) -> int:
    found = RELEASE_DATE.search(model_id)
    try:
        date = datetime.strptime(found[1] if found else "", "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return 0
    return int(date.timestamp())


def pricing(price: Price) -> Pricing:
    over, read, written = (
        price.long_prompt_tokens,
        price.long_prompt_input,
        price.long_prompt_output,
    )
    if over is None or read is None or written is None:
        return Pricing(input=price.input, output=price.output)
    long_prompt = LongPromptPricing(over_tokens=over, input=read, output=written)
    return Pricing(input=price.input, output=price.output, long_prompt=long_prompt)
