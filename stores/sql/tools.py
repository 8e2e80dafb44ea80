"""The SQL store's rules of Claude Code's built-in tools: the server's and those of keys."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from stores import rows
from stores.protocols import ToolRules
from stores.sql.tables import tool_rules
from stores.sql.terms import Terms


async def read(db: AsyncConnection) -> dict[str, ToolRules]:
    found = await db.execute(select(tool_rules))
    return {row.owner: rules for row in found if (rules := rows.tool_rules(row.rules))}


async def write(db: AsyncConnection, terms: Terms, owner: str, rules: ToolRules | None) -> None:
    if rules is None:
        await db.execute(delete(tool_rules).where(tool_rules.c.owner == owner))
        return
    statement = terms.insert(tool_rules).values(owner=owner, rules=asdict(rules))
    replaced = {"rules": statement.excluded.rules}
    await db.execute(statement.on_conflict_do_update(index_elements=["owner"], set_=replaced))
