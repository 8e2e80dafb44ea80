"""What would become of a request, field by field, and the table of all fields.

Nothing here calls Claude, fetches an image or shows a key, a header or a word of a prompt.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel, ValidationError

from core.conversation import JsonObject, system_text
from core.errors import GatewayError, InvalidRequest
from core.turn import Turn
from dialects.base import Call, Dialect
from dialects.field_table import TREATMENTS, FieldRow, FieldTable, Treatment
from models import ErrorDetail, TurnHeaders
from turns.dialects import DEFAULT, DIALECTS
from turns.pipeline import Asker, Preview
from web.dependencies import Pipeline, Principal
from web.errors import invalid_request

router = APIRouter(prefix="/v1", tags=["debug"])

SHOWN_NAME_CHARACTERS = 64
DOUBLE_BITS = 53
DIALECT_NAME = Query(
    alias="dialect",
    description="The API whose requests are meant",
    json_schema_extra={"enum": [*DIALECTS]},
)


class FieldReport(BaseModel):
    """A field of this request. `reported`: it will be in `x-ignored-parameters`."""

    name: str
    treatment: Treatment
    why: str
    reported: bool


class TextOutline(BaseModel):
    """A text that is not shown: its length and the start of its SHA-256."""

    characters: int
    sha256: str


class MessageOutline(BaseModel):
    role: str
    blocks: list[str]


class GrantReport(BaseModel):
    """What the request is granted of Claude Code's built-in tools."""

    tools: list[str]
    allow: list[str]
    deny: list[str]
    permission_mode: str
    max_turns: int | None
    max_budget_usd: float | None
    mcp_servers: list[str]


class TurnReport(BaseModel):
    """The conversation as the model would get it, and the parameters beside it. `inexact_numbers`
    are those that lose digits on their way: Claude Code's numbers are doubles."""

    system: TextOutline | None
    tools: int
    tools_sha256: str
    messages: list[MessageOutline]
    block_counts: dict[str, int]
    images_to_fetch: int
    parameters: list[str]
    effort: str | None
    thinking: bool
    inexact_numbers: int


class FailureReport(BaseModel):
    status: int
    error: ErrorDetail


class RequestReport(BaseModel):
    """`failure` is the answer that the request would get before Claude is asked at all."""

    object: Literal["debug.request"] = "debug.request"
    model: str | None = None
    fields: list[FieldReport]
    turn: TurnReport | None = None
    builtin_tools: GrantReport | None = None
    failure: FailureReport | None = None


class CompatibilityRow(BaseModel):
    name: str
    place: str
    treatment: Treatment
    why: str


class Compatibility(BaseModel):
    object: Literal["list"] = "list"
    treatments: dict[Treatment, str]
    data: list[CompatibilityRow]


async def _dialect(name: Annotated[str, DIALECT_NAME] = DEFAULT.name) -> Dialect[Any]:
    if name not in DIALECTS:
        message = f"`dialect` must be one of {', '.join(DIALECTS)}."
        raise InvalidRequest(message, param="dialect")
    return DIALECTS[name]


AskedDialect = Annotated[Dialect[Any], Depends(_dialect)]


@router.get("/compatibility", summary="What becomes of each field of a request")
async def compatibility(principal: Principal, dialect: AskedDialect) -> Compatibility:
    table = dialect.fields
    rows = [*_rows("body", (*table.body, table.any_other)), *_rows(table.part, table.inside)]
    return Compatibility(treatments=TREATMENTS, data=rows)


@router.post("/debug/request", summary="Explain a request without asking Claude")
async def explain(
    body: JsonObject,
    principal: Principal,
    pipeline: Pipeline,
    dialect: AskedDialect,
    headers: Annotated[TurnHeaders, Header()],
    request: Request,
) -> RequestReport:
    """Takes any body of the API; one that would fail is a 200 with `failure` here."""
    asker = Asker(principal, headers, dict(request.headers))
    try:
        wanted = parsed(dialect, body)
    except InvalidRequest as error:
        return _report(dialect, body, Preview(failure=error))
    preview = await pipeline.preview(dialect, wanted, asker)
    return _report(dialect, body, preview)


