"""`/v1/sessions/{id}/files`: what Claude Code's built-in tools made in a session, or shall work
on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal
from urllib.parse import quote

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from core.errors import RequestTooLarge, SessionTooLarge
from models import ErrorBody
from session_manager import check_id
from tools import FoundFile
from web.dependencies import Principal, Sessions, Settings, ToolUser, Workspaces

CHUNK_BYTES = 65_536
ERRORS = (400, 401, 403, 404, 413, 429, 503)
ANY_TYPE = "application/octet-stream"
BYTES: dict[str, Any] = {"content": {ANY_TYPE: {"schema": {"type": "string", "format": "binary"}}}}

router = APIRouter(
    prefix="/v1/sessions/{session_id}/files",
    tags=["sessions"],
    responses={status: {"model": ErrorBody} for status in ERRORS},
)


class SessionFile(BaseModel):
    """`path` is relative to the session's directory; `modified_at` in Unix seconds."""

    path: str
    object: Literal["session.file"] = "session.file"
    bytes: int
    modified_at: int


class SessionFiles(BaseModel):
    """By path. `has_more`: there are more files, or deeper ones, than are listed."""

    object: Literal["list"] = "list"
    data: list[SessionFile]
    has_more: bool


@router.get("", summary="The files in a session's own directory")
async def list_session_files(
    session_id: str, principal: Principal, sessions: Sessions, workspaces: Workspaces
) -> SessionFiles:
    session = await sessions.store.get(principal.name, check_id(session_id))
    listing = await workspaces.listed(session.owner, session.id)
    data = [_shown(file) for file in listing.files]
    return SessionFiles(data=data, has_more=not listing.complete)


@router.get(
    "/{path:path}",
    summary="One of these files",
    response_class=StreamingResponse,
    responses={200: BYTES},
)
async def get_session_file(
    session_id: str,
    path: str,
    principal: Principal,
    sessions: Sessions,
    workspaces: Workspaces,
    settings: Settings,
) -> StreamingResponse:
    session = await sessions.store.get(principal.name, check_id(session_id))
    most = settings.max_workspace_file_bytes
    return Download(await workspaces.opened(session.owner, session.id, path, most), path)


@router.put(
    "/{path:path}",
    summary="Put a file there for Claude to work on; the body is its content",
    openapi_extra={"requestBody": {**BYTES, "required": True}},
)
async def put_session_file(
    session_id: str,
    path: str,
    request: Request,
    principal: ToolUser,
    sessions: Sessions,
    workspaces: Workspaces,
    settings: Settings,
) -> SessionFile:
    session = await sessions.store.get(principal.name, check_id(session_id))
    data = await request.body()
    if len(data) > settings.max_workspace_file_bytes:
        most = settings.max_workspace_file_bytes
        raise RequestTooLarge(f"The file exceeds {most} bytes (MAX_WORKSPACE_FILE_BYTES).")
    listing = await workspaces.listed(session.owner, session.id)
    others = sum(file.bytes for file in listing.files if file.path != path)
    if not listing.complete or others + len(data) > settings.max_session_bytes:
        raise SessionTooLarge(
            f"The session's files may have {settings.max_session_bytes} bytes (MAX_SESSION_BYTES), "
            "and there may not be more of them than are listed."
        )
    return _shown(await workspaces.write(session.owner, session.id, path, data))


class Download(StreamingResponse):
    """A file as an attachment that no browser runs or shows. Closes it, whatever happens."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        size = os.fstat(file.fileno()).st_size
        name = quote(path.rpartition("/")[2], safe="")
        headers = {
            "content-length": str(size),
            "content-disposition": f"attachment; filename*=UTF-8''{name}",
            "x-content-type-options": "nosniff",
        }
        super().__init__(_chunks(file, size), headers=headers, media_type=ANY_TYPE)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """What was there when the size was reported, even if a command goes on writing."""
    while chunk := file.read(min(CHUNK_BYTES, size)):
        size -= len(chunk)
        yield chunk


def _shown(file: FoundFile) -> SessionFile:
    return SessionFile(path=file.path, bytes=file.bytes, modified_at=int(file.modified_at))
