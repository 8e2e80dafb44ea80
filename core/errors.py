"""The one error tree. Each class carries its HTTP status, and how the APIs name it.

GatewayError
├── InvalidRequest              400  invalid_value
│   ├── UnsupportedParameter    400  unsupported_parameter
│   ├── ContextTooLong          400  context_length_exceeded
│   └── TooManySessions         400  session_limit_reached
├── InvalidApiKey               401  invalid_api_key
├── PermissionDenied            403  permission_denied
│   └── ToolsNotAllowed         403  tools_not_allowed
├── NotFound                    404  not_found
│   ├── ModelNotFound           404  model_not_found
│   ├── SessionNotFound         404  session_not_found
│   ├── McpServerNotFound       404  mcp_server_not_found
│   ├── ResponseNotFound        404  response_not_found
│   ├── ConversationNotFound    404  conversation_not_found
│   ├── ItemNotFound            404  item_not_found
│   └── KeyNotFound             404  key_not_found
├── RequestTimeout              408  request_timeout
├── SessionConflict             409  session_conflict
│   ├── SessionExists           409  session_exists
│   ├── SessionBusy             409  session_busy
│   └── ConversationLocked      409  conversation_locked
├── McpServerExists             409  mcp_server_exists
├── KeyExists                   409  key_exists
├── RequestTooLarge             413  request_too_large
│   ├── SessionTooLarge         413  session_too_large
│   └── StoreFull               413  store_full
├── UnsupportedEncoding         415  unsupported_content_encoding
├── RateLimited                 429  rate_limit_exceeded
│   ├── LimitExceeded           429  too_many_requests
│   └── QuotaExceeded           429  insufficient_quota
├── HeadersTooLarge             431  request_header_fields_too_large
├── ClaudeAuthFailed            503  claude_auth_failed
├── Overloaded                  503  overloaded
├── StoreUnavailable            503  session_store_unavailable
├── WorkspaceUnavailable        503  workspace_unavailable
├── UpstreamError               502  upstream_error
│   └── McpServerFailed         502  mcp_server_failed
└── TurnTimeout                 504  timeout

OpenAI's envelope is `{"error": {"message", "type", "param", "code"}}`
(https://platform.openai.com/docs/guides/error-codes), Anthropic's
`{"type": "error", "error": {"type", "message"}, "request_id"}`
(https://docs.anthropic.com/en/api/errors); which of them an answer has, its dialect says.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar


class GatewayError(Exception):
    """An error as a caller sees it. The message is for people and never holds a prompt or a key.

    `type` and `default_code` are OpenAI's words, `anthropic_type` is Anthropic's, whose status is
    only set where it differs. The writer of the answer sets `request_id`.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = "internal_error"
    anthropic_type: ClassVar[str] = "api_error"
    anthropic_status: ClassVar[int | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.retry_after = retry_after
        self.extra_headers: dict[str, str] = {}
        self.request_id: str | None = None

    def add(self, sentence: str, headers: dict[str, str]) -> None:
        """Adds what the failure meant for the caller's data."""
        self.message = f"{self.message} {sentence}"
        self.extra_headers |= headers

    def openai_body(self) -> dict[str, Any]:
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    def anthropic_body(self) -> dict[str, Any]:
        return {
            "type": "error",
            "error": {"type": self.anthropic_type, "message": self.message},
            "request_id": self.request_id,
        }

    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds, rounded up, where a time is known."""
        if self.retry_after is None:
            return {}
        return {"retry-after": str(max(1, math.ceil(self.retry_after)))}


class InvalidRequest(GatewayError):
    status = 400
    type = "invalid_request_error"
    default_code = "invalid_value"
    anthropic_type = "invalid_request_error"


class UnsupportedParameter(InvalidRequest):
    default_code = "unsupported_parameter"


class ContextTooLong(InvalidRequest):
    default_code = "context_length_exceeded"


class TooManySessions(InvalidRequest):
    default_code = "session_limit_reached"


class InvalidApiKey(GatewayError):
    status = 401
    type = "invalid_request_error"
    default_code = "invalid_api_key"
    anthropic_type = "authentication_error"

    def headers(self) -> dict[str, str]:
        return {"www-authenticate": "Bearer"}


class PermissionDenied(GatewayError):
    status = 403
    type = "permission_error"
    default_code = "permission_denied"
    anthropic_type = "permission_error"


class ToolsNotAllowed(PermissionDenied):
    """What was asked for of Claude Code's built-in tools is not this caller's to use."""

    default_code = "tools_not_allowed"


class NotFound(GatewayError):
    status = 404
    type = "invalid_request_error"
    default_code = "not_found"
    anthropic_type = "not_found_error"


class ModelNotFound(NotFound):
    default_code = "model_not_found"


class SessionNotFound(NotFound):
    """It does not exist, has expired, or belongs to another key: the answer does not say which."""

    default_code = "session_not_found"


class McpServerNotFound(NotFound):
    default_code = "mcp_server_not_found"


class ResponseNotFound(NotFound):
    """It does not exist, was not stored, has expired, or belongs to another key."""

    default_code = "response_not_found"


class ConversationNotFound(NotFound):
    default_code = "conversation_not_found"


class ItemNotFound(NotFound):
    default_code = "item_not_found"


class KeyNotFound(NotFound):
    default_code = "key_not_found"


class SessionConflict(GatewayError):
    """The session changed under the request: another turn was written, or it was deleted."""

    status = 409
    type = "invalid_request_error"
    default_code = "session_conflict"
    anthropic_type = "invalid_request_error"


class SessionExists(SessionConflict):
    default_code = "session_exists"


class SessionBusy(SessionConflict):
    default_code = "session_busy"


class ConversationLocked(SessionConflict):
    """Another request is answered in the same conversation, or was meanwhile."""

    default_code = "conversation_locked"


class McpServerExists(GatewayError):
    status = 409
    type = "invalid_request_error"
    default_code = "mcp_server_exists"


class KeyExists(GatewayError):
    status = 409
    type = "invalid_request_error"
    default_code = "key_exists"
    anthropic_type = "invalid_request_error"


class RequestTooLarge(GatewayError):
    status = 413
    type = "invalid_request_error"
    default_code = "request_too_large"
    anthropic_type = "request_too_large"


class SessionTooLarge(RequestTooLarge):
    default_code = "session_too_large"


class StoreFull(RequestTooLarge):
    """A key has stored as much as it may."""

    default_code = "store_full"


class RateLimited(GatewayError):
    """The API's own limit."""

    status = 429
    type = "rate_limit_exceeded"
    default_code = "rate_limit_exceeded"
    anthropic_type = "rate_limit_error"


class QuotaExceeded(RateLimited):
    """Credit or a spending limit is used up: asking again at once does not help."""

    type = "insufficient_quota"
    default_code = "insufficient_quota"

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "x-should-retry": "false"}


