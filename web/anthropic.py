"""Which requests are of Anthropic's clients, beside those to a path of their own."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

VERSION_HEADER = "anthropic-version"
PATHS = ("/v1/messages",)
SHARED_PATHS = ("/v1/models",)
"""Both APIs have these: the header tells whose client asks."""


def is_anthropics(scope: Scope) -> bool:
    """Whether an answer, be it an error, is to have Anthropic's form and headers."""
    path = scope["path"]
    if _is_below(path, PATHS):
        return True
    return _is_below(path, SHARED_PATHS) and VERSION_HEADER in Headers(scope=scope)


def _is_below(path: str, parents: tuple[str, ...]) -> bool:
    return any(path == parent or path.startswith(f"{parent}/") for parent in parents)


async def asks_in_anthropics_way(request: Request) -> bool:
    """For routes that both APIs have."""
    return is_anthropics(request.scope)
