"""What a route asks for in its signature, out of the state that the lifespan made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request

import auth
import claude_cli
import session_manager
import tools as toolbox_door
from config import credentials as claude_credentials
from config import settings
from core.builtin_tools import ToolRequest
from core.errors import InvalidApiKey, PermissionDenied, ToolsNotAllowed
from core.turn import ToolGrant
from turns import images as turn_images
from turns import seed_cache, tool_stats


@dataclass(frozen=True, slots=True)
class State:
    """All that lives as long as the app; kept as `app.state.gateway`.

    `reachable_without_key`: whoever can connect may ask, maybe from elsewhere. Nothing that touches
    the host, such as Claude Code's own tools, may be allowed then.
    """

    settings: settings.Settings
    credentials: claude_credentials.Credentials
    engine: claude_cli.ClaudeEngine
    catalogue: claude_cli.ModelCatalogue
    images: turn_images.ImageFetcher
    sessions: session_manager.SessionManager
    seeds: seed_cache.SeedCache
    tools: toolbox_door.ToolPolicy
    tool_stats: tool_stats.ToolStats
    workspaces: toolbox_door.Workspaces
    mcp_servers: toolbox_door.McpServers
    reachable_without_key: bool = False


# Coroutines, although nothing is awaited: FastAPI calls a plain function in a worker thread.
async def _state(request: Request) -> State:
    state: State = request.app.state.gateway
    return state


_State = Annotated[State, Depends(_state)]


async def _known_principal(request: Request) -> auth.Principal | None:
    found: auth.Principal | None = request.state.principal  # web/middleware/access.py put it there
    return found


_KnownPrincipal = Annotated[auth.Principal | None, Depends(_known_principal)]


async def _principal(request: Request, principal: _KnownPrincipal) -> auth.Principal:
    if principal is not None:
        return principal
    if auth.presented_keys(request.scope["headers"]):
        raise InvalidApiKey("The API key is wrong.")
    raise InvalidApiKey(
        "You didn't provide an API key. Send it as `Authorization: Bearer YOUR_KEY`, `x-api-key` "
        "or `api-key`."
    )


_Principal = Annotated[auth.Principal, Depends(_principal)]


async def _tool_user(state: _State, principal: _Principal) -> auth.Principal:
    if refusal := (await state.tools.permissions(principal)).refusal:
        raise ToolsNotAllowed(refusal)
    return principal


async def _resolve_model(state: _State, principal: _Principal) -> Callable[[str], Awaitable[str]]:
    async def resolve(name: str) -> str:
        """The catalogue's `resolve`. Raises PermissionDenied for a model this key may not use."""
        model = await state.catalogue.resolve(name)
        if not principal.may_use(name, model, *state.catalogue.names(model)):
            message = f"Your API key may not use the model `{model}`."
            raise PermissionDenied(message, param="model", code="model_not_allowed")
        return model

    return resolve


_Grant = Callable[[ToolRequest, str | None], Awaitable[ToolGrant]]


async def _grant_tools(state: _State, principal: _Principal) -> _Grant:
    async def grant(wish: ToolRequest, session_id: str | None) -> ToolGrant:
        """The policy's `grant`, with a place to work. Raises ToolsNotAllowed, PermissionDenied or
        InvalidRequest."""
        return await _granted(state, principal, wish, session_id, home=session_id)

    return grant


async def _foresee_tools(state: _State, principal: _Principal) -> _Grant:
    async def foresee(wish: ToolRequest, session_id: str | None) -> ToolGrant:
        """As `grant`, but without the session's directory, which would be made for it."""
        return await _granted(state, principal, wish, session_id, home=None)

    return foresee


async def _granted(
    state: State,
    principal: auth.Principal,
    wish: ToolRequest,
    session_id: str | None,
    *,
    home: str | None,
) -> ToolGrant:
    granted = await state.tools.grant(principal, wish, session_id)
    directory = await state.workspaces.directory(principal.name, home, wish.cwd)
    mcp_config = await state.mcp_servers.config(wish.mcp_servers)
    return replace(granted, directory=directory, mcp_config=mcp_config)


async def _operator(state: _State, principal: _Principal) -> auth.Principal:
    state.tools.check_operator(principal)
    return principal


async def _tools(state: _State) -> toolbox_door.ToolPolicy:
    return state.tools


async def _tool_stats(state: _State) -> tool_stats.ToolStats:
    return state.tool_stats


async def _settings(state: _State) -> settings.Settings:
    return state.settings


async def _credentials(state: _State) -> claude_credentials.Credentials:
    return state.credentials


async def _engine(state: _State) -> claude_cli.ClaudeEngine:
    return state.engine


async def _catalogue(state: _State) -> claude_cli.ModelCatalogue:
    return state.catalogue


async def _sessions(state: _State) -> session_manager.SessionManager:
    return state.sessions


async def _images(state: _State) -> turn_images.ImageFetcher:
    return state.images


async def _seeds(state: _State) -> seed_cache.SeedCache:
    return state.seeds


async def _workspaces(state: _State) -> toolbox_door.Workspaces:
    return state.workspaces


async def _mcp_servers(state: _State) -> toolbox_door.McpServers:
    return state.mcp_servers


Principal = _Principal
"""Requires a key, where the server has any: the access policy of a route."""

KnownPrincipal = _KnownPrincipal
"""Lets everyone pass; None where a key was needed and none, or a wrong one, was sent."""

Operator = Annotated[auth.Principal, Depends(_operator)]
"""As Principal, but only those who may change what others may do."""

GrantTools = Annotated[_Grant, Depends(_grant_tools)]
ForeseeTools = Annotated[_Grant, Depends(_foresee_tools)]
ToolStats = Annotated[tool_stats.ToolStats, Depends(_tool_stats)]
ToolPolicy = Annotated[toolbox_door.ToolPolicy, Depends(_tools)]
ToolUser = Annotated[auth.Principal, Depends(_tool_user)]
"""A Principal for which something may be written on this host."""

ResolveModel = Annotated[Callable[[str], Awaitable[str]], Depends(_resolve_model)]
Settings = Annotated[settings.Settings, Depends(_settings)]
Credentials = Annotated[claude_credentials.Credentials, Depends(_credentials)]
Engine = Annotated[claude_cli.ClaudeEngine, Depends(_engine)]
Catalogue = Annotated[claude_cli.ModelCatalogue, Depends(_catalogue)]
Sessions = Annotated[session_manager.SessionManager, Depends(_sessions)]
Images = Annotated[turn_images.ImageFetcher, Depends(_images)]
Seeds = Annotated[seed_cache.SeedCache, Depends(_seeds)]
Workspaces = Annotated[toolbox_door.Workspaces, Depends(_workspaces)]
McpServers = Annotated[toolbox_door.McpServers, Depends(_mcp_servers)]
