"""Models that Anthropic has retired, and the usual misspellings of names, each with the model that
takes its place.

Source: https://platform.claude.com/docs/en/about-claude/model-deprecations. A name of a cloud
provider (`us.anthropic.claude-…`, `claude-…@20250514`) is left alone: they keep models longer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

RETIRED: Mapping[str, str] = MappingProxyType(
    {
        "claude-instant-1": "haiku",
        "claude-1": "sonnet",
        "claude-2": "sonnet",
        "claude-2-0": "sonnet",
        "claude-2-1": "sonnet",
        "claude-3-opus": "opus",
        "claude-3-sonnet": "sonnet",
        "claude-3-haiku": "haiku",
        "claude-3-5-sonnet": "sonnet",
        "claude-3-5-haiku": "haiku",
        "claude-3-7-sonnet": "sonnet",
        "claude-sonnet-4": "sonnet",
        "claude-opus-4": "opus",
        "claude-opus-4-1": "opus",
    }
)
"""A retired model, without its date, to the alias of its family's present one."""

VENDOR = re.compile(r"^(?:openrouter/)?(?:anthropic|openai|claude|claude-code)/")
"""What other gateways put before a name."""

SUFFIX = re.compile(r"(?:[:@](?:beta|thinking|latest|free)|-latest|-thinking)$")
DATE = re.compile(r"-20\d{6}$")
VERSION_FIRST = re.compile(r"^claude-(\d(?:-\d)?)-(opus|sonnet|haiku|fable)(?=-|$)")
FAMILY_FIRST = re.compile(r"^claude-(?:opus|sonnet|haiku|fable)-\d(?:-\d)?(?:-20\d{6})?$")


def spelt(name: str) -> str:
    """The name as Anthropic or OpenAI spell it, where it can be recognized:
    `anthropic/Claude-Sonnet-4.5:beta` is `claude-sonnet-4-5`. Another name is returned as it is."""
    plain = SUFFIX.sub("", VENDOR.sub("", name.strip().lower()))
    if not plain.startswith("claude-"):
        return plain if VENDOR.match(name.strip().lower()) else name
    plain = re.sub(r"(?<=\d)[._](?=\d)", "-", plain).replace("_", "-").replace(" ", "-")
    turned = VERSION_FIRST.sub(r"claude-\2-\1", plain)
    if _base(plain) not in RETIRED and FAMILY_FIRST.match(turned):
        plain = turned  # `claude-4.5-sonnet`
    is_known = _base(plain) in RETIRED or FAMILY_FIRST.match(plain)
    return plain if is_known else name


def successor(name: str) -> str | None:
    """The alias that takes the place of a retired model; None where it is none."""
    return RETIRED.get(_base(name))


def _base(name: str) -> str:
    """Without its date, and without a zero: `claude-sonnet-4-0` is Sonnet 4."""
    return re.sub(r"(-4)-0$", r"\1", DATE.sub("", name))
