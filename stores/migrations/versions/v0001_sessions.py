"""Sessions, their messages, large images, and what was used by day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _count(name: str, kind: type[sa.Integer] = sa.BigInteger) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False, server_default="0")


def upgrade() -> None:
    _create_sessions()
    _create_messages()
    op.create_table(
        "days",
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("date", sa.String(10), nullable=False),
        _count("turns"),
        _count("messages"),
        _count("prompt_tokens"),
        _count("completion_tokens"),
        sa.Column("cost_usd", sa.Double, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("owner", "date", name="pk_days"),
    )


def _create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("key", KEY, autoincrement=True, nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("used_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("ttl_seconds", sa.Double),
        sa.Column("system", sa.Text),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("model", sa.Text),
        _count("message_count", sa.Integer),
        _count("turn_count", sa.Integer),
        _count("bytes"),
        _count("input_tokens"),
        _count("cache_read_tokens"),
        _count("cache_write_tokens"),
        _count("output_tokens"),
        _count("reasoning_tokens"),
        sa.Column("cost_usd", sa.Double, nullable=False, server_default="0"),
        sa.Column("draft", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("swept", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("lease_token", sa.String(64)),
        sa.Column("lease_until", sa.Double),
        sa.PrimaryKeyConstraint("key", name="pk_sessions"),
        sa.UniqueConstraint("owner", "id", name="uq_sessions_owner_id"),
    )
    op.create_index("ix_sessions_owner_created_at_key", "sessions", ["owner", "created_at", "key"])
    op.create_index("ix_sessions_swept_expires_at", "sessions", ["swept", "expires_at"])


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("session_key", KEY, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("answer", sa.Text),
        sa.Column("request", sa.Text),
        sa.PrimaryKeyConstraint("session_key", "position", name="pk_messages"),
        sa.ForeignKeyConstraint(
            ["session_key"], ["sessions.key"], name="fk_messages_sessions", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("used_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_blobs"),
    )
    op.create_table(
        "message_blobs",
        sa.Column("session_key", KEY, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("session_key", "position", "sha256", name="pk_message_blobs"),
        sa.ForeignKeyConstraint(["sha256"], ["blobs.sha256"], name="fk_message_blobs_blobs"),
        sa.ForeignKeyConstraint(
            ["session_key", "position"],
            ["messages.session_key", "messages.position"],
            name="fk_message_blobs_messages",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_message_blobs_sha256", "message_blobs", ["sha256"])
