"""Thin routers, in the order of the OpenAPI document."""

from __future__ import annotations

from web.routes import (
    absent,
    approvals,
    auth,
    chat,
    completions,
    conversations,
    debug,
    health,
    mcp,
    messages,
    models,
    pool,
    responses,
    root,
    session_files,
    sessions,
    tools,
)

ROUTERS = tuple(
    module.router
    for module in (
        *(chat, responses, conversations, messages, completions, absent),
        *(sessions, session_files, models, tools),
        approvals,
        *(mcp, debug, auth, pool, health, root),
    )
)
