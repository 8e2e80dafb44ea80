"""Which of Claude Code's built-in tools an operator allowed: for the server and keys, and
sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("tools", sa.Text))
    op.create_table(
        "tool_rules",
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("rules", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_tool_rules"),
    )
