"""A person in the loop: uses of tools that wait for a decision.

Where the client offers a function `approve`, the answer ends with a call of it, the agent waits,
and the client's next request, which has the result of that call, goes on where it stopped. In
Responses the call is an `mcp_approval_request` where the request asks for approvals. Else the
response stays open while `POST /v1/approvals/{id}` is waited for. Without an answer in time it
is a no. Only this server knows what waits: when it ends, so do the agents.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import anyio

from core.approval import APPROVAL_ID_PREFIX, FUNCTION, QUESTION_TOOL, PersonsAnswer, ToolApproval
from core.conversation import JsonObject
from core.errors import InvalidRequest, NotFound
from core.events import (
    BuiltinToolResult,
    BuiltinToolUse,
    Event,
    Finished,
    Started,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from core.notes import TurnNotes
from core.turn import ToolChoice, Turn
from turns.choices import CLOSE_SECONDS
from turns.usage import MOST_NAME, NotedRun

YES = frozenset({"yes", "y", "true", "ok", "approve", "approved", "allow", "allowed"})
NO = frozenset({"no", "n", "deny", "denied", "reject", "rejected"})

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Pending:
    """One use that waits. Times are in Unix seconds."""

    id: str
    principal: str
    session_id: str | None
    model: str
    use: ToolApproval
    created_at: float
    expires_at: float
    decision: asyncio.Future[tuple[PersonsAnswer, str]] = field(repr=False)


class Approvals:
    """What waits for a person on this server, `seconds` at most each."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pending: dict[str, Pending] = {}
        self._held: dict[str, HeldTurn] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def pending(self, principal: str | None) -> list[Pending]:
        """Those of a principal, oldest first; None is everybody's."""
        every = self._pending.values()
        return [one for one in every if principal is None or one.principal == principal]

    def decide(
        self,
        approval_id: str,
        principal: str | None,
        *,
        allow: bool,
        by: str,
        answers: Mapping[str, str],
        reason: str = "",
    ) -> Pending:
        """Answers one; `principal` None may answer for all. Raises NotFound, and InvalidRequest
        where `answers` are not those to its questions."""
        found = self._pending.get(approval_id)
        if found is None or (principal is not None and found.principal != principal):
            raise NotFound("Nothing waits for an approval of this id.", param="approval_id")
        _check_answers(found.use, allow, answers)
        self._decide(found, PersonsAnswer(allow, answers, reason), by)
        return found

    def watched(self, run: NotedRun, left: Callable[[TurnNotes], None]) -> NotedRun:
        """`run`, with a person who is asked where the turn's grant says so. `left` gets the notes
        of a turn that waited for a client which did not come back."""

        async def asking(turn: Turn, notes: TurnNotes) -> AsyncGenerator[Event, None]:
            async with aclosing(self._events(run, turn, notes, left)) as events:
                async for event in events:
                    yield event

        return asking

    def _events(
        self, run: NotedRun, turn: Turn, notes: TurnNotes, left: Callable[[TurnNotes], None]
    ) -> AsyncGenerator[Event, None]:
        if held := self._resumed(turn):
            return held.events(notes)
        if turn.decisions:
            raise InvalidRequest(
                f"Nothing waits for the approval {turn.decisions[0][0]!r} any more: it was "
                "answered, took too long, or its server was restarted.",
                param="input",
            )
        if turn.builtin_tools is None or not turn.builtin_tools.ask:
            return run(turn, notes)
        if turn.asks_by_item or any(tool.name == FUNCTION for tool in turn.tools):
            return HeldTurn(self, run, _without_function(turn), left).events(notes)

        async def approve(use: ToolApproval) -> PersonsAnswer:
            return await self.decided(self.new(turn, use), notes)

        return run(replace(turn, approve=approve), notes)

    def new(self, turn: Turn, use: ToolApproval) -> Pending:
        now = time.time()
        decision: asyncio.Future[tuple[PersonsAnswer, str]]
        decision = asyncio.get_running_loop().create_future()
        return Pending(
            id=f"{APPROVAL_ID_PREFIX}{secrets.token_hex(12)}",
            principal=turn.principal,
            session_id=turn.session_id,
            model=turn.model,
            use=use,
            created_at=now,
            expires_at=now + self._seconds,
            decision=decision,
        )

    async def decided(self, pending: Pending, notes: TurnNotes) -> PersonsAnswer:
        """Waits for the answer, which goes into the notes; without one in time it is a no."""
        self._pending[pending.id] = pending
        noted = {"tool": pending.use.tool[:MOST_NAME], "decision": "expired", "by": ""}
        try:
            async with asyncio.timeout(self._seconds):
                answer, by = await pending.decision
            noted |= {"decision": "approved" if answer.allow else "denied", "by": by}
            return answer
        except TimeoutError:
            log.info("approval %s of %s timed out", pending.id, pending.use.tool)
            return PersonsAnswer(allow=False)
        finally:
            del self._pending[pending.id]
            notes.approvals.append(noted)

    def hold(self, pending: Pending, held: HeldTurn) -> None:
        """Keeps a turn between two responses, as long as the answer may take."""
        self._held[pending.id] = held
        loop = asyncio.get_running_loop()
        held.timer = loop.call_later(self._seconds, self._let_go, pending.id)

    def _let_go(self, approval_id: str) -> None:
        held = self._held.pop(approval_id, None)
        if held is not None:
            task = asyncio.get_running_loop().create_task(held.abandon())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _resumed(self, turn: Turn) -> HeldTurn | None:
        """The turn that waits for a result which this one brings."""
        for approval_id, text in _results(turn):
            held = self._held.get(approval_id)
            if held is None or not held.is_of(turn):
                continue
            del self._held[approval_id]
            held.timer.cancel()
            if pending := self._pending.get(approval_id):
                self._decide(pending, answer_of(pending.use, text), turn.principal)
            return held
        return None

    def _decide(self, pending: Pending, answer: PersonsAnswer, by: str) -> None:
        if not pending.decision.done():
            word = "allowed" if answer.allow else "denied"
            log.info("approval %s of %s: %s by %s", pending.id, pending.use.tool, word, by)
            pending.decision.set_result((answer, by))

    async def aclose(self) -> None:
        """Ends all that waits."""
        for approval_id in [*self._held]:
            self._let_go(approval_id)
        if self._closing:
            await asyncio.wait(self._closing)


