"""The one error of the fake upstream, in the shape of Anthropic's API.

Source: https://docs.anthropic.com/en/api/errors
"""

import json
import uuid
from dataclasses import dataclass
from typing import Final

ERROR_TYPES: Final[dict[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_BEDROCK_TYPES: Final[dict[int, str]] = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}

MESSAGES: Final[dict[int, str]] = {
    400: "Demo model: bad request.",
    401: "invalid x-api-key",
    402: "Your credit balance is too low to access the Anthropic API.",
    403: "Your API key does not have permission to use the specified resource.",
    404: "Not found",
    413: "Request exceeds the maximum size",
    429: "This request would exceed the rate limit for your organization.",
    500: "Internal server error",
    503: "Service unavailable",
    504: "Request timed out",
    529: "Overloaded",
}


@dataclass(eq=False)  # not frozen: Python writes tracebacks into it
class ApiError(Exception):
    """A refusal with an HTTP status; `retry_after_seconds` becomes the `retry-after` header."""

    status: int
    message: str
    retry_after_seconds: float | None = None

    @property
    def type(self) -> str:
        """Anthropic's error type of this status."""
        return ERROR_TYPES.get(self.status, "api_error" if self.status >= 500 else ERROR_TYPES[400])


def invalid(message: str) -> ApiError:
    """A 400 `invalid_request_error`."""
    return ApiError(400, message)


def new_request_id() -> str:
    """Return an id in the form of Anthropic's `request-id` header."""
    return f"req_demo_{uuid.uuid4().hex[:24]}"


def error_json(error_type: str, message: str, request_id: str) -> str:
    """The body of a refusal, and the data of an `event: error`."""
    detail = {"type": error_type, "message": message}
    return json.dumps({"type": "error", "error": detail, "request_id": request_id})


def bedrock_type(status: int) -> str:
    """AWS's name for an error status, of its `x-amzn-errortype` header."""
    return _BEDROCK_TYPES.get(status, "InternalServerException")
