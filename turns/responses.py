"""The Responses API over the pipeline: what came before a request, and what is kept of it.

    history ─ pipeline ─ run ─ store ─ tell

A response is stored before its end is sent, or not at all. The items of earlier requests and
responses go before the new ones, so a turn is the same whether a client sends the whole history,
names the response before it, or a conversation.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, nullcontext, suppress
from dataclasses import dataclass, replace

import anyio
from starlette.responses import JSONResponse, Response, StreamingResponse

from auth import Principal
from core.conversation import JsonObject
from core.errors import ConversationLocked, GatewayError, InvalidRequest, StoreUnavailable
from core.events import ChoiceEvent, Finished, Reply
from dialects.responses import DIALECT, ResponsesCall, ResponsesRenderer, ResponsesRequest
from dialects.responses import compaction as compacting
from dialects.responses.renderer import new_id
from dialects.responses.resource import failure, usage
from dialects.responses.stored import new_items, resolved, shown, wanted_ids
from dialects.responses.wire import Status
from dialects.token_count import estimate_turn
from stores.response_store import OPEN, ResponseStore, StoredResponse
from turns.background import BackgroundJobs
from turns.pipeline import Asker, Pipeline, Prepared
from turns.response import NO_BUFFERING

STORE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A request with its history: `new` are the items that it brings itself; `earlier` counts those
    before."""

    request: ResponsesRequest
    new: Sequence[JsonObject]
    earlier: int
    owner: str
    is_stored: bool

    @property
    def conversation_id(self) -> str | None:
        given = self.request.conversation
        return given if given is None or isinstance(given, str) else given.id


