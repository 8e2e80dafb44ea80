"""What the CLI and the SDK say of a failure -> the error tree. Source: `docs/claude-cli.md`,
"Errors".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from claude_agent_sdk import (
    ClaudeSDKError,
    CLIConnectionError,
    CLIJSONDecodeError,
    CLINotFoundError,
    ProcessError,
)
from claude_agent_sdk._errors import MessageParseError

from core.conversation import JsonObject
from core.errors import (
    ClaudeAuthFailed,
    ContextTooLong,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    RequestTooLarge,
    UpstreamError,
)

ERROR_LOG_FILTER = "error in api request"
"""The one category of the CLI's debug log that is on: the API's own answer to a failed request. On
stdout the CLI puts its advice for a person at a terminal in its place."""

API_ERROR_LINE = re.compile(r"Error in API request: (?:\d{3} )?(.+?)\s*$")
ADVICE = re.compile(
    r"^(?:.*?API Error: (?:\d{3} )?)?(?:Request rejected \(\d{3}\) · )?"
    r"|\. This is a server-side issue.*$| If it persists, check .*$| Accumulated images .*$| · .*$",
    re.DOTALL,
)
OUT_OF_CREDIT = re.compile(
    r"credit balance|usage limits?\b|spend(?:ing)? limit|billing|insufficient.*(?:credit|quota)",
    re.IGNORECASE,
)
TOO_LONG = re.compile(r"prompt is too long|exceed context limit|context window", re.IGNORECASE)
CLI_MODEL = re.compile(r"(?:issue with the selected model \(|The model )([^\s)]+)(?:\)| is not)")
"""A 404 is the one failure that the CLI does not log; the API says `model: NAME`."""

PLACE = re.compile(r"^`?([a-z_]+(?:\.[A-Za-z0-9_]+)*)`?: ")


@dataclass(frozen=True, slots=True)
class Failure:
    """A call of the API that failed. `status` and `kind` are the CLI's fields; `text` is what it
    wrote for a person, `message` the API's own words, where they are known. Seconds."""

    status: int | None
    kind: str | None
    text: str
    message: str | None = None
    retry_after: float | None = None

    @property
    def words(self) -> str:
        text = ADVICE.sub("", self.text).strip()
        return self.message or _message(text) or text or "The request failed."


def is_api_error_line(line: str) -> bool:
    """Whether a line of the CLI's log has what the API said: it may quote the request."""
    return ERROR_LOG_FILTER in line.lower()


def logged_message(line: str) -> str | None:
    """The API's message out of a line of the CLI's log, where it is the body of the error or, from
    Bedrock, its text; None where the line has none."""
    found = API_ERROR_LINE.search(line)
    if found is None:
        return None
    return _message(found[1]) if found[1].startswith("{") else found[1]


def _message(body_text: str) -> str | None:
    """The message in the body of an error; None where it is no such body."""
    try:
        body: JsonObject = json.loads(body_text) if body_text.startswith("{") else {}
        error = body.get("error")
        message = error.get("message") if isinstance(error, dict) else body.get("message")
        return message if isinstance(message, str) else None
    except ValueError:
        return None


def api_error(failure: Failure) -> GatewayError:
    """The error for a failed call: the status decides, words only where one status has several
    meanings."""
    message, status = failure.words, failure.status
    if status is None:
        return _without_status(failure)
    if status in (400, 402, 403, 429) and (
        status == 402 or failure.kind == "billing_error" or OUT_OF_CREDIT.search(message)
    ):
        return QuotaExceeded(message, retry_after=failure.retry_after)
    match status:
        case 400 | 413 if TOO_LONG.search(message):
            return ContextTooLong(message, param="messages")
        case 400 | 422:
            return InvalidRequest(message, param=place(message))
        case 401 | 403:
            why = message.rstrip(".")
            return ClaudeAuthFailed(f"Claude refused the server's credentials: {why}.")
        case 404:
            named = CLI_MODEL.search(message)
            return ModelNotFound(f"model: {named[1]}" if named else message, param="model")
        case 413:
            return RequestTooLarge(message)
        case 429:
            return RateLimited(message, retry_after=failure.retry_after or 30)
        case 503 | 529:
            return Overloaded(message, retry_after=failure.retry_after or 5)
        case _:
            return UpstreamError(message)


def _without_status(failure: Failure) -> GatewayError:
    """The API was not reached, or its answer broke off."""
    if failure.kind == "authentication_failed":
        return ClaudeAuthFailed("Claude Code is not logged in.")
    return UpstreamError(failure.words)


def place(message: str) -> str | None:
    """Where in the request the API found the fault: `messages.3.content.0: …` is
    `messages[3].content[0]`."""
    found = PLACE.match(message)
    if found is None:
        return None
    return re.sub(r"\.(\d+)", r"[\1]", found[1])


def sdk_error(error: ClaudeSDKError) -> GatewayError:
    """The one place where the SDK's exceptions become this server's."""
    match error:
        case CLINotFoundError():
            return UpstreamError(
                "The Claude Code CLI was not found. Reinstall claude-agent-sdk, or set "
                "CLAUDE_CLI_PATH.",
                code="cli_not_found",
            )
        case ProcessError():
            return UpstreamError(f"Claude Code ended unexpectedly (exit code {error.exit_code}).")
        case CLIJSONDecodeError() | MessageParseError():
            return UpstreamError("Claude Code sent malformed output.")
        case CLIConnectionError() if "malformed" in str(error):
            return UpstreamError("Claude Code sent malformed output.")
        case CLIConnectionError():
            return UpstreamError("The connection to Claude Code was lost.")
        case _:
            return UpstreamError("Claude Code failed.")
