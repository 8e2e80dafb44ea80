"""How many bytes responses and the items of conversations take."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    for table in ("responses", "conversation_items"):
        size = sa.Column("bytes", sa.BigInteger, nullable=False, server_default="0")
        op.add_column(table, size)
