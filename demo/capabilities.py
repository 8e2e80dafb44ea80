"""What each model accepts, and which models are retired.

Source: https://platform.claude.com/docs/en/about-claude/model-deprecations, the migration guides
and "Troubleshooting thinking" of the same site, and the 400s that users of the API quote. A model
that is not in the table accepts everything: nothing is known of it.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

ALL_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_EFFORTS_OF_46: Final = ("low", "medium", "high", "max")
_EVERY_THINKING: Final = frozenset({"enabled", "adaptive", "disabled", "between_tools"})
_BUDGET: Final = frozenset({"enabled", "disabled"})
_BUDGET_OR_ADAPTIVE: Final = frozenset({"enabled", "adaptive", "disabled"})
_ADAPTIVE: Final = frozenset({"adaptive", "disabled"})
_ALWAYS: Final = frozenset({"adaptive"})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one model accepts.

    `max_tokens` is the longest answer in tokens, None where it is unknown. `exclusive_sampling`:
    `temperature` and `top_p` exclude each other. `effort_without_thinking`: the highest efforts are
    accepted beside disabled thinking.
    """

    max_tokens: int | None = None
    prefill: bool = True
    sampling: bool = True
    exclusive_sampling: bool = False
    thinking: frozenset[str] = _EVERY_THINKING
    forced_tools: bool = True
    efforts: tuple[str, ...] = ALL_EFFORTS
    effort_without_thinking: bool = True


_UNKNOWN: Final = Capabilities()
_OF_45: Final = Capabilities(
    64_000, exclusive_sampling=True, thinking=_BUDGET, efforts=("low", "medium", "high")
)
_WITHOUT_EFFORT: Final = Capabilities(64_000, exclusive_sampling=True, thinking=_BUDGET, efforts=())
_OF_46: Final = Capabilities(
    128_000, False, exclusive_sampling=True, thinking=_BUDGET_OR_ADAPTIVE, efforts=_EFFORTS_OF_46
)
_OF_47: Final = Capabilities(128_000, False, False, thinking=_ADAPTIVE)
_OPUS_5: Final = Capabilities(
    128_000, False, False, thinking=_ADAPTIVE, effort_without_thinking=False
)
_ALWAYS_THINKING: Final = Capabilities(128_000, False, False, thinking=_ALWAYS, forced_tools=False)
_SONNET_55: Final = Capabilities(
    128_000, False, False, thinking=frozenset({"adaptive", "between_tools"}), forced_tools=False
)
# documents disagree whether thinking can be turned off for Haiku 5.5, so that is let pass
_HAIKU_55: Final = Capabilities(128_000, False, False, thinking=_ADAPTIVE, forced_tools=False)

_MODELS: Final[dict[str, Capabilities]] = {
    "claude-opus-4-5": _OF_45,
    "claude-sonnet-4-5": _WITHOUT_EFFORT,
    "claude-haiku-4-5": _WITHOUT_EFFORT,
    "claude-opus-4-6": _OF_46,
    "claude-sonnet-4-6": _OF_46,
    "claude-opus-4-7": _OF_47,
    "claude-opus-4-8": _OF_47,
    "claude-sonnet-5": _OF_47,
    "claude-opus-5": _OPUS_5,
    "claude-fable-5": _ALWAYS_THINKING,
    "claude-mythos-5": _ALWAYS_THINKING,
    "claude-fable-5-1": _ALWAYS_THINKING,
    "claude-mythos-5-1": _ALWAYS_THINKING,
    "claude-fable-5-2": _ALWAYS_THINKING,
    "claude-mythos-5-2": _ALWAYS_THINKING,
    "claude-opus-5-5": _ALWAYS_THINKING,
    "claude-sonnet-5-5": _SONNET_55,
    "claude-haiku-5-5": _HAIKU_55,
}
_DECORATION: Final = re.compile(
    r"^(?:[\w-]+\.)?anthropic\.|(?:-v\d+(?::\d+)?)?(?:@\w+)?(?:\[1m\])?$|-\d{8}(?=-v\d|@|\[|$)"
)
_RETIRED: Final = re.compile(
    r"claude-(?:instant|[123])\b.*|claude-(?:opus|sonnet)-4(?:-0|-20250514)?|claude-4-.*"
    r"|claude-opus-4-1(?:-20250805)?|claude-mythos-preview"
)


@lru_cache(maxsize=256)
def of(model: str) -> Capabilities:
    """What is known of a model by any provider's name: `us.anthropic.claude-opus-4-6-v1` too."""
    return _MODELS.get(_DECORATION.sub("", model), _UNKNOWN)


@lru_cache(maxsize=256)
def is_retired(model: str) -> bool:
    """Whether Anthropic's own API answers 404 to this name; other providers keep models longer."""
    return _RETIRED.fullmatch(model) is not None
