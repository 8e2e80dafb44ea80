"""Models known without asking: what is listed while the CLI cannot be asked.

Taken from the list of CLI 2.1.329 (docs/claude-cli.md, "Which SDK"), for an API key and for
Bedrock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.model_limits import ModelLimits, limits_of


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens; prompts over `long_prompt_tokens` have their own."""

    input: float
    output: float
    long_prompt_tokens: int | None = None
    long_prompt_input: float | None = None
    long_prompt_output: float | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model. `aliases` are the CLI's other names for it; `price` is None under a login."""

    id: str
    display_name: str
    description: str = ""
    aliases: tuple[str, ...] = ()
    price: Price | None = None
    effort_levels: tuple[str, ...] = ()
    thinking_off: bool = True
    adaptive_thinking: bool = True
    """Whether it decides by itself how much to think, rather than by a budget."""

    prefill: bool = False
    """Whether it goes on with an answer that the last message begins."""

    runs_on: str = ""
    """Of an agent the id of the model whose card this is otherwise."""

    @property
    def limits(self) -> ModelLimits:
        model = self.runs_on or self.id
        return limits_of(model, plain_id(model))


CLI_ALIASES = frozenset({"default", "sonnet", "opus", "haiku", "fable"})

FIVE = ("low", "medium", "high", "xhigh", "max")
FOUR = ("low", "medium", "high", "max")

KNOWN_MODELS = (
    ModelCard(
        "claude-opus-5-5",
        "Opus",
        "Opus 5.5 · Best for everyday, complex tasks",
        ("default", "opus"),
        Price(4, 20),
        FIVE,
        thinking_off=False,
    ),
    ModelCard(
        "claude-fable-5-2",
        "Fable",
        "Fable 5.2 · Most capable for your hardest and longest-running tasks",
        ("fable",),
        Price(8, 40),
        FIVE,
        thinking_off=False,
    ),
    ModelCard(
        "claude-sonnet-5-5",
        "Sonnet",
        "Sonnet 5.5 · Efficient for routine tasks",
        ("sonnet",),
        Price(2, 10),
        FIVE,
        thinking_off=False,
    ),
    ModelCard(
        "claude-haiku-5-5",
        "Haiku",
        "Haiku 5.5 · Fastest for quick answers",
        ("haiku",),
        Price(0.10, 0.50, 100_000, 0.50, 2.50),
        FIVE,
        thinking_off=False,
    ),
    ModelCard("claude-opus-5", "Opus 5", "Previous Opus version", effort_levels=FIVE),
    ModelCard("claude-sonnet-5", "Sonnet 5", "Previous Sonnet version", effort_levels=FIVE),
    ModelCard("claude-opus-4-8", "Opus 4.8", "Legacy", effort_levels=FIVE),
    ModelCard("claude-opus-4-7", "Opus 4.7", "Legacy", effort_levels=FIVE),
    ModelCard("claude-opus-4-6", "Opus 4.6", "Legacy", effort_levels=FOUR),
    ModelCard("claude-sonnet-4-6", "Sonnet 4.6", "Legacy", effort_levels=FOUR),
)

UNLISTED_MODELS = tuple(
    ModelCard(name, name, adaptive_thinking=False, prefill=True)
    for name in ("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-1")
)
"""Models that the CLI takes and does not list."""

PROVIDER_PARTS = re.compile(
    r"^(?:[\w-]+\.)?anthropic\.|(?:-v\d+(?::\d+)?)?(?:@\w+)?(?:\[1m\])?$|-\d{8}(?=-v\d|$)"
)


def plain_id(model: str) -> str:
    """An id without region, date and version: `us.anthropic.claude-opus-4-6-v1[1m]` is
    `claude-opus-4-6`."""
    return PROVIDER_PARTS.sub("", model)