class HeldTurn:
    """A turn whose answer comes in several responses, each ending with a call of `approve`. A task
    of its own runs it, since no response lasts as long."""

    timer: asyncio.TimerHandle

    def __init__(
        self,
        approvals: Approvals,
        run: NotedRun,
        turn: Turn,
        left: Callable[[TurnNotes], None],
    ) -> None:
        self._approvals = approvals
        self._left = left
        self._turn = replace(turn, approve=self._approve)
        self._items: asyncio.Queue[Event | Pending | Exception | None] = asyncio.Queue()
        self._started: Started | None = None
        self._open: dict[str, BuiltinToolUse] = {}
        self._calls = 0
        self._run = run
        self._notes = TurnNotes()
        self._task: asyncio.Task[None] | None = None

    def is_of(self, turn: Turn) -> bool:
        mine = self._turn
        return (mine.principal, mine.session_id) == (turn.principal, turn.session_id)

    async def events(self, notes: TurnNotes) -> AsyncGenerator[Event, None]:
        """Those of one response, whose `notes` get what was used since the response before.
        Closing it before its end ends the turn."""
        self._task = self._task or asyncio.get_running_loop().create_task(self._pump())
        is_held = False
        self._calls = 0
        try:
            for event in self._from_before():
                yield event
            while (item := await self._items.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, Pending):
                    is_held = True
                    self._approvals.hold(item, self)
                    for event in _as_call(item, self._calls):
                        yield event
                    return
                self._note(item)
                yield item
        finally:
            if not is_held:
                await self.close()
            notes.take(self._notes)

    def _from_before(self) -> list[Event]:
        """A response begins with what began, and with the uses whose results are yet to come."""
        return [] if self._started is None else [self._started, *self._open.values()]

    def _note(self, event: Event) -> None:
        match event:
            case Started():
                self._started = event
            case BuiltinToolUse():
                self._open[event.id] = event
            case BuiltinToolResult():
                self._open.pop(event.id, None)
            case ToolCallStart():
                self._calls += 1

    async def _approve(self, use: ToolApproval) -> PersonsAnswer:
        pending = self._approvals.new(self._turn, use)
        self._items.put_nowait(pending)
        return await self._approvals.decided(pending, self._notes)

    async def _pump(self) -> None:
        try:
            async with aclosing(self._run(self._turn, self._notes)) as events:
                async for event in events:
                    self._items.put_nowait(event)
            self._items.put_nowait(None)
        except Exception as error:  # raised again where the events are read
            self._items.put_nowait(error)

    async def abandon(self) -> None:
        """The client did not come back."""
        await self.close()
        self._left(self._notes)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS):
                await asyncio.wait({self._task})


