"""Logs and request ids. A log line holds names and numbers, never a prompt, an answer or a key."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from pydantic import ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from errors import GatewayError
from settings import Settings

ROOT = Path(__file__).parent
CLIENT_REQUEST_ID_LENGTH = 512
CLIENT_LEFT = 499
"""Logged where the client left before the answer began, as nginx writes it."""

current_request_id: ContextVar[str | None] = ContextVar("current_request_id", default=None)
access_log = logging.getLogger("access")
log = logging.getLogger(__name__)

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure_logging(settings: Settings) -> None:
    """One handler on stderr for everything; replaces what was configured before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLine() if settings.log_format == "json" else ConsoleLine())
    handler.addFilter(is_loggable)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # RequestLog writes that line


def is_loggable(record: logging.LogRecord) -> bool:
    """All of ours; of libraries only warnings, since their debug lines hold prompts and keys."""
    path = Path(record.pathname)
    ours = path.is_relative_to(ROOT) and "site-packages" not in path.parts
    return ours or record.levelno >= logging.WARNING


class Line(logging.Formatter):
    """A record as fields. Tracebacks keep their frames, but validation errors lose the input."""

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        return {"request_id": current_request_id.get(), **getattr(record, "fields", {})}

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802, RUF100  # logging's own name
        lines: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None:
            lines[:0] = [*traceback.format_tb(error.__traceback__), f"{_description(error)}\n"]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "".join(lines).rstrip()


def _description(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return f"ValidationError: {error.error_count()} in {error.title}"
    return f"{type(error).__name__}: {error}"


class ConsoleLine(Line):
    def format(self, record: logging.LogRecord) -> str:
        """`12:03:04 INFO    message req_…`, and a traceback below it."""
        time = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        request_id = self.fields(record)["request_id"] or ""
        line = f"{time} {record.levelname:7} {record.getMessage()} {request_id}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLine(Line):
    def format(self, record: logging.LogRecord) -> str:
        """One JSON object: time (ISO 8601, UTC), level, logger, message and the record's fields."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in self.fields(record).items() if value is not None},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


class RequestLog:
    """Pure ASGI: `x-request-id` on every answer, one access line per request, 500 for a bug.

    It is the outermost middleware, and it answers what no handler caught itself: Starlette's own
    catch-all stands outside every middleware, where an answer would get no request id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, send)
        token = current_request_id.set(exchange.request_id)
        try:
            await self.app(scope, receive, exchange.send)
        except Exception:
            log.exception("Unexpected error in %s %s", scope["method"], exchange.path)
            if exchange.status is None:
                error = GatewayError("The server had an error while processing your request.")
                await JSONResponse(error.body(), error.status)(scope, receive, exchange.send)
        finally:
            exchange.log()
            current_request_id.reset(token)


class Exchange:
    """One request and what is known of its answer so far."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.request_id = f"req_{uuid4().hex}"
        self.client_request_id = client_request_id(Headers(scope=scope))
        self.status: int | None = None
        self.method: str = scope["method"]
        self.path = quote(scope["path"])  # no line breaks in the log; the query may hold keys
        self._send = send
        self._started = perf_counter()
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._state["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            if self.client_request_id:
                headers["x-client-request-id"] = self.client_request_id
        await self._send(message)

    def log(self) -> None:
        duration_ms = round((perf_counter() - self._started) * 1000, 1)
        status = self.status or CLIENT_LEFT
        fields = {
            "method": self.method,
            "path": self.path,
            "status": status,
            "duration_ms": duration_ms,
            "request_id": self.request_id,
            "client_request_id": self.client_request_id,
            "key": getattr(self._state.get("principal"), "key_id", None),
        }
        line = (self.method, self.path, status, duration_ms)
        access_log.info("%s %s %s %s ms", *line, extra={"fields": fields})


def client_request_id(headers: Headers) -> str | None:
    """The caller's `X-Client-Request-Id`, where it is safe to echo: printable ASCII, 512 at most
    (https://platform.openai.com/docs/api-reference/debugging-requests)."""
    value = headers.get("x-client-request-id", "")
    safe = value.isascii() and value.isprintable() and len(value) <= CLIENT_REQUEST_ID_LENGTH
    return value if value and safe else None
