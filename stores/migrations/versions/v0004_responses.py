"""Responses and conversations, with their items, and the events of background streams."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_responses()
    _create_response_parts()
    _create_conversations()


def _create_responses() -> None:
    op.create_table(
        "responses",
        sa.Column("key", KEY, autoincrement=True, nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("previous_id", sa.String(128)),
        sa.Column("conversation_id", sa.String(128)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("background", sa.Boolean, nullable=False),
        sa.Column("streamed", sa.Boolean, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("lease_token", sa.String(64)),
        sa.Column("lease_until", sa.Double),
        sa.PrimaryKeyConstraint("key", name="pk_responses"),
        sa.UniqueConstraint("owner", "id", name="uq_responses_owner_id"),
    )
    op.create_index("ix_responses_expires_at", "responses", ["expires_at"])
    op.create_index("ix_responses_lease_until", "responses", ["lease_until"])


def _create_response_parts() -> None:
    op.create_table(
        "response_items",
        sa.Column("response_key", KEY, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("is_output", sa.Boolean, nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("response_key", "position", name="pk_response_items"),
        sa.ForeignKeyConstraint(
            ["response_key"],
            ["responses.key"],
            name="fk_response_items_responses",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_response_items_owner_id", "response_items", ["owner", "id"])
    op.create_table(
        "response_events",
        sa.Column("response_key", KEY, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("frame", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("response_key", "number", name="pk_response_events"),
        sa.ForeignKeyConstraint(
            ["response_key"],
            ["responses.key"],
            name="fk_response_events_responses",
            ondelete="CASCADE",
        ),
    )


def _create_conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("key", KEY, autoincrement=True, nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.PrimaryKeyConstraint("key", name="pk_conversations"),
        sa.UniqueConstraint("owner", "id", name="uq_conversations_owner_id"),
    )
    op.create_index("ix_conversations_expires_at", "conversations", ["expires_at"])
    op.create_table(
        "conversation_items",
        sa.Column("key", KEY, autoincrement=True, nullable=False),
        sa.Column("conversation_key", KEY, nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_conversation_items"),
        sa.ForeignKeyConstraint(
            ["conversation_key"],
            ["conversations.key"],
            name="fk_conversation_items_conversations",
            ondelete="CASCADE",
        ),
    )
    op.create_index(
        "ix_conversation_items_conversation_key_key",
        "conversation_items",
        ["conversation_key", "key"],
    )
    op.create_index("ix_conversation_items_owner_id", "conversation_items", ["owner", "id"])
