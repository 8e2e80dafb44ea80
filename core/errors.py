"""The one error tree. Each class carries the HTTP status, type and code of its OpenAI-shaped body.

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
│   └── ItemNotFound            404  item_not_found
├── RequestTimeout              408  request_timeout
├── SessionConflict             409  session_conflict
│   ├── SessionExists           409  session_exists
│   └── SessionBusy             409  session_busy
├── McpServerExists             409  mcp_server_exists
├── RequestTooLarge             413  request_too_large
│   └── SessionTooLarge         413  session_too_large
├── UnsupportedEncoding         415  unsupported_content_encoding
├── RateLimited                 429  too_many_requests
│   └── LimitExceeded           429  too_many_requests
├── HeadersTooLarge             431  request_header_fields_too_large
├── ClaudeAuthFailed            503  claude_auth_failed
├── Overloaded                  503  overloaded
├── StoreUnavailable            503  session_store_unavailable
├── WorkspaceUnavailable        503  workspace_unavailable
├── UpstreamError               502  upstream_error
│   └── McpServerFailed         502  mcp_server_failed
└── TurnTimeout                 504  timeout

The body is `{"error": {"message", "type", "param", "code"}}`
(https://platform.openai.com/docs/guides/error-codes). This module imports nothing of ours.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar


class GatewayError(Exception):
    """What a caller is told. The message is for people and never holds a prompt or a key."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = "internal_error"

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

    def add(self, sentence: str, headers: dict[str, str]) -> None:
        """Tells more: what the failure meant for what the caller has here."""
        self.message = f"{self.message} {sentence}"
        self.extra_headers |= headers

    def body(self) -> dict[str, Any]:
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
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


class UnsupportedParameter(InvalidRequest):
    default_code = "unsupported_parameter"


class ContextTooLong(InvalidRequest):
    default_code = "context_length_exceeded"


class TooManySessions(InvalidRequest):
    default_code = "session_limit_reached"


class InvalidApiKey(GatewayError):
    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"

    def headers(self) -> dict[str, str]:
        return {"www-authenticate": "Bearer"}


class PermissionDenied(GatewayError):
    status = 403
    type = "permission_error"
    default_code = "permission_denied"


class ToolsNotAllowed(PermissionDenied):
    """What was asked for of Claude Code's own tools is not this caller's to use."""

    default_code = "tools_not_allowed"


class NotFound(GatewayError):
    status = 404
    type = "invalid_request_error"
    default_code = "not_found"


class ModelNotFound(NotFound):
    default_code = "model_not_found"


class SessionNotFound(NotFound):
    """It does not exist, has expired, or is somebody else's: nobody can tell which."""

    default_code = "session_not_found"


class McpServerNotFound(NotFound):
    default_code = "mcp_server_not_found"


class ResponseNotFound(NotFound):
    """It does not exist, was not stored, has expired, or is somebody else's."""

    default_code = "response_not_found"


class ConversationNotFound(NotFound):
    default_code = "conversation_not_found"


class ItemNotFound(NotFound):
    default_code = "item_not_found"


class SessionConflict(GatewayError):
    """The session changed under the request: another turn was written, or it was deleted."""

    status = 409
    type = "invalid_request_error"
    default_code = "session_conflict"


class SessionExists(SessionConflict):
    default_code = "session_exists"


class SessionBusy(SessionConflict):
    default_code = "session_busy"


class McpServerExists(GatewayError):
    status = 409
    type = "invalid_request_error"
    default_code = "mcp_server_exists"


class RequestTooLarge(GatewayError):
    status = 413
    type = "invalid_request_error"
    default_code = "request_too_large"


class SessionTooLarge(RequestTooLarge):
    default_code = "session_too_large"


class RateLimited(GatewayError):
    status = 429
    type = "rate_limit_exceeded"
    default_code = "too_many_requests"


class LimitExceeded(RateLimited):
    """One of this server's own limits; `retry_after` in seconds stands in the body too."""

    def __init__(self, retry_after: float) -> None:
        seconds = max(1, math.ceil(retry_after))
        words = f"{seconds} second{'' if seconds == 1 else 's'}"
        super().__init__(f"Rate limit exceeded. Try again in {words}.", retry_after=seconds)

    def body(self) -> dict[str, Any]:
        told = {"message": self.message, "type": self.type, "code": self.code}
        return {"error": {**told, "retry_after": self.retry_after}}


class RequestTimeout(GatewayError):
    status = 408
    type = "invalid_request_error"
    default_code = "request_timeout"


class UnsupportedEncoding(GatewayError):
    status = 415
    type = "invalid_request_error"
    default_code = "unsupported_content_encoding"


class HeadersTooLarge(GatewayError):
    status = 431
    type = "invalid_request_error"
    default_code = "request_header_fields_too_large"


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


class StoreUnavailable(GatewayError):
    """The sessions' database cannot be reached."""

    status = 503
    type = "server_error"
    default_code = "session_store_unavailable"


class WorkspaceUnavailable(GatewayError):
    """The directory for Claude Code's own tools cannot be made or read."""

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
