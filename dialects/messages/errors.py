"""Errors in Anthropic's envelope (https://docs.anthropic.com/en/api/errors)."""

from __future__ import annotations

from core.conversation import JsonObject
from core.errors import (
    ClaudeAuthFailed,
    ContextTooLong,
    GatewayError,
    InvalidApiKey,
    NotFound,
    Overloaded,
    PermissionDenied,
    RateLimited,
    RequestTimeout,
    RequestTooLarge,
    TurnTimeout,
)

OVERLOADED_STATUS = 529
"""Anthropic's own, which its clients retry."""

TYPES: tuple[tuple[type[GatewayError], str], ...] = (
    (InvalidApiKey, "authentication_error"),
    (PermissionDenied, "permission_error"),
    (NotFound, "not_found_error"),
    (RequestTooLarge, "request_too_large"),
    (RateLimited, "rate_limit_error"),
    (ContextTooLong, "invalid_request_error"),
    (ClaudeAuthFailed, "api_error"),
    (Overloaded, "overloaded_error"),
    (RequestTimeout, "timeout_error"),
    (TurnTimeout, "timeout_error"),
)
"""The first class that an error is of counts."""


def error_type(error: GatewayError) -> str:
    """Anthropic's word for an error; of one that is in no row its status decides."""
    for kind, name in TYPES:
        if isinstance(error, kind):
            return name
    return "invalid_request_error" if error.status < 500 else "api_error"


def status_of(error: GatewayError) -> int:
    return OVERLOADED_STATUS if isinstance(error, Overloaded) else error.status


def error_body(error: GatewayError, request_id: str | None = None) -> JsonObject:
    """`{"type": "error", "error": {"type", "message"}, "request_id"}`."""
    detail = {"type": error_type(error), "message": error.message}
    return {"type": "error", "error": detail, "request_id": request_id}
