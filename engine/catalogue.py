"""The models: the CLI's live list, and which of them a client's model name means.

The list is in the CLI's answer to `initialize` (docs/claude-cli.md, "Which SDK"); asking costs
nothing.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType

from config.settings import Settings
from core.conversation import JsonObject
from core.errors import GatewayError, ModelNotFound
from engine.known_models import (
    CLI_ALIASES,
    KNOWN_MODELS,
    UNLISTED_MODELS,
    ModelCard,
    Price,
    plain_id,
)
from engine.model_successors import spelt, successor

REFRESH_SECONDS = 600.0
RETRY_SECONDS = 30.0
WAIT_SECONDS = 15.0

AS_IT_IS = ""
BUILT_IN_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "*claude*": AS_IT_IS,
        "arn:aws*": AS_IT_IS,
        "gpt-3.5*": "haiku",
        "*-mini": "haiku",
        "*-nano": "haiku",
        "gpt-4*": "sonnet",
        "gpt-5*": "sonnet",
        "chatgpt-*": "sonnet",
        "o1*": "sonnet",
        "o3*": "sonnet",
        "o4*": "sonnet",
    }
)
"""A client's model name to the CLI's. The pattern with the most literal characters wins; among
equals the operator's, then the one listed first (`gpt-4o-mini` is a `*-mini` before a `gpt-4*`)."""

UNLISTED = {card.id: card for card in UNLISTED_MODELS}
PRICE = re.compile(r"\$([\d.]+)/\$([\d.]+)")
LONG_PROMPT = re.compile(r"prompts over (\d+)k")

log = logging.getLogger(__name__)

ServerInfo = Callable[[], Awaitable[JsonObject | None]]

WINDOW = 200_000
LARGE_WINDOW = 1_000_000
"""Of the models' variants with this suffix (https://docs.anthropic.com/en/docs/about-claude/models)."""


