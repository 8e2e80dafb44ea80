"""`/v1/sessions/{id}/changes`: which files the last turn changed."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from models import ErrorBody
from session_manager import check_id
from web.dependencies import Principal, Sessions, Workspaces

ERRORS = (400, 401, 404, 409, 429, 503)

router = APIRouter(
    prefix="/v1/sessions/{session_id}/changes",
    tags=["sessions"],
    responses={status: {"model": ErrorBody} for status in ERRORS},
)


class ChangedFile(BaseModel):
    """`path` is relative to the directory of the turn; `diff` is a unified diff, null for what is
    no text or too large."""

    path: str
    change: Literal["added", "modified", "deleted"]
    diff: str | None


class SessionChanges(BaseModel):
    """By path, since the last turn with tools that was not undone began (`since`, Unix seconds).
    `has_more`: there are more files than are compared."""

    object: Literal["session.changes"] = "session.changes"
    since: int
    data: list[ChangedFile]
    has_more: bool


class UndoneChanges(BaseModel):
    """The paths of the files that are as they were before the last turn, and of those that were
    `left`: too large to be kept, or something else is in their place."""

    object: Literal["session.changes.undone"] = "session.changes.undone"
    data: list[str]
    left: list[str]


@router.get("", summary="The files that the last turn changed, with diffs")
async def list_changes(
    session_id: str, principal: Principal, sessions: Sessions, workspaces: Workspaces
) -> SessionChanges:
    session = await sessions.store.get(principal.name, check_id(session_id))
    found = await workspaces.changes(session.owner, session.id)
    data = [ChangedFile(path=f.path, change=f.change, diff=f.diff) for f in found.files]
    return SessionChanges(since=int(found.since), data=data, has_more=not found.complete)


@router.post("/undo", summary="Make the files as they were before the last turn")
async def undo_changes(
    session_id: str, principal: Principal, sessions: Sessions, workspaces: Workspaces
) -> UndoneChanges:
    """When no turn runs; once more undoes the turn before that. The messages stay: say in the next
    one what you undid."""
    async with sessions.at_rest(principal.name, check_id(session_id)):
        undone = await workspaces.undo(principal.name, session_id)
    return UndoneChanges(data=[*undone.files], left=[*undone.left])