class LimitExceeded(RateLimited):
    """One of this server's own limits; `retry_after` in seconds is in the body too."""

    default_code = "too_many_requests"

    def __init__(self, retry_after: float) -> None:
        seconds = max(1, math.ceil(retry_after))
        words = f"{seconds} second{'' if seconds == 1 else 's'}"
        super().__init__(f"Rate limit exceeded. Try again in {words}.", retry_after=seconds)

    def openai_body(self) -> dict[str, Any]:
        detail = {"message": self.message, "type": self.type, "code": self.code}
        return {"error": {**detail, "retry_after": self.retry_after}}


class RequestTimeout(GatewayError):
    status = 408
    type = "invalid_request_error"
    default_code = "request_timeout"
    anthropic_type = "timeout_error"


class UnsupportedEncoding(GatewayError):
    status = 415
    type = "invalid_request_error"
    default_code = "unsupported_content_encoding"
    anthropic_type = "invalid_request_error"


class HeadersTooLarge(GatewayError):
    status = 431
    type = "invalid_request_error"
    default_code = "request_header_fields_too_large"
    anthropic_type = "invalid_request_error"


class ClaudeAuthFailed(GatewayError):
    """Claude refused the credentials, or there are none: the operator must act, so no retry."""

    status = 503
    type = "server_error"
    default_code = "claude_auth_failed"

    def headers(self) -> dict[str, str]:
        return {"x-should-retry": "false"}


class Overloaded(GatewayError):
    status = 503
    type = "server_error"
    default_code = "overloaded"
    anthropic_type = "overloaded_error"
    anthropic_status = 529


class StoreUnavailable(GatewayError):
    """The sessions' database cannot be reached."""

    status = 503
    type = "server_error"
    default_code = "session_store_unavailable"


class WorkspaceUnavailable(GatewayError):
    """The directory for Claude Code's built-in tools cannot be made or read."""

    status = 503
    type = "server_error"
    default_code = "workspace_unavailable"


class UpstreamError(GatewayError):
    status = 502
    type = "server_error"
    default_code = "upstream_error"


class McpServerFailed(UpstreamError):
    """A server that the request asked for cannot be used; `status` is the CLI's word for it."""

    default_code = "mcp_server_failed"

    def __init__(self, name: str, status: str) -> None:
        message = f"The MCP server `{name}` cannot be used: {status}. See /v1/mcp/servers/{name}."
        super().__init__(message, param="mcp_servers")


class TurnTimeout(GatewayError):
    status = 504
    type = "server_error"
    default_code = "timeout"
    anthropic_type = "timeout_error"