def is_yes(text: str) -> bool:
    """Whether the result of the function allows it: a word, `true`, or an object that says so in
    `approve`, `approved` or `allow`. All else is a no."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if isinstance(value, dict):
        value = next((value[key] for key in ("approve", "approved", "allow") if key in value), None)
    return value is True or (isinstance(value, str) and value.strip().lower() in YES)


def answer_of(use: ToolApproval, text: str) -> PersonsAnswer:
    """What the result of the function, or a decision as JSON, says. To questions it says the
    `answers` by their texts, or in one text (`reason`) what holds for all."""
    if use.tool != QUESTION_TOOL:
        allowed = is_yes(text)
        return PersonsAnswer(allowed, reason="" if allowed else _reason(text))
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if isinstance(value, dict):
        if not is_yes(json.dumps({"approve": True, **value})):
            return PersonsAnswer(allow=False)
        given = value.get("answers")
        if isinstance(given, dict):
            known = {one: str(given[one]) for one in use.questions() if one in given}
            return PersonsAnswer(bool(known), known)
        value = value.get("reason")
    if not isinstance(value, str) or not value.strip():
        return PersonsAnswer(allow=False)
    return PersonsAnswer(allow=True, answers=dict.fromkeys(use.questions(), value))


def _reason(text: str) -> str:
    """Why not: the `reason` of an object, or the text itself where it is in words."""
    try:
        value = json.loads(text)
    except ValueError:
        return "" if text.strip().lower() in NO else text.strip()
    reason = value.get("reason") if isinstance(value, dict) else None
    return reason.strip() if isinstance(reason, str) else ""


def _check_answers(use: ToolApproval, allow: bool, answers: Mapping[str, str]) -> None:
    questions = [*use.questions()]
    if allow and questions and not answers:
        message = "`answers` is required: an object with an answer for each question."
        raise InvalidRequest(message, param="answers")
    if unknown := [text for text in answers if text not in questions]:
        raise InvalidRequest(f"Unknown question: {unknown[0][:80]!r}.", param="answers")


def _as_call(pending: Pending, index: int) -> Iterator[Event]:
    asked: JsonObject = {"approval_id": pending.id, "tool": pending.use.tool}
    arguments = json.dumps({**asked, "input": pending.use.input})
    yield ToolCallStart(index, pending.id, FUNCTION)
    yield ToolCallDelta(index, arguments)
    yield ToolCallEnd(index)
    yield Finished("tool_use")


def _without_function(turn: Turn) -> Turn:
    """The function is for this server to call, and not for the model."""
    tools = tuple(tool for tool in turn.tools if tool.name != FUNCTION)
    choice = ToolChoice() if turn.tool_choice.name == FUNCTION else turn.tool_choice
    return replace(turn, tools=tools, tool_choice=choice)


def _results(turn: Turn) -> Iterator[tuple[str, str]]:
    """The ids and texts of the decisions, and of the tool results that the last message brings."""
    yield from turn.decisions
    last = turn.messages[-1] if turn.messages else None
    for block in last.content if last is not None and last.role == "user" else ():
        if block["type"] == "tool_result":
            content = block.get("content") or ""
            parts = [content] if isinstance(content, str) else [p.get("text", "") for p in content]
            yield block["tool_use_id"], "".join(str(part) for part in parts)
