"""The usage ledger with its sums, and API keys; the sessions' day counts become sums of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TOKENS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)


def upgrade() -> None:
    _turns()
    for name in ("usage_hours", "usage_days"):
        _sums(name)
    op.create_table(
        "usage_running",
        sa.Column("server", sa.String(16), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("server", "key", name="pk_usage_running"),
    )
    _keys()
    op.execute(
        "INSERT INTO usage_days (start, key, dialect, model, stored, turns, input_tokens, "
        "output_tokens, cost_usd, messages) SELECT date, owner, 'chat', '', true, turns, "
        "prompt_tokens, completion_tokens, cost_usd, messages FROM days"
    )
    op.drop_table("days")


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _turns() -> None:
    op.create_table(
        "usage_turns",
        sa.Column("number", Key, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("key_id", sa.String(16)),
        sa.Column("session_id", sa.String(128)),
        sa.Column("response_id", sa.String(128)),
        sa.Column("dialect", sa.String(32), nullable=False),
        sa.Column("model_asked", sa.Text, nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("answers", sa.Integer, nullable=False),
        *(_count(name) for name in TOKENS),
        sa.Column("cost_usd", sa.Double),
        sa.Column("first_token_ms", sa.Double),
        sa.Column("queue_ms", sa.Double),
        sa.Column("process_ms", sa.Double),
        sa.Column("upstream_ms", sa.Double),
        sa.Column("duration_ms", sa.Double, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error", sa.String(64)),
        sa.Column("tools", sa.Text, nullable=False),
        sa.Column("stored_messages", sa.Integer, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("number", name="pk_usage_turns"),
    )
    op.create_index("ix_usage_turns_at", "usage_turns", ["at"])
    op.create_index("ix_usage_turns_key_at", "usage_turns", ["key", "at"])
    op.create_index("ix_usage_turns_id", "usage_turns", ["id"])


def _sums(name: str) -> None:
    op.create_table(
        name,
        sa.Column("start", sa.String(13), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("dialect", sa.String(32), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("stored", sa.Boolean, nullable=False),
        _count("turns"),
        _count("errors"),
        *(_count(tokens) for tokens in TOKENS),
        sa.Column("cost_usd", sa.Double, nullable=False, server_default="0"),
        sa.Column("duration_ms", sa.Double, nullable=False, server_default="0"),
        sa.Column("first_token_ms", sa.Double, nullable=False, server_default="0"),
        _count("first_tokens"),
        _count("messages"),
        sa.PrimaryKeyConstraint("start", "key", "dialect", "model", "stored", name=f"pk_{name}"),
    )
    op.create_index(f"ix_{name}_key_start", name, ["key", "start"])


def _keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("last_used_at", sa.Double),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("operator", sa.Boolean, nullable=False),
        sa.Column("rules", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_api_keys"),
        sa.UniqueConstraint("sha256", name="uq_api_keys_sha256"),
    )
