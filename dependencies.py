"""What a route asks for in its signature, out of the state that the lifespan made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

import auth
import catalogue
import claude_cli
import settings


@dataclass(frozen=True, slots=True)
class State:
    """All that lives as long as the app; kept as `app.state.gateway`."""

    settings: settings.Settings
    credentials: auth.Credentials
    engine: claude_cli.ClaudeEngine
    catalogue: catalogue.ModelCatalogue


# Coroutines, although nothing is awaited: FastAPI calls a plain function in a worker thread.
async def _state(request: Request) -> State:
    state: State = request.app.state.gateway
    return state


_State = Annotated[State, Depends(_state)]


async def _settings(state: _State) -> settings.Settings:
    return state.settings


async def _credentials(state: _State) -> auth.Credentials:
    return state.credentials


async def _engine(state: _State) -> claude_cli.ClaudeEngine:
    return state.engine


async def _catalogue(state: _State) -> catalogue.ModelCatalogue:
    return state.catalogue


Settings = Annotated[settings.Settings, Depends(_settings)]
Credentials = Annotated[auth.Credentials, Depends(_credentials)]
Engine = Annotated[claude_cli.ClaudeEngine, Depends(_engine)]
Catalogue = Annotated[catalogue.ModelCatalogue, Depends(_catalogue)]
