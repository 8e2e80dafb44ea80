"""How much to think: OpenAI's `reasoning_effort`, OpenRouter's `reasoning`, Anthropic's `thinking`.

Sources: https://platform.openai.com/docs/guides/reasoning,
https://openrouter.ai/docs/use-cases/reasoning-tokens and
https://docs.claude.com/en/docs/build-with-claude/extended-thinking.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from core.errors import InvalidRequest
from core.turn import Effort
from models import ChatRequest

LEVELS: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")
WORDS: dict[str, Effort] = {"minimal": "low", **{level: level for level in LEVELS}}
THINKING_TOKENS: dict[Effort, int] = {"low": 4_096, "medium": 12_288}
"""Budgets of models that have no effort levels; from `high` on it is the largest."""

LEAST_THINKING_TOKENS = 1_024
EFFORT_FIELDS = ("reasoning_effort", "reasoning.effort")
"""An effort has its effect without thinking too."""


class ModelCapabilities(Protocol):
    """What is known of a model; a ModelCard knows it."""

    @property
    def effort_levels(self) -> tuple[str, ...]: ...

    @property
    def thinking_off(self) -> bool: ...

    @property
    def adaptive_thinking(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the turn asks for. `tokens` is a budget, for models that take one; `off` means that no
    thinking was asked for in so many words."""

    effort: Effort | None = None
    thinking: bool = False
    tokens: int | None = None
    show: bool = True
    off: bool = False
    ignored: tuple[str, ...] = ()


def read(
    request: ChatRequest,
    card: ModelCapabilities | None,
    *,
    forced_call: bool,
    max_tokens: int | None,
) -> Reasoning:
    """What a chat request asks for, as `settled`. Raises InvalidRequest for an unknown effort."""
    field, asked = _asked(request)
    return settled(asked, field, card, forced_call=forced_call, max_tokens=max_tokens)


def settled(
    asked: Reasoning,
    field: str,
    card: ModelCapabilities | None,
    *,
    forced_call: bool,
    max_tokens: int | None,
) -> Reasoning:
    """What was asked for in `field` as the model can do it; `card` is the model's, None where
    nothing is known of it. The API allows no thinking beside a call that is forced, nor in an
    answer that is too short for the least of it."""
    always = card is not None and not card.thinking_off
    adaptive = card is not None and card.adaptive_thinking
    too_short = not adaptive and max_tokens is not None and max_tokens <= LEAST_THINKING_TOKENS
    thinking = asked.thinking and not too_short and (always or not forced_call)
    ignored = set(asked.ignored)
    if asked.thinking and not thinking and field not in EFFORT_FIELDS:
        ignored.add(field)
    if asked.tokens is not None and adaptive:
        ignored.add("thinking.budget_tokens" if field == "thinking" else "reasoning.max_tokens")
    return Reasoning(
        effort=_for_model(asked.effort or ("low" if always and asked.off else None), card),
        thinking=thinking,
        tokens=asked.tokens or THINKING_TOKENS.get(asked.effort or "max"),
        show=asked.show and thinking and adaptive,
        ignored=tuple(sorted(ignored)),
    )


def _asked(request: ChatRequest) -> tuple[str, Reasoning]:
    """The field that counts, and what it says: the more exact one wins."""
    if request.thinking is not None:
        effort = of_effort(request.reasoning_effort, "reasoning_effort").effort
        return "thinking", _as_anthropic(request.thinking, effort)
    if request.reasoning is not None:
        return "reasoning", _as_openrouter(request.reasoning)
    return "reasoning_effort", of_effort(request.reasoning_effort, "reasoning_effort")


def of_effort(word: Any, where: str) -> Reasoning:
    """OpenAI's words for an effort; None asks for nothing. Raises InvalidRequest for any other."""
    if word is None:
        return Reasoning()
    if word == "none":
        return Reasoning(off=True)
    effort = WORDS.get(word) if isinstance(word, str) else None
    if effort is None:
        raise InvalidRequest(
            "The effort must be 'none', 'minimal', 'low', 'medium', 'high', 'xhigh' or 'max'.",
            param=where,
        )
    return Reasoning(effort, thinking=word != "minimal")


def _as_openrouter(given: Any) -> Reasoning:
    """`{"effort"}`, `{"max_tokens"}` or `{"enabled"}`; `exclude` keeps the thoughts back."""
    if not isinstance(given, dict):
        return Reasoning(ignored=("reasoning",))
    if given.get("enabled") is False:
        return Reasoning(off=True)
    if given.get("effort") is not None:
        asked = of_effort(given["effort"], "reasoning.effort")
    elif isinstance(tokens := given.get("max_tokens"), int) and tokens > 0:
        asked = Reasoning(thinking=True, tokens=max(tokens, LEAST_THINKING_TOKENS))
    else:
        asked = Reasoning(thinking=given.get("enabled") is True)
    return replace(asked, show=given.get("exclude") is not True)


def _as_anthropic(given: Any, effort: Effort | None) -> Reasoning:
    """`{"type": "enabled", "budget_tokens"}`, `{"type": "adaptive"}` or `{"type": "disabled"}`."""
    match given:
        case {"type": "disabled"}:
            return Reasoning(effort, off=True)
        case {"type": "enabled", "budget_tokens": int(tokens)}:
            tokens = max(tokens, LEAST_THINKING_TOKENS)
            return Reasoning(effort, thinking=True, tokens=tokens)
        case {"type": "enabled" | "adaptive"}:
            return Reasoning(effort, thinking=True)
    return Reasoning(effort, ignored=("thinking",))


def _for_model(asked: Effort | None, card: ModelCapabilities | None) -> Effort | None:
    """The nearest level that the model has; the lower of two."""
    if asked is None or card is None:
        return asked
    known = [level for level in LEVELS if level in card.effort_levels]
    place = LEVELS.index(asked)
    return min(known, key=lambda level: abs(LEVELS.index(level) - place), default=None)