class ModelCatalogue:
    """Which models there are. `aclose` ends a refresh that is still under way.

    `server_info` asks the CLI, by a process of its own if need be; `heard` is what a process that
    was started for a turn reported, None before the first.
    """

    def __init__(
        self,
        settings: Settings,
        server_info: ServerInfo,
        cached_info: Callable[[], JsonObject | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._default_model = settings.default_model
        self._own_names = {name.lower(): to for name, to in settings.model_aliases.items()}
        self._patterns = by_specificity(self._own_names)
        self._replaces = settings.model_successors
        self._server_info = server_info
        self._cached_info = cached_info
        self._clock = clock
        self._was_asked = False
        self._next_refresh = clock()
        self._refresh: asyncio.Task[None] | None = None
        self._keep(KNOWN_MODELS)

    async def list(self) -> tuple[ModelCard, ...]:
        """Every model once. Only the first call may wait for the CLI, 15 s at most."""
        await self._first_refresh()
        return self._cards

    async def find(self, name: str) -> ModelCard:
        """The card of an id, an alias or a client's name for it. Raises ModelNotFound."""
        resolved = await self.resolve(name)
        await self._first_refresh()
        if resolved not in self._by_name:
            raise model_not_found(name)
        return self._by_name[resolved]

    async def resolve(self, name: str) -> str:
        """The CLI's name for a client's model name; empty means DEFAULT_MODEL.

        Raises ModelNotFound. Waits for the CLI only where the name is unknown and the live list
        was not asked for yet.
        """
        name = name or self._default_model
        self._refresh_from_worker()
        resolved = self._lookup(name)
        if resolved is None:
            await self._first_refresh()
            resolved = self._lookup(name)
        if resolved is None:
            raise model_not_found(name)
        return resolved

    def names(self, model: str) -> tuple[str, ...]:
        """The id and the aliases of a resolved model, none for one that is not listed."""
        card = self._card(model)
        return (card.id, *card.aliases) if card else ()

    def card(self, model: str) -> ModelCard | None:
        """What is known of a resolved model by now; None for one that is on no list."""
        return self._card(model)

    def context_window(self, model: str) -> int:
        """Tokens that prompt and answer may have together."""
        return LARGE_WINDOW if model.endswith("[1m]") else WINDOW

    def supports_thinking_off(self, model: str) -> bool:
        card = self._card(model)
        return card is None or card.thinking_off

    def effort_levels(self, model: str) -> tuple[str, ...]:
        card = self._card(model)
        return card.effort_levels if card else ()

    async def aclose(self) -> None:
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait({self._refresh})

    def _card(self, model: str) -> ModelCard | None:
        plain = plain_id(model)
        return self._by_name.get(model) or self._by_name.get(plain) or UNLISTED.get(plain)

    def replaced(self, name: str) -> bool:
        """Whether the name is that of a model which another one stands in for."""
        return self._replaces and self._named(name) is None and self._successor(name) is not None

    def _lookup(self, name: str) -> str | None:
        if (named := self._named(name)) is not None:
            return named
        if self._replaces:
            if (instead := self._successor(name)) is not None:
                return instead
            name = spelt(name)
            if (named := self._named(name)) is not None:
                return named
        return self._matched(name)

    def _successor(self, name: str) -> str | None:
        """None too where a pattern of the operator's says what the name means."""
        lowered = name.lower()
        if any(fnmatchcase(lowered, pattern) for pattern in self._own_names):
            return None
        return successor(spelt(name))

    def _named(self, name: str) -> str | None:
        """What a name itself stands for, without any pattern."""
        lowered = name.lower()
        if lowered in self._own_names:
            return self._own_names[lowered]
        if name in self._by_name or name.removesuffix("[1m]") in CLI_ALIASES:
            return name
        if lowered in CLI_ALIASES:
            return lowered
        return None

    def _matched(self, name: str) -> str | None:
        lowered = name.lower()
        matches = (model for pattern, model in self._patterns if fnmatchcase(lowered, pattern))
        model = next(matches, None)
        return name if model == AS_IT_IS else model

    async def _first_refresh(self) -> None:
        self._refresh_if_due()
        if not self._was_asked and self._refresh is not None:
            await asyncio.wait({self._refresh}, timeout=WAIT_SECONDS)

    def _refresh_if_due(self) -> None:
        if self._clock() >= self._next_refresh and self._refresh is None:
            self._refresh = asyncio.create_task(self._ask_cli())

    def _refresh_from_worker(self) -> None:
        """A turn starts no process for the list: what those of other turns reported will do."""
        if self._clock() >= self._next_refresh and (info := self._cached_info()):
            self._take(info)

    async def _ask_cli(self) -> None:
        info = None
        try:
            info = await self._server_info()
        except GatewayError as error:
            log.warning("The model list could not be asked for: %s", error.message)
        except Exception:
            log.exception("The model list could not be asked for")
        finally:
            self._was_asked = True
            self._refresh = None
            self._take(info or {})

    def _take(self, info: JsonObject) -> None:
        """Never raises: without an answer the list stays what it was, and is asked for again."""
        pause = RETRY_SECONDS
        try:
            if cards := cards_of(info.get("models", ())):
                self._keep(cards)
                pause = REFRESH_SECONDS
        except Exception:
            log.exception("The model list could not be read from the CLI")
        self._next_refresh = self._clock() + pause

    def _keep(self, cards: tuple[ModelCard, ...]) -> None:
        """Known names lead to live cards where there is one: Bedrock lists ids of its own."""
        plain = {plain_id(card.id): card for card in reversed(cards)}
        self._cards = cards
        self._by_name = {name: plain.get(card.id, card) for name, card in names_of(KNOWN_MODELS)}
        self._by_name |= plain | dict(names_of(cards))


def names_of(cards: Iterable[ModelCard]) -> Iterator[tuple[str, ModelCard]]:
    return ((name, card) for card in cards for name in (card.id, *card.aliases))


def model_not_found(name: str) -> ModelNotFound:
    shown = name if len(name) <= 100 else f"{name[:100]}…"
    message = f"The model `{shown}` does not exist or you do not have access to it."
    return ModelNotFound(message, param="model")


def by_specificity(aliases: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The operator's patterns and the built-in ones, the first that matches counts."""
    table = {
        **aliases,
        **{name: to for name, to in BUILT_IN_ALIASES.items() if name not in aliases},
    }
    return tuple(sorted(table.items(), key=lambda entry: -_literals(entry[0])))


def _literals(pattern: str) -> int:
    return len(re.sub(r"\[.*?\]|[*?]", "", pattern))


def cards_of(models: Iterable[JsonObject]) -> tuple[ModelCard, ...]:
    """One card for each resolved model of the CLI's list, in its order, with all its names."""
    entries: dict[str, list[JsonObject]] = {}
    for model in models:
        entries.setdefault(model.get("resolvedModel") or model["value"], []).append(model)
    return tuple(_card(model_id, same) for model_id, same in entries.items())


def _card(model_id: str, same: list[JsonObject]) -> ModelCard:
    """`default` only adds its name where the model has an entry of its own."""
    best = min(same, key=lambda model: model["value"] == "default")
    description, price = priced(best.get("description", ""))
    return ModelCard(
        id=model_id,
        display_name=best.get("displayName") or model_id,
        description=description,
        aliases=tuple(model["value"] for model in same if model["value"] != model_id),
        price=price,
        effort_levels=tuple(best.get("supportedEffortLevels") or ()),
        thinking_off=best.get("supportsThinkingOff", True),
        adaptive_thinking=best.get("supportsAdaptiveThinking", False),
    )


def priced(description: str) -> tuple[str, Price | None]:
    """`Haiku 5.5 · Fast · $0.10/$0.50 per Mtok (…)` to its words and its price."""
    words = [part for part in description.split(" · ") if not PRICE.search(part)]
    pairs = [(float(read), float(written)) for read, written in PRICE.findall(description)]
    if not pairs:
        return description, None
    over = LONG_PROMPT.search(description)
    if over is None or len(pairs) == 1:
        return " · ".join(words), Price(*pairs[0])
    return " · ".join(words), Price(*pairs[0], int(over[1]) * 1000, *pairs[1])
