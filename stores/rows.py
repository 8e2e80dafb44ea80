"""Rows of the tables <-> the plain data of `protocol.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, cast

from sqlalchemy import Row

from core.conversation import Message
from core.events import Usage
from stores import blobs
from stores.protocols import Answer, CompletedTurn, Session, StoredMessage, ToolRules, content_bytes

USAGE_COLUMNS = tuple(asdict(Usage()))
SESSION_COLUMNS = tuple(field.name for field in fields(Session) if field.name != "usage")


def session(row: Row[Any]) -> Session:
    """A row of `sessions` with `expired`; columns that were not asked for keep their defaults."""
    found = row._mapping
    usage = Usage(**{name: found[name] for name in USAGE_COLUMNS})
    known = {name: found[name] for name in SESSION_COLUMNS if name in found}
    return Session(**known | {"tools": tool_rules(found["tools"])}, usage=usage)


def tool_rules(kept: dict[str, Any] | None) -> ToolRules | None:
    if kept is None:
        return None
    allowed = None if kept["allowed"] is None else tuple(kept["allowed"])
    return ToolRules(allowed, tuple(kept["disallowed"]))


def stored_message(row: Row[Any], data: dict[str, bytes]) -> StoredMessage:
    answer = _answer(row.answer) if row.answer else None
    content = blobs.attached(row.content, data)
    model = answer.model if answer else None
    message = Message(row.role, content, model)
    return StoredMessage(message, row.created_at, answer, row.request)


def _answer(kept: dict[str, Any]) -> Answer:
    return Answer(**{**kept, "usage": Usage(**kept["usage"])})


def message_rows(
    key: int, turn: CompletedTurn
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, bytes]]:
    """Rows of `messages` (without their time) and `message_blobs` for what the turn adds, and its
    blobs by hash."""
    rows: list[dict[str, Any]] = []
    uses: list[dict[str, Any]] = []
    data: dict[str, bytes] = {}
    for position, message in enumerate(turn.messages, turn.keep):
        content, found = blobs.detached(message.content)
        data |= found
        uses += [{"session_key": key, "position": position, "sha256": name} for name in found]
        rows.append(
            {
                "session_key": key,
                "position": position,
                "role": message.role,
                "content": content,
                "bytes": message_bytes(message),
                "answer": None,
                "request": None,
            }
        )
    rows[-1] |= {"answer": asdict(turn.answer), "request": turn.request}
    return rows, uses, data


def message_bytes(message: Message) -> int:
    return content_bytes(cast(Sequence[dict[str, Any]], message.content))
