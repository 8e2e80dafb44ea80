"""`/v1/approvals`: the uses of tools that wait for a person, and the answers."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from core.conversation import JsonObject
from models import ErrorBody
from turns.approvals import Pending
from web.dependencies import Approvals, Operator, Principal, ToolPolicy

MAX_REASON = 10_000
ERRORS = (400, 401, 403, 404, 429)

router = APIRouter(
    prefix="/v1/approvals",
    tags=["approvals"],
    responses={status: {"model": ErrorBody} for status in ERRORS},
)


class Approval(BaseModel):
    """`input` is what the tool would get: a command, the two sides of a change, a plan, or
    questions. Times are in Unix seconds; after `expires_at` the answer is no."""

    id: str
    object: Literal["approval"] = "approval"
    created_at: int
    expires_at: int
    key: str
    session_id: str | None
    model: str
    tool: str
    input: JsonObject


class ApprovalList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Approval]


class Decision(BaseModel):
    """`answers` are those to the questions of `AskUserQuestion`, by their texts. The model is told
    the `reason` of a no."""

    model_config = ConfigDict(extra="forbid")

    approve: bool
    answers: dict[str, str] = {}
    reason: str = Field("", max_length=MAX_REASON)


@router.get("", summary="What waits for an approval")
async def list_approvals(principal: Principal, approvals: Approvals) -> ApprovalList:
    """Of the caller's own requests to this server, oldest first."""
    return ApprovalList(data=[_shown(one) for one in approvals.pending(principal.name)])


@router.get("/all", summary="What waits for an approval of anybody's requests; for operators")
async def list_all_approvals(operator: Operator, approvals: Approvals) -> ApprovalList:
    return ApprovalList(data=[_shown(one) for one in approvals.pending(None)])


@router.post("/{approval_id}", summary="Allow a use of a tool, or deny it")
async def decide(
    approval_id: str,
    body: Decision,
    principal: Principal,
    policy: ToolPolicy,
    approvals: Approvals,
) -> Approval:
    """By the key whose request it is, or an operator's."""
    owner = None if policy.is_operator(principal) else principal.name
    decided = approvals.decide(
        approval_id,
        owner,
        allow=body.approve,
        by=principal.name,
        answers=body.answers,
        reason=body.reason,
    )
    return _shown(decided)


def _shown(pending: Pending) -> Approval:
    return Approval(
        id=pending.id,
        created_at=int(pending.created_at),
        expires_at=int(pending.expires_at),
        key=pending.principal,
        session_id=pending.session_id,
        model=pending.model,
        tool=pending.use.tool,
        input=pending.use.input,
    )