def parsed(dialect: Dialect[Any], body: JsonObject) -> Any:
    """Raises InvalidRequest as the dialect's route would."""
    try:
        return dialect.wire.request.model_validate(body)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise invalid_request(
            [{**problem, "loc": ("body", *problem["loc"])} for problem in problems], body
        ) from None


def _report(dialect: Dialect[Any], body: JsonObject, preview: Preview) -> RequestReport:
    call, failure = preview.call, preview.failure
    ignored = call.ignored if call else ()
    return RequestReport(
        model=preview.model,
        fields=list(_fields(dialect.fields, body, ignored)),
        turn=_turn(call.turn, preview) if call else None,
        builtin_tools=_grant(call) if call else None,
        failure=_failure(dialect, failure) if failure else None,
    )


def _failure(dialect: Dialect[Any], error: GatewayError) -> FailureReport:
    detail = ErrorDetail.model_validate(error.openai_body()["error"])
    return FailureReport(status=dialect.status(error), error=detail)


def _fields(table: FieldTable, body: JsonObject, ignored: tuple[str, ...]) -> Iterator[FieldReport]:
    for name, value in body.items():
        yield _field(table, name, value, name in ignored)
    for name in ignored:
        if name not in body:
            row = table.by_name.get(name, table.any_other)
            yield FieldReport(name=name, treatment="ignored", why=row.why, reported=True)


def _field(table: FieldTable, name: str, value: Any, reported: bool) -> FieldReport:
    row, shown = table.row_of(name), name[:SHOWN_NAME_CHARACTERS]
    if value is None:
        why = "null: the same as leaving it out."
        return FieldReport(name=shown, treatment="accepted", why=why, reported=False)
    if value in row.neutral:
        why = "This value asks for nothing special."
        return FieldReport(name=shown, treatment="accepted", why=why, reported=False)
    return FieldReport(name=shown, treatment=row.treatment, why=row.why, reported=reported)


def _grant(call: Call) -> GrantReport | None:
    own, tool_request = call.turn.builtin_tools, call.tool_request
    if own is None or tool_request is None:
        return None
    return GrantReport(
        tools=list(own.tools),
        allow=list(own.allow),
        deny=list(own.deny),
        permission_mode=own.permission_mode,
        max_turns=own.max_turns,
        max_budget_usd=own.max_budget_usd,
        mcp_servers=list(tool_request.mcp_servers),
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _turn(turn: Turn, preview: Preview) -> TurnReport:
    system = system_text(turn.system)
    tools = [[tool.name, tool.description, tool.input_schema] for tool in turn.tools]
    kinds = [
        (message.role, [block["type"] for block in message.content]) for message in turn.messages
    ]
    return TurnReport(
        system=TextOutline(characters=len(system), sha256=_hash(system)) if system else None,
        tools=len(tools),
        tools_sha256=_hash(json.dumps(tools)),
        messages=[MessageOutline(role=role, blocks=list(blocks)) for role, blocks in kinds],
        block_counts=Counter(kind for _, blocks in kinds for kind in blocks),
        images_to_fetch=preview.images_to_fetch,
        parameters=sorted(preview.body),
        effort=preview.body.get("output_config", {}).get("effort"),
        thinking=turn.thinking,
        inexact_numbers=_inexact_numbers(preview.body),
    )


def _inexact_numbers(value: Any) -> int:
    """How many integers of a body a double cannot hold."""
    if isinstance(value, dict):
        return sum(map(_inexact_numbers, value.values()))
    if isinstance(value, list):
        return sum(map(_inexact_numbers, value))
    excess_bits = abs(value).bit_length() - DOUBLE_BITS if isinstance(value, int) else 0
    return int(excess_bits > 0 and value % (1 << excess_bits) != 0)


def _rows(place: str, fields: Iterable[FieldRow]) -> Iterator[CompatibilityRow]:
    for row in fields:
        yield CompatibilityRow(name=row.name, place=place, treatment=row.treatment, why=row.why)
