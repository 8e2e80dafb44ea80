"""The histories that this server used last, so that a turn need not read what it just wrote.

An entry is only taken for the very state of the session that its row shows: the row is read under
the session's lease at each turn, so another server's turn, a clear or a new start is always seen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeAlias

from stores.protocols import Session, StoredMessage

Stamp: TypeAlias = tuple[float, int, int]


class HistoryCache:
    """Histories by session, least recently used out first; `max_bytes` bounds their content."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[int, tuple[Stamp, int, tuple[StoredMessage, ...]]]
        self._entries = OrderedDict()

    def get(self, session: Session) -> tuple[StoredMessage, ...] | None:
        entry = self._entries.get(session.key)
        if entry is None or entry[0] != _stamp(session):
            return None
        self._entries.move_to_end(session.key)
        return entry[2]

    def put(self, session: Session, messages: Sequence[StoredMessage]) -> None:
        self._drop(session.key)
        if session.bytes > self._max_bytes // 4:
            return
        self._entries[session.key] = (_stamp(session), session.bytes, tuple(messages))
        self._bytes += session.bytes
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: int) -> None:
        entry = self._entries.pop(key, None)
        self._bytes -= entry[1] if entry else 0


def _stamp(session: Session) -> Stamp:
    """Every change of the messages changes this: each turn counts one, a clear leaves none, and
    whatever starts over does so at another time."""
    return session.created_at, session.turn_count, session.message_count
