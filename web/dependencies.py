"""What a route asks for in its signature, out of the state that the lifespan made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from starlette.responses import Response

import auth
import claude_cli
import session_manager
import tools as toolbox_door
from config import credentials as claude_credentials
from config import settings
from core.errors import InvalidApiKey, PermissionDenied, ToolsNotAllowed
from dialects import base
from models import TurnHeaders
from turns import (
    approvals,
    bodies,
    budgets,
    conversations,
    embeddings,
    metrics,
    pipeline,
    responses,
    state,
    tool_stats,
    usage,
)


# Coroutines, although nothing is awaited: FastAPI calls a plain function in a worker thread.
async def _state(request: Request) -> state.State:
    found: state.State = request.app.state.gateway
    return found


State = Annotated[state.State, Depends(_state)]


async def _pipeline(state: State) -> pipeline.Pipeline:
    return pipeline.Pipeline(state)


Pipeline = Annotated[pipeline.Pipeline, Depends(_pipeline)]


async def _known_principal(request: Request) -> auth.Principal | None:
    found: auth.Principal | None = request.state.principal  # web/middleware/access.py put it there
    return found


KnownPrincipal = Annotated[auth.Principal | None, Depends(_known_principal)]
"""Lets everyone pass; None where a key was needed and none, or a wrong one, was sent."""


async def _principal(request: Request, principal: KnownPrincipal) -> auth.Principal:
    if principal is not None:
        return principal
    if auth.presented_keys(request.scope["headers"]):
        raise InvalidApiKey("The API key is wrong.")
    raise InvalidApiKey(
        "You didn't provide an API key. Send it as `Authorization: Bearer YOUR_KEY`, `x-api-key` "
        "or `api-key`."
    )


Principal = Annotated[auth.Principal, Depends(_principal)]
"""Requires a key, where the server has any: the access policy of a route."""


async def _metrics_reader(request: Request, state: State, principal: KnownPrincipal) -> None:
    if not state.settings.metrics_public:
        await _principal(request, principal)


MetricsReader = Annotated[None, Depends(_metrics_reader)]
"""As Principal, unless METRICS_PUBLIC."""

R = TypeVar("R", bound=base.Request)


@dataclass(frozen=True, slots=True)
class AnswerTurn:
    """Runs the turn that a request asks for."""

    conductor: pipeline.Pipeline
    principal: auth.Principal
    request: Request

    async def __call__(self, dialect: base.Dialect[R], body: R, headers: TurnHeaders) -> Response:
        """The response, which owns the turn. Raises a GatewayError."""
        count_choices = partial(self.conductor.state.limiter.count_choices, self.request.scope)
        size = len(await self.request.body())
        raw_headers = dict(self.request.headers)
        asker = pipeline.Asker(self.principal, headers, raw_headers, size, count_choices)
        return await self.conductor.answer(dialect, body, asker)


async def _answer(request: Request, pipeline: Pipeline, principal: Principal) -> AnswerTurn:
    return AnswerTurn(pipeline, principal, request)


Answer = Annotated[AnswerTurn, Depends(_answer)]
"""What a dialect's route returns the result of. Requires a key, as Principal."""


@dataclass(frozen=True, slots=True)
class AskResponses:
    """What is asked for of responses, and by whom. Requires a key, as Principal."""

    responses: responses.Responses
    principal: auth.Principal
    request: Request

    @property
    def conversations(self) -> conversations.Conversations:
        state = self.responses.pipeline.state
        return conversations.Conversations(self.responses.store, state.stored_bytes)

    @property
    def owner(self) -> str:
        return self.principal.name

    async def asker(self, headers: TurnHeaders) -> pipeline.Asker:
        size = len(await self.request.body())
        return pipeline.Asker(self.principal, headers, dict(self.request.headers), size)


async def _responses(request: Request, pipeline: Pipeline, principal: Principal) -> AskResponses:
    return AskResponses(responses.Responses(pipeline), principal, request)


Responses = Annotated[AskResponses, Depends(_responses)]

ResolveModelByName = Callable[[str], Awaitable[str]]


async def _resolve_model(pipeline: Pipeline, principal: Principal) -> ResolveModelByName:
    async def resolve(name: str) -> str:
        """The pipeline's `resolve` for this principal."""
        return await pipeline.resolve(principal, name)

    return resolve


ResolveModel = Annotated[ResolveModelByName, Depends(_resolve_model)]


async def _tool_user(state: State, principal: Principal) -> auth.Principal:
    if refusal := (await state.tools.permissions(principal)).refusal:
        raise ToolsNotAllowed(refusal)
    return principal


ToolUser = Annotated[auth.Principal, Depends(_tool_user)]
"""A Principal for which something may be written on this host."""


async def _operator(state: State, principal: Principal) -> auth.Principal:
    state.tools.check_operator(principal)
    return principal


Operator = Annotated[auth.Principal, Depends(_operator)]
"""As Principal, but only those who may change what others may do."""


async def _visible(state: State, principal: Principal) -> str | None:
    """Whose usage the caller may see: None is everybody's."""
    try:
        state.tools.check_operator(principal)
    except PermissionDenied:
        return principal.name
    return None


VisibleKey = Annotated[str | None, Depends(_visible)]
"""As Principal; the name of the only key whose usage it may see, None for an operator."""


def _part(name: str) -> Any:
    """Of the state, by its name there."""

    async def part(state: State) -> Any:
        return getattr(state, name)

    return Depends(part)


Credentials = Annotated[claude_credentials.Credentials, _part("credentials")]
Settings = Annotated[settings.Settings, _part("settings")]
Engine = Annotated[claude_cli.ClaudeEngine, _part("engine")]
Embeddings = Annotated[embeddings.Embeddings, _part("embeddings")]
Catalogue = Annotated[claude_cli.ModelCatalogue, _part("catalogue")]
Sessions = Annotated[session_manager.SessionManager, _part("sessions")]
ToolPolicy = Annotated[toolbox_door.ToolPolicy, _part("tools")]
ToolStats = Annotated[tool_stats.ToolStats, _part("tool_stats")]
Keys = Annotated[auth.KeyBook, _part("keys")]
Usage = Annotated[usage.UsageRecorder, _part("usage")]
Metrics = Annotated[metrics.Metrics, _part("metrics")]
Bodies = Annotated[bodies.Bodies, _part("bodies")]
Budgets = Annotated[budgets.Budgets, _part("budgets")]
Approvals = Annotated[approvals.Approvals, _part("approvals")]
Workspaces = Annotated[toolbox_door.Workspaces, _part("workspaces")]
McpServers = Annotated[toolbox_door.McpServers, _part("mcp_servers")]
