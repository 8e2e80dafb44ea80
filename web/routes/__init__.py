"""Thin routers, in the order of the OpenAPI document."""

from __future__ import annotations

from web.routes import (
    auth,
    chat,
    conversations,
    debug,
    health,
    mcp,
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
        *(chat, responses, conversations, sessions, session_files, models, tools),
        *(mcp, debug, auth, pool, health, root),
    )
)
