"""Thin routers, in the order of the OpenAPI document."""

from __future__ import annotations

from web.routes import (
    auth,
    chat,
    debug,
    health,
    keys,
    mcp,
    metrics,
    models,
    page,
    pool,
    root,
    session_files,
    sessions,
    tools,
    usage,
)

ROUTERS = tuple(
    module.router
    for module in (
        *(chat, sessions, session_files, models, usage, keys, tools),
        *(mcp, debug, auth, pool, metrics, health, root, page),
    )
)
