"""The models in OpenAI's shape (https://platform.openai.com/docs/api-reference/models), with what
is known of them beside it; in Anthropic's (https://docs.anthropic.com/en/api/models-list) where the
request has an `anthropic-version`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from claude_cli import ModelCard, Price
from web.anthropic import asks_in_anthropics_way
from web.dependencies import Catalogue, Pipeline, Principal

router = APIRouter(prefix="/v1/models", tags=["models"])

LONGEST_PAGE = 1000
LINE = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)\b")
UNKNOWN_DAY = datetime.fromtimestamp(0, UTC)
"""Anthropic's own word for a release that is not known."""


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
    """`created` is the release date, else 0; what is not known of a model is null. Agents are
    owned by `agents`; prices and limits are those of the model that one runs on."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["anthropic", "agents"] = "anthropic"
    display_name: str
    description: str
    aliases: list[str]
    pricing: Pricing | None
    effort_levels: list[str]
    context_window: int | None
    max_output_tokens: int | None


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class AnthropicModel(BaseModel):
    """A model in Anthropic's shape."""

    type: Literal["model"] = "model"
    id: str
    display_name: str
    created_at: datetime
    max_input_tokens: int | None
    max_tokens: int | None
    lifecycle: Literal["active"] = "active"
    line: str | None
    capabilities: None = None


class AnthropicModelList(BaseModel):
    data: list[AnthropicModel]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Page(BaseModel):
    """A part of the list, in Anthropic's way."""

    limit: int = Field(20, ge=1, le=LONGEST_PAGE)
    before_id: str | None = None
    after_id: str | None = None


IsAnthropic = Annotated[bool, Depends(asks_in_anthropics_way)]


@router.get("", summary="List the models, and the agents behind them")
async def list_models(
    principal: Principal,
    catalogue: Catalogue,
    pipeline: Pipeline,
    page: Annotated[Page, Query()],
    anthropic: IsAnthropic,
) -> ModelList | AnthropicModelList:
    """Those that the caller may use. Only Anthropic's list has pages."""
    cards = await catalogue.list()
    usable = [card for card in cards if principal.may_use(card.id, *card.aliases)]
    usable += await pipeline.agent_cards(principal)
    if anthropic:
        return page_of([anthropic_model_of(card) for card in usable], page)
    return ModelList(data=[model_of(card) for card in usable])


@router.get("/{model:path}", summary="Look up a model by id or by another name for it")
async def retrieve_model(
    model: str, principal: Principal, pipeline: Pipeline, anthropic: IsAnthropic
) -> Model | AnthropicModel:
    card = await pipeline.find_card(principal, model)
    return anthropic_model_of(card) if anthropic else model_of(card)


def page_of(models: list[AnthropicModel], page: Page) -> AnthropicModelList:
    """Before or after an id that is on the list; of one that is not, nothing."""
    ids = [model.id for model in models]
    if page.before_id is not None:
        end = ids.index(page.before_id) if page.before_id in ids else 0
        start = max(0, end - page.limit)
        has_more = start > 0
    else:
        start = _behind(ids, page.after_id)
        end = min(start + page.limit, len(ids))
        has_more = end < len(ids)
    shown = models[start:end]
    return AnthropicModelList(
        data=shown,
        has_more=has_more,
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
    )


def _behind(ids: list[str], after_id: str | None) -> int:
    if after_id is None:
        return 0
    return ids.index(after_id) + 1 if after_id in ids else len(ids)


def anthropic_model_of(card: ModelCard) -> AnthropicModel:
    limits = card.limits
    line = LINE.search(card.id)
    return AnthropicModel(
        id=card.id,
        display_name=card.display_name,
        created_at=limits.released or UNKNOWN_DAY,
        max_input_tokens=limits.context_window,
        max_tokens=limits.max_output_tokens,
        line=line[1] if line else None,
    )


def model_of(card: ModelCard) -> Model:
    return Model(
        id=card.id,
        created=int((card.limits.released or UNKNOWN_DAY).timestamp()),
        owned_by="agents" if card.runs_on else "anthropic",
        display_name=card.display_name,
        description=card.description,
        aliases=list(card.aliases),
        pricing=pricing(card.price) if card.price else None,
        effort_levels=list(card.effort_levels),
        context_window=card.limits.context_window,
        max_output_tokens=card.limits.max_output_tokens,
    )


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
