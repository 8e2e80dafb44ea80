"""Logs. A log line holds names and numbers, never a prompt, an answer or a key."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from config.settings import Settings

ROOT = Path(__file__).parents[1]

current_request_id: ContextVar[str | None] = ContextVar("current_request_id", default=None)

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
    """All of this project's; of libraries only warnings, since their debug lines hold prompts and
    keys."""
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