@dataclass(frozen=True, slots=True)
class Responses:
    """What the routes of responses ask for; made for each request."""

    pipeline: Pipeline

    @property
    def jobs(self) -> BackgroundJobs:
        return self.pipeline.state.background

    @property
    def store(self) -> ResponseStore:
        return self.jobs.store

    async def answer(self, request: ResponsesRequest, asker: Asker) -> Response:
        """Raises a GatewayError for what can be refused before the model is asked."""
        plan = await self._plan(request, asker.principal)
        if plan.is_stored:
            await self.pipeline.state.stored_bytes.check(plan.owner, asker.body_bytes)
        if request.background:
            return await self._in_background(plan, asker)
        prepared = await self._prepared(plan.request, asker)
        with prepared.meter.ends_on_failure():
            renderer = _renderer(prepared, plan)
            if plan.is_stored:
                events = self._stored_first(prepared.events, renderer, plan)
                prepared = replace(prepared, events=self._alone(events, plan))
            return self.pipeline.respond(prepared, renderer)

    async def _prepared(self, request: ResponsesRequest, asker: Asker) -> Prepared:
        return await self.pipeline.prepare(DIALECT, request, asker)

    async def _plan(self, request: ResponsesRequest, principal: Principal) -> Plan:
        """Raises ResponseNotFound, ConversationNotFound or InvalidRequest."""
        allowed = self.pipeline.state.settings.store_responses
        is_stored = allowed and request.store is not False
        if request.background and not is_stored:
            raise InvalidRequest(
                "A response in the background must be stored: leave `store` out (and see "
                "STORE_RESPONSES).",
                param="background",
            )
        owner = principal.name
        history = await self.history(request, owner)
        new = await self._resolved(new_items(request.input, new_id), owner)
        whole = request.model_copy(update={"input": [*history, *new]})
        return Plan(whole, new, len(history), owner, is_stored)

    async def history(self, request: ResponsesRequest, owner: str) -> list[JsonObject]:
        """The items before a request's own. Instructions are not among them."""
        if request.previous_response_id is not None and request.conversation is None:
            chain = await self.store.chain(owner, request.previous_response_id)
            _refuse_open(chain)
            return [item for response in chain for item in (*response.input, *response.output)]
        if request.conversation is not None:
            given = request.conversation
            id = given if isinstance(given, str) else given.id
            return await self.store.conversation_items(owner, id)
        return []

    async def _resolved(self, items: list[JsonObject], owner: str) -> list[JsonObject]:
        wanted = wanted_ids(items)
        return resolved(items, await self.store.items(owner, wanted)) if wanted else items

    async def _stored_first(
        self,
        events: AsyncGenerator[ChoiceEvent, None],
        renderer: ResponsesRenderer,
        plan: Plan,
    ) -> AsyncGenerator[ChoiceEvent, None]:
        """The events; the end passes when the response is stored. One that fails after it began is
        stored as failed, since its id was shown."""
        begun = False
        try:
            async with aclosing(events):
                async for item in events:
                    begun = True
                    if isinstance(item.event, Finished):
                        renderer.settle(item.event)
                        await self._keep(_stored(plan, renderer))
                    yield item
        except GatewayError as error:
            if begun and not isinstance(error, ConversationLocked | StoreUnavailable):
                with suppress(StoreUnavailable):
                    await self._keep(_failed(plan, renderer, error))
            raise

    async def _alone(
        self, events: AsyncGenerator[ChoiceEvent, None], plan: Plan
    ) -> AsyncGenerator[ChoiceEvent, None]:
        """The events. Raises ConversationLocked where another answer is on its way there."""
        at_work, id = self.pipeline.state.conversations_at_work, plan.conversation_id
        with nullcontext() if id is None else at_work.claimed(plan.owner, id):
            async with aclosing(events):
                async for item in events:
                    yield item

    async def _keep(self, response: StoredResponse) -> None:
        try:
            with anyio.CancelScope(shield=True), anyio.fail_after(STORE_SECONDS):
                await self.store.add(response)
        except TimeoutError:
            raise StoreUnavailable("The database of responses does not answer.") from None

    async def _in_background(self, plan: Plan, asker: Asker) -> Response:
        self.jobs.check_room()
        prepared = await self._prepared(plan.request, asker)
        with prepared.meter.ends_on_failure():
            renderer = _renderer(prepared, plan, status="queued")
            response = _stored(plan, renderer)
            events = self._alone(prepared.events, plan)
            await self.jobs.start(response, renderer, events, prepared.meter.end)
        if prepared.call.stream:
            return self.follow(response, after=-1)
        return JSONResponse(response.body, headers=renderer.headers())

    def follow(self, response: StoredResponse, after: int) -> Response:
        """The stream of a background response, from behind the event `after` on."""
        frames = self.jobs.follow(response, after)
        media_type = "text/event-stream; charset=utf-8"
        return StreamingResponse(frames, media_type=media_type, headers=NO_BUFFERING)

    async def get(self, owner: str, id: str, include: Sequence[str] = ()) -> JsonObject:
        """The response as it is now. Raises ResponseNotFound."""
        return self.wire(await self.store.get(owner, id), include)

    def wire(self, response: StoredResponse, include: Sequence[str] = ()) -> JsonObject:
        job = self.jobs.job(response.owner, response.id)
        if job is not None and response.status in OPEN:
            status = job.renderer.current_status
            return {**response.body, "status": status if status in OPEN else "in_progress"}
        return {**response.body, "output": shown(response.output, include)}

    async def resumed(self, owner: str, id: str, after: int) -> Response:
        """The events of a background response. Raises ResponseNotFound or InvalidRequest."""
        response = await self.store.get(owner, id)
        if not response.streamed:
            raise InvalidRequest(
                "Only responses that were made with `background` and `stream` can be streamed.",
                param="stream",
            )
        return self.follow(response, after)

    async def cancel(self, owner: str, id: str) -> JsonObject:
        """Raises ResponseNotFound or InvalidRequest."""
        if not (await self.store.get(owner, id)).background:
            raise InvalidRequest(
                "Only responses that were made with `background` can be cancelled.",
                param="response_id",
            )
        cancelled = await self.store.cancel(owner, id)
        self.jobs.stop(owner, id)
        return {**cancelled.body, "output": shown(cancelled.output, ())}

    async def delete(self, owner: str, id: str) -> JsonObject:
        """Raises ResponseNotFound."""
        await self.store.delete(owner, id)
        self.jobs.stop(owner, id)
        return {"id": id, "object": "response", "deleted": True}

    async def input_items(self, owner: str, id: str) -> list[JsonObject]:
        """All items that the model got for a response, those before it included."""
        response = await self.store.get(owner, id)
        if response.previous_id is None:
            return [*response.input]
        before = await self.store.chain(owner, response.previous_id)
        items = [item for earlier in before for item in (*earlier.input, *earlier.output)]
        return [*items, *response.input]

    async def count(self, request: ResponsesRequest, asker: Asker) -> JsonObject:
        """An estimate; nothing is asked. Raises as `answer`."""
        plan = await self._plan(request.model_copy(update={"background": None}), asker.principal)
        prepared = await self._prepared(plan.request, asker)
        prepared.meter.discard()
        tokens = estimate_turn(prepared.call.turn)
        return {"object": "response.input_tokens", "input_tokens": tokens}

    async def compact(self, request: ResponsesRequest, asker: Asker) -> JsonObject:
        """A conversation made short, by the model. Raises a GatewayError."""
        plan = await self._plan(request.model_copy(update={"store": False}), asker.principal)
        items = plan.request.input if isinstance(plan.request.input, list) else []
        prepared = await self._prepared(compacting.request(request, items), asker)
        reply = Reply()
        with prepared.meter.ends_on_failure():
            async with aclosing(prepared.events) as events:
                async for item in events:
                    reply.feed(item.event)
            summary = compacting.summary_of(reply)
        prepared.meter.end()
        finished = reply.finished or Finished("empty")
        return {
            "id": new_id("resp"),
            "object": "response.compaction",
            "created_at": int(time.time()),
            "output": compacting.output(items, summary, reply.model, new_id("cmp")),
            "usage": usage(finished.usage, finished.cost_usd),
        }


def _renderer(prepared: Prepared, plan: Plan, status: Status = "in_progress") -> ResponsesRenderer:
    call = prepared.call
    if not isinstance(call, ResponsesCall):
        raise TypeError(f"not a call of this dialect: {type(call).__name__}")
    renderer = ResponsesRenderer(call, stored=plan.is_stored, status=status)
    prepared.meter.response_id = renderer.id
    return renderer


def _stored(plan: Plan, renderer: ResponsesRenderer) -> StoredResponse:
    body = {**renderer.response(), "output": []}
    return StoredResponse(
        owner=plan.owner,
        id=renderer.id,
        status=body["status"],
        body=body,
        input=plan.new,
        output=renderer.replayable(),
        previous_id=plan.request.previous_response_id,
        conversation_id=plan.conversation_id,
        seen_items=plan.earlier,
        background=plan.request.background is True,
        streamed=plan.request.background is True and plan.request.stream is True,
    )


def _failed(plan: Plan, renderer: ResponsesRenderer, error: GatewayError) -> StoredResponse:
    stored = _stored(plan, renderer)
    body = {**stored.body, "status": "failed", "error": failure(error)}
    return replace(stored, status="failed", body=body)


def _refuse_open(chain: Sequence[StoredResponse]) -> None:
    """Raises InvalidRequest where one has no answer to go on from."""
    for response in chain:
        if response.status not in ("completed", "incomplete"):
            raise InvalidRequest(
                f"The response {response.id!r} is {response.status}: it cannot be continued.",
                param="previous_response_id",
            )
