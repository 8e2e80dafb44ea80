"""What would become of a request, field by field, and the table of all fields.

Nothing here calls Claude, fetches an image or shows a key, a header or a word of a prompt.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header
from pydantic import BaseModel, ValidationError

from core.conversation import system_text
from core.errors import GatewayError
from core.turn import Turn
from dialects.chat import request as chat_request
from dialects.chat.fields import (
    ANY_OTHER,
    BY_NAME,
    FIELDS,
    MESSAGE_FIELDS,
    TREATMENTS,
    ChatField,
    Treatment,
    field_of,
)
from engine import extra_body
from engine.launch_profile import LaunchProfile
from models import ChatRequest, ErrorDetail, JsonObject, OwnToolHeaders
from session_manager import requested_id
from turns import images as media
from web.dependencies import Catalogue, ForeseeTools, Images, Principal, ResolveModel, Settings
from web.errors import invalid_request

router = APIRouter(prefix="/v1", tags=["debug"])

SHOWN_NAME_CHARACTERS = 64


class FieldReport(BaseModel):
    """A field of this request. `reported`: it will stand in `x-ignored-parameters`."""

    name: str
    treatment: Treatment
    why: str
    reported: bool


class TextOutline(BaseModel):
    """A text that is not shown: its length and the start of its SHA-256."""

    characters: int
    sha256: str


class ProfileReport(BaseModel):
    """What a process is bound to; requests with the same one share processes."""

    id: str
    system: TextOutline | None
    tools: int
    tools_sha256: str


class MessageOutline(BaseModel):
    role: Literal["user", "assistant"]
    blocks: list[str]


class GrantReport(BaseModel):
    """What the request is granted of Claude Code's own tools."""

    tools: list[str]
    allow: list[str]
    deny: list[str]
    permission_mode: str
    max_turns: int | None
    max_budget_usd: float | None
    mcp_servers: list[str]


class TurnReport(BaseModel):
    """The conversation as the model would get it, and the parameters beside it."""

    messages: list[MessageOutline]
    block_counts: dict[str, int]
    images_to_fetch: int
    parameters: list[str]
    effort: str | None
    thinking: bool


class FailureReport(BaseModel):
    status: int
    error: ErrorDetail


class RequestReport(BaseModel):
    """`failure` is the answer that the request would get before Claude is asked at all."""

    object: Literal["debug.request"] = "debug.request"
    model: str | None = None
    fields: list[FieldReport]
    launch_profile: ProfileReport | None = None
    turn: TurnReport | None = None
    own_tools: GrantReport | None = None
    failure: FailureReport | None = None


class CompatibilityRow(BaseModel):
    name: str
    place: Literal["body", "messages"]
    treatment: Treatment
    why: str


class Compatibility(BaseModel):
    object: Literal["list"] = "list"
    treatments: dict[Treatment, str]
    data: list[CompatibilityRow]


@router.get("/compatibility", summary="What becomes of each field of a chat request")
async def compatibility(principal: Principal) -> Compatibility:
    rows = [*_rows("body", (*FIELDS, ANY_OTHER)), *_rows("messages", MESSAGE_FIELDS)]
    return Compatibility(treatments=TREATMENTS, data=rows)


@router.post("/debug/request", summary="Explain a chat request without asking Claude")
async def explain(
    body: JsonObject,
    principal: Principal,
    resolve_model: ResolveModel,
    catalogue: Catalogue,
    settings: Settings,
    images: Images,
    foresee_tools: ForeseeTools,
    own_tools: Annotated[OwnToolHeaders, Header()],
    x_session_id: Annotated[str | None, Header()] = None,
) -> RequestReport:
    """Takes any body of /v1/chat/completions; one that would fail is a 200 with `failure` here."""
    report = RequestReport(fields=list(_fields(body, ())))
    try:
        request = parsed(body)
        report.model = await resolve_model(request.model)
        to_fetch = media.stand_ins(request, images)
        session_id = requested_id(request.session_id, x_session_id)
        card = catalogue.card(report.model)
        call = chat_request.parse(
            request, report.model, principal.name, card, session_id, own_tools
        )
        if settings.strict_parameters:
            chat_request.refuse_ignored(call)
        if call.tool_wish is not None:
            call = chat_request.grant(call, await foresee_tools(call.tool_wish, session_id))
    except GatewayError as error:
        detail = ErrorDetail.model_validate(error.body()["error"])
        report.failure = FailureReport(status=error.status, error=detail)
        return report
    report.fields = list(_fields(body, call.ignored))
    report.launch_profile = _profile(call.turn)
    report.turn = _turn(call.turn, to_fetch)
    report.own_tools = _grant(call)
    return report


def parsed(body: JsonObject) -> ChatRequest:
    """Raises InvalidRequest as the chat route would."""
    try:
        return ChatRequest.model_validate(body)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise invalid_request(
            [{**problem, "loc": ("body", *problem["loc"])} for problem in problems], body
        ) from None


def _fields(body: JsonObject, ignored: tuple[str, ...]) -> Iterator[FieldReport]:
    for name, value in body.items():
        yield _field(name, value, name in ignored)
    for name in ignored:
        if name not in body:
            row = BY_NAME.get(name, ANY_OTHER)
            yield FieldReport(name=name, treatment="ignored", why=row.why, reported=True)


def _field(name: str, value: Any, reported: bool) -> FieldReport:
    row, shown = field_of(name), name[:SHOWN_NAME_CHARACTERS]
    if value is None:
        why = "null: the same as leaving it out."
        return FieldReport(name=shown, treatment="accepted", why=why, reported=False)
    if value in row.neutral:
        why = "This value asks for nothing special."
        return FieldReport(name=shown, treatment="accepted", why=why, reported=False)
    return FieldReport(name=shown, treatment=row.treatment, why=row.why, reported=reported)


def _profile(turn: Turn) -> ProfileReport:
    profile = LaunchProfile.of(
        turn.principal, system_text(turn.system) or "", turn.tools, own_tools=turn.own_tools
    )
    system = system_text(turn.system)
    outline = TextOutline(characters=len(system), sha256=_hash(system)) if system else None
    tools = [[tool.name, tool.description, tool.input_schema] for tool in turn.tools]
    return ProfileReport(
        id=profile.digest,
        system=outline,
        tools=len(tools),
        tools_sha256=_hash(json.dumps(tools)),
    )


def _grant(call: chat_request.ChatCall) -> GrantReport | None:
    own, wish = call.turn.own_tools, call.tool_wish
    if own is None or wish is None:
        return None
    return GrantReport(
        tools=list(own.tools),
        allow=list(own.allow),
        deny=list(own.deny),
        permission_mode=own.permission_mode,
        max_turns=own.max_turns,
        max_budget_usd=own.max_budget_usd,
        mcp_servers=list(wish.mcp_servers),
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _turn(turn: Turn, to_fetch: int) -> TurnReport:
    kinds = [
        (message.role, [block["type"] for block in message.content]) for message in turn.messages
    ]
    return TurnReport(
        messages=[MessageOutline(role=role, blocks=list(blocks)) for role, blocks in kinds],
        block_counts=Counter(kind for _, blocks in kinds for kind in blocks),
        images_to_fetch=to_fetch,
        parameters=sorted(extra_body.parameters(turn)),
        effort=turn.effort,
        thinking=turn.thinking,
    )


def _rows(
    place: Literal["body", "messages"], fields: Iterable[ChatField]
) -> Iterator[CompatibilityRow]:
    for row in fields:
        yield CompatibilityRow(name=row.name, place=place, treatment=row.treatment, why=row.why)
