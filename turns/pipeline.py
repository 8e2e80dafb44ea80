"""One turn from a request to its answer, the same way for every dialect.

    model ─ images ─ parse ─ grant ─ session ─ run ─ record ─ respond

`answer` goes the whole way, `preview` as far as it goes without asking the model or changing
anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar, cast

from pydantic import BaseModel

from auth import Principal
from claude_cli import ModelCard
from config.large_work import in_turn
from config.logs import current_request_id
from config.sandbox import why_unsandboxed
from core.context_trim import run_trimmed
from core.conversation import JsonObject
from core.errors import (
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    PermissionDenied,
    UnsupportedParameter,
)
from core.events import ChoiceEvent, Event
from core.notes import TurnNotes
from core.turn import Turn
from dialects.base import Call, Context, Dialect, Renderer, Request, with_grant
from models import TurnHeaders
from session_manager import SessionCall, requested_id
from tools import Agent
from turns.agents import agent_card, as_tool_headers, tool_request, with_agent, with_prompt
from turns.bodies import Body
from turns.choices import choices
from turns.images import fetch_images, put_placeholders
from turns.response import TurnResponse
from turns.state import State
from turns.usage import Meter

R = TypeVar("R", bound=Request)

REPLACED = "x-model-replaced"
"""The header that names a retired model for which another one answers."""


LARGE_BYTES = 128 * 1024
"""A larger request is parsed in a thread, so that the event loop does not wait."""

MODEL_CHARACTERS = 256


async def _count_nothing(n: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Asker:
    """Who sent a request, and what its headers say; names of `raw_headers` are in lower case.
    `body_bytes` is the size of its body; `count_choices` counts what several answers cost, and
    raises LimitExceeded."""

    principal: Principal
    headers: TurnHeaders = field(default_factory=TurnHeaders)
    raw_headers: Mapping[str, str] = field(default_factory=dict)
    body_bytes: int = 0
    count_choices: Callable[[int], Awaitable[None]] = _count_nothing


@dataclass(frozen=True, slots=True)
class Prepared:
    """A turn that is ready to run: nothing has been asked yet, and the consumer of `events`
    closes them and ends the `meter`. `headers` are asked for when the answer begins."""

    call: Call
    events: AsyncGenerator[ChoiceEvent, None]
    headers: Callable[[], dict[str, str]]
    meter: Meter


@dataclass(slots=True)
class Preview:
    """How far a request would get: `failure` is its answer where it gets nowhere. `call.turn` holds
    a dot in the place of each of the `images_to_fetch`; `body` is what the API would be asked."""

    model: str | None = None
    images_to_fetch: int = 0
    call: Call | None = None
    body: JsonObject = field(default_factory=dict)
    failure: GatewayError | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Runs the turns of all dialects; holds nothing of any of them."""

    state: State

    async def answer(self, dialect: Dialect[R], request: R, asker: Asker) -> TurnResponse:
        """The response that will run the turn. Raises a GatewayError for what can be refused before
        the model is asked."""
        prepared = await self.prepare(dialect, request, asker)
        with prepared.meter.ends_on_failure():
            return self.respond(prepared, dialect.renderer(prepared.call))

    async def prepare(self, dialect: Dialect[R], request: R, asker: Asker) -> Prepared:
        """A turn that is ready to run, whose meter the caller must end. Raises as `answer`."""
        meter = self._meter(dialect, request, asker)
        with meter.ends_on_failure():
            meter.body = self._kept_body(dialect, request, meter)
            return await self._prepare(dialect, request, asker, meter)

    async def _prepare(
        self, dialect: Dialect[R], request: R, asker: Asker, meter: Meter
    ) -> Prepared:
        await self.state.budgets.check(asker.principal)
        agent = await self.find_agent(asker.principal, request.model)
        context = await self._context(request, asker, agent)
        card = self.state.catalogue.card(context.model)
        meter.model = card.id if card else context.model  # until the API says it
        images = dialect.images(request)
        await fetch_images(images, self.state.images, asker.principal.name)
        if asker.body_bytes > LARGE_BYTES:
            call = await in_turn(self._parsed, dialect, request, context)
        else:
            call = self._parsed(dialect, request, context)
        await asker.count_choices(call.n)
        home = context.session_id
        call = await self._granted(call, asker.principal, context, agent, home=home)
        session = meter.session = self._session(call, context)
        meter.answers = call.n
        headers = partial(self._extra_headers, request.model, meter)
        return Prepared(call, meter.watch(self._events(call, session, meter)), headers, meter)

    def respond(self, prepared: Prepared, renderer: Renderer) -> TurnResponse:
        return TurnResponse(
            prepared.events,
            renderer,
            stream=prepared.call.stream,
            heartbeat_seconds=self.state.settings.heartbeat_seconds,
            reader_seconds=self.state.settings.timeout_seconds,
            extra_headers=prepared.headers,
            on_end=prepared.meter.end,
        )

    def _kept_body(self, dialect: Dialect[R], request: R, meter: Meter) -> Body | None:
        if not self.state.bodies.enabled:
            return None
        model = cast(BaseModel, request)  # the wire model of each dialect is one
        asked = model.model_dump(mode="json", exclude_unset=True)
        return self.state.bodies.keep(meter.request_id, dialect.wire.path, asked)

    def _meter(self, dialect: Dialect[R], request: R, asker: Asker) -> Meter:
        return Meter(
            self.state.usage,
            request_id=current_request_id.get() or "",
            key=asker.principal.name,
            key_id=asker.principal.key_id,
            dialect=dialect.name,
            model_asked=request.model,
            stream=bool(request.stream),
            headers=asker.raw_headers,
        )

    def _extra_headers(self, asked: str, meter: Meter) -> dict[str, str]:
        """Beside the dialect's: which model was replaced, Claude's own limits, what became of the
        session, and how many messages were left out."""
        replaced = {REPLACED: asked} if self.state.catalogue.replaced(asked) else {}
        limits = self.state.engine.windows.headers()
        trimmed = {"x-context-trimmed": str(meter.left_out)} if meter.left_out else {}
        return replaced | limits | trimmed | (meter.session.headers() if meter.session else {})

    async def preview(self, dialect: Dialect[R], request: R, asker: Asker) -> Preview:
        """What `answer` would do. Changes the request as it does, fetches and makes nothing."""
        preview = Preview()
        try:
            agent = await self.find_agent(asker.principal, request.model)
            context = await self._context(request, asker, agent)
            preview.model = context.model
            images = dialect.images(request)
            preview.images_to_fetch = put_placeholders(images, self.state.images)
            call = self._parsed(dialect, request, context)
            preview.call = await self._granted(call, asker.principal, context, agent, home=None)
            preview.body = self.state.engine.preview(preview.call.turn)
        except GatewayError as error:
            preview.failure = error
        return preview

    async def resolve_model(self, principal: Principal, name: str) -> str:
        """The catalogue's `resolve`. Raises PermissionDenied for a model this key may not use."""
        if len(name) > MODEL_CHARACTERS or not name.isprintable():
            message = f"A model's name has {MODEL_CHARACTERS} printable characters at most."
            raise ModelNotFound(message, param="model")
        model = await self.state.catalogue.resolve(name)
        if not principal.may_use(name, model, *self.state.catalogue.names(model)):
            message = f"Your API key may not use the model `{model}`."
            raise PermissionDenied(message, param="model", code="model_not_allowed")
        return model

    async def find_agent(self, principal: Principal, name: str) -> Agent | None:
        """The agent that a model's name means to this principal; None where it means a model."""
        agent = await self.state.agents.find(name or self.state.settings.default_model)
        if agent is None or (agent.keys is not None and principal.name not in agent.keys):
            return None
        return agent

    async def agent_cards(self, principal: Principal) -> list[ModelCard]:
        """The agents that this principal may use, with all that they need, in the form of
        models."""
        found = []
        no_sandbox = await asyncio.to_thread(why_unsandboxed, self.state.settings)
        for agent in await self.state.agents.all():
            try:
                if await self.find_agent(principal, agent.name) is agent:
                    model = await self._model_of(agent, principal)
                    grant = await self.state.tools.grant(principal, tool_request(agent), None)
                    card = self.state.catalogue.card(model)
                    is_sandboxed = no_sandbox is None
                    found.append(agent_card(agent, grant, model, card, is_sandboxed=is_sandboxed))
            except (PermissionDenied, InvalidRequest, ModelNotFound):
                continue
        return found

    async def resolve(self, principal: Principal, name: str) -> str:
        """As `resolve_model`, with the agents: the id of the model that is asked in the end."""
        agent = await self.find_agent(principal, name)
        if agent is None:
            return await self.resolve_model(principal, name)
        return await self._model_of(agent, principal)

    async def find_card(self, principal: Principal, name: str) -> ModelCard:
        """The card of a model or an agent by any of its names. Raises ModelNotFound and
        PermissionDenied."""
        for card in await self.agent_cards(principal):
            if card.id.lower() == name.lower():
                return card
        await self.resolve_model(principal, name)
        return await self.state.catalogue.find(name)

    async def _model_of(self, agent: Agent, principal: Principal) -> str:
        """The model that the agent runs on. A key may use it by the agent's name or the model's.
        Raises PermissionDenied and ModelNotFound."""
        name = agent.model or self.state.settings.default_model
        if principal.may_use(agent.name):
            return await self.state.catalogue.resolve(name)
        return await self.resolve_model(principal, name)

    async def _context(self, request: Request, asker: Asker, agent: Agent | None) -> Context:
        session_id = requested_id(request.session_id, asker.headers.x_session_id)
        headers = asker.headers
        if agent is not None:
            headers = as_tool_headers(agent, headers)
        model = await self.resolve(asker.principal, request.model)
        return Context(
            model=model,
            principal=asker.principal.name,
            capabilities=self.state.catalogue.card(model),
            session_id=session_id,
            headers=headers,
            raw_headers=asker.raw_headers,
            provider=self.state.credentials.method,
        )

    def _parsed(self, dialect: Dialect[R], request: R, context: Context) -> Call:
        call = dialect.parse(request, context)
        if self.state.settings.strict_parameters and call.ignored:
            name = call.ignored[0]
            message = f"`{name}` has no effect here, and STRICT_PARAMETERS is on."
            raise UnsupportedParameter(message, param=name)
        return call

    async def _granted(
        self,
        call: Call,
        principal: Principal,
        context: Context,
        agent: Agent | None,
        *,
        home: str | None,
    ) -> Call:
        """The call with what it, or its agent, was granted of Claude Code's built-in tools. `home`
        is the session in whose directory they work, which is made for it; None is a new one. Raises
        ToolsNotAllowed, PermissionDenied or InvalidRequest."""
        if agent is not None:
            call = with_agent(call, agent)
        asked = call.tool_request
        if asked is None:
            return call
        granted = await self.state.tools.grant(principal, asked, context.session_id)
        directory = await self.state.workspaces.directory(principal.name, home, asked.cwd)
        await self.state.workspaces.check_size(directory, self.state.settings.max_workspace_bytes)
        mcp_config = await self.state.mcp_servers.config(asked.mcp_servers)
        granted = replace(granted, directory=directory, mcp_config=mcp_config)
        return with_grant(call, granted if agent is None else with_prompt(granted, agent))

    def _session(self, call: Call, context: Context) -> SessionCall | None:
        if context.session_id is None:
            return None
        key = context.headers.idempotency_key
        trims = call.trims_context or context.headers.x_session_context == "trim"
        return SessionCall(call.turn, context.session_id, call.complete, key, trims)

    def _events(
        self, call: Call, session: SessionCall | None, meter: Meter
    ) -> AsyncGenerator[ChoiceEvent, None]:
        run = meter.run(self.state.approvals.watched(self._run, meter.record_left))
        if session is not None:
            session.run = run
            return choices(self.state.sessions.runner(session), call.turns)
        if call.trims_context:
            run = partial(run_trimmed, run, note=meter.note_left_out)
        events = choices(run, call.turns)
        if call.seed is None:
            return events
        return self.state.seeds.answer(call.turn, call.seed, call.n, events)

    def _run(self, turn: Turn, notes: TurnNotes) -> AsyncGenerator[Event, None]:
        """Once for a turn, however many responses it takes: what it used is in its notes."""
        run = partial(self.state.engine.run, notes=notes)
        return self.state.tool_stats.watched(run)(turn)
