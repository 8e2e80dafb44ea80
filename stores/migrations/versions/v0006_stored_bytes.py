"""How many bytes responses and the items of conversations take, and who approved what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    for table in ("responses", "conversation_items"):
        size = sa.Column("bytes", sa.BigInteger, nullable=False, server_default="0")
        op.add_column(table, size)
    op.add_column("usage_turns", sa.Column("approvals", sa.Text))
