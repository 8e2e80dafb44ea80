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
    keys,
    mcp,
    messages,
    metrics,
    models,
    page,
    pool,
    responses,
    root,
    session_changes,
    session_files,
    sessions,
    tools,
    usage,
)

ROUTERS = tuple(
    module.router
    for module in (
        *(chat, responses, conversations, messages, completions, absent),
        *(sessions, session_files, session_changes, models, usage, keys, tools, approvals),
        *(mcp, debug, auth, pool, metrics, health, root, page),
    )
)
