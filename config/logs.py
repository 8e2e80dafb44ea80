"""Logs. A log line holds names and numbers, never a prompt, an answer or a key."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from pydantic import ValidationError

from config.settings import Settings

ROOT = Path(__file__).parents[1]
SHORT_ID = 8
"""Letters of a request id that a line for people shows: enough to find it again."""

current_request_id: ContextVar[str | None] = ContextVar("current_request_id", default=None)
_notes: ContextVar[dict[str, Any] | None] = ContextVar("notes", default=None)

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def begin_notes() -> dict[str, Any]:
    """What `note` adds to from now on, in this task and those that it starts."""
    notes: dict[str, Any] = {}
    _notes.set(notes)
    return notes


def note(**fields: Any) -> None:
    """Adds fields to the one line that is written of the request that runs here."""
    if (notes := _notes.get()) is not None:
        notes |= fields


def configure_logging(settings: Settings) -> None:
    """One handler on stderr for everything; replaces what was configured before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLine() if settings.log_format == "json" else ConsoleLine(sys.stderr))
    handler.addFilter(is_loggable)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # RequestLog writes that line


def is_loggable(record: logging.LogRecord) -> bool:
    """All of this server; of libraries only warnings, since their debug lines hold prompts and
    keys. An installed server is below site-packages itself."""
    path = Path(record.pathname)
    is_own = path.is_relative_to(ROOT) and "site-packages" not in path.relative_to(ROOT).parts
    return is_own or record.levelno >= logging.WARNING


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


COLOURS = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}
"""ANSI codes of levels; the usual level has none."""

DIM = "2"


class ConsoleLine(Line):
    """A line for people: the time of day and colours on a terminal, the date and none in a file."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._is_terminal = stream is not None and stream.isatty()
        self._has_colours = self._is_terminal and "NO_COLOR" not in os.environ

    def format(self, record: logging.LogRecord) -> str:
        """`12:03:04 INFO    1f0c22ab message`, and a traceback below it."""
        when = datetime.fromtimestamp(record.created, UTC).astimezone()
        time = when.strftime("%H:%M:%S" if self._is_terminal else "%Y-%m-%d %H:%M:%S")
        short_id = (self.fields(record)["request_id"] or "").removeprefix("req_")[:SHORT_ID]
        parts = [
            self._in(DIM, time),
            self._in(COLOURS.get(record.levelno, ""), f"{record.levelname:7}"),
            *([self._in(DIM, short_id)] if short_id else []),
            record.getMessage(),
        ]
        line = " ".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def _in(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if code and self._has_colours else text


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
