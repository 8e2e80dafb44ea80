"""The tables of the SQL store, as the newest migration leaves them.

JSON is kept as ASCII text: it comes back byte for byte, with NUL characters and lone surrogates
that PostgreSQL's own text and JSON types refuse.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
schema = MetaData(naming_convention=NAMES)


class Json(TypeDecorator[Any]):
    """Any JSON value; None is NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


def _count(name: str, kind: type[Integer] | type[BigInteger] = BigInteger) -> Column[int]:
    return Column(name, kind, nullable=False, server_default="0")


Key = BigInteger().with_variant(Integer(), "sqlite")

sessions = Table(
    "sessions",
    schema,
    Column("key", Key, primary_key=True, autoincrement=True),
    Column("owner", String(255), nullable=False),
    Column("id", String(128), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("used_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("ttl_seconds", Double),
    Column("system", Json),
    Column("metadata", Json, nullable=False),
    Column("model", Text),
    _count("message_count", Integer),
    _count("turn_count", Integer),
    _count("bytes"),
    _count("input_tokens"),
    _count("cache_read_tokens"),
    _count("cache_write_tokens"),
    _count("output_tokens"),
    _count("reasoning_tokens"),
    Column("cost_usd", Double, nullable=False, server_default="0"),
    Column("tools", Json),
    Column("draft", Boolean, nullable=False, server_default=false()),
    Column("swept", Boolean, nullable=False, server_default=false()),
    Column("lease_token", String(64)),
    Column("lease_until", Double),
    UniqueConstraint("owner", "id"),
    Index(None, "owner", "created_at", "key"),
    Index(None, "swept", "expires_at"),
)

messages = Table(
    "messages",
    schema,
    Column(
        "session_key",
        Key,
        ForeignKey("sessions.key", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("position", Integer, primary_key=True),
    Column("role", String(16), nullable=False),
    Column("content", Json, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("answer", Json),
    Column("request", Text),
)

blobs = Table(
    "blobs",
    schema,
    Column("sha256", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("used_at", Double, nullable=False),
)

message_blobs = Table(
    "message_blobs",
    schema,
    Column("session_key", Key, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("sha256", String(64), ForeignKey("blobs.sha256"), primary_key=True),
    ForeignKeyConstraint(
        ["session_key", "position"],
        ["messages.session_key", "messages.position"],
        ondelete="CASCADE",
    ),
    Index(None, "sha256"),
)

tool_rules = Table(
    "tool_rules",
    schema,
    Column("owner", String(255), primary_key=True),
    Column("rules", Json, nullable=False),
)

mcp_servers = Table(
    "mcp_servers",
    schema,
    Column("name", String(64), primary_key=True),
    Column("entry", Json, nullable=False),
)

responses = Table(
    "responses",
    schema,
    Column("key", Key, primary_key=True, autoincrement=True),
    Column("owner", String(255), nullable=False),
    Column("id", String(128), nullable=False),
    Column("previous_id", String(128)),
    Column("conversation_id", String(128)),
    Column("status", String(16), nullable=False),
    Column("body", Json, nullable=False),
    Column("background", Boolean, nullable=False),
    Column("streamed", Boolean, nullable=False),
    Column("expires_at", Double),
    Column("lease_token", String(64)),
    Column("lease_until", Double),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("owner", "id"),
    Index(None, "expires_at"),
    Index(None, "lease_until"),
)

response_items = Table(
    "response_items",
    schema,
    Column("response_key", Key, ForeignKey("responses.key", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("is_output", Boolean, nullable=False),
    Column("owner", String(255), nullable=False),
    Column("id", String(128), nullable=False),
    Column("item", Json, nullable=False),
    Index(None, "owner", "id"),
)

response_events = Table(
    "response_events",
    schema,
    Column("response_key", Key, ForeignKey("responses.key", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("frame", Text, nullable=False),
)

conversations = Table(
    "conversations",
    schema,
    Column("key", Key, primary_key=True, autoincrement=True),
    Column("owner", String(255), nullable=False),
    Column("id", String(128), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("expires_at", Double),
    UniqueConstraint("owner", "id"),
    Index(None, "expires_at"),
)

conversation_items = Table(
    "conversation_items",
    schema,
    Column("key", Key, primary_key=True, autoincrement=True),
    Column(
        "conversation_key",
        Key,
        ForeignKey("conversations.key", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("owner", String(255), nullable=False),
    Column("id", String(128), nullable=False),
    Column("item", Json, nullable=False),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Index(None, "conversation_key", "key"),
    Index(None, "owner", "id"),
)

usage_turns = Table(
    "usage_turns",
    schema,
    Column("number", Key, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False),
    Column("at", Double, nullable=False),
    Column("key", String(255), nullable=False),
    Column("key_id", String(16)),
    Column("session_id", String(128)),
    Column("response_id", String(128)),
    Column("dialect", String(32), nullable=False),
    Column("model_asked", Json, nullable=False),
    Column("model", String(128), nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("answers", Integer, nullable=False),
    _count("input_tokens"),
    _count("cache_read_tokens"),
    _count("cache_write_tokens"),
    _count("output_tokens"),
    _count("reasoning_tokens"),
    Column("cost_usd", Double),
    Column("first_token_ms", Double),
    Column("queue_ms", Double),
    Column("process_ms", Double),
    Column("upstream_ms", Double),
    Column("duration_ms", Double, nullable=False),
    Column("status", Integer, nullable=False),
    Column("error", String(64)),
    Column("tools", Json, nullable=False),
    Column("approvals", Json),
    _count("stored_messages", Integer),
    Index(None, "at"),
    Index(None, "key", "at"),
    Index(None, "id"),
)


def _sums(name: str) -> Table:
    return Table(
        name,
        schema,
        Column("start", String(13), primary_key=True),
        Column("key", String(255), primary_key=True),
        Column("dialect", String(32), primary_key=True),
        Column("model", String(128), primary_key=True),
        Column("stored", Boolean, primary_key=True),
        _count("turns"),
        _count("errors"),
        _count("input_tokens"),
        _count("cache_read_tokens"),
        _count("cache_write_tokens"),
        _count("output_tokens"),
        _count("reasoning_tokens"),
        Column("cost_usd", Double, nullable=False, server_default="0"),
        Column("duration_ms", Double, nullable=False, server_default="0"),
        Column("first_token_ms", Double, nullable=False, server_default="0"),
        _count("first_tokens"),
        _count("messages"),
        Index(None, "key", "start"),
    )


usage_hours = _sums("usage_hours")
usage_days = _sums("usage_days")

usage_running = Table(
    "usage_running",
    schema,
    Column("server", String(16), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("until", Double, nullable=False),
)

api_keys = Table(
    "api_keys",
    schema,
    Column("name", String(64), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("last_used_at", Double),
    Column("disabled", Boolean, nullable=False),
    Column("operator", Boolean, nullable=False),
    Column("rules", Json, nullable=False),
    UniqueConstraint("sha256"),
)
