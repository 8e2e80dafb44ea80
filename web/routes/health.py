"""Liveness and readiness, for load balancers and containers."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from web.dependencies import Credentials, Engine, KnownPrincipal, Sessions

router = APIRouter(tags=["health"])


class Health(BaseModel):
    status: Literal["ok"] = "ok"
    version: str


class Check(BaseModel):
    """`detail` says how it is, or what is wrong and how to fix it."""

    ok: bool
    detail: str | None = None


class Readiness(BaseModel):
    status: Literal["ready", "not_ready"]
    checks: dict[str, Check]


@router.get("/health", summary="Is the server alive?")
async def health(request: Request) -> Health:
    """Answers at once and touches nothing."""
    return Health(version=request.app.version)


@router.get("/health/ready", responses={503: {"model": Readiness}}, summary="Can it answer?")
async def ready(
    response: Response,
    principal: KnownPrincipal,
    credentials: Credentials,
    engine: Engine,
    sessions: Sessions,
) -> Readiness:
    """200 where the CLI was found, a process can start, there are credentials and a session's turn
    could be stored, else 503.

    A caller without a key learns which check fails, and not why."""
    reason, problem = await engine.ready(), await sessions.check()
    checks = {
        "cli": cli_check(engine),
        "process": Check(ok=reason is None, detail=reason),
        "credentials": credentials_check(credentials, engine.refusal),
        "sessions": Check(ok=problem is None, detail=problem),
    }
    is_ready = all(check.ok for check in checks.values())
    response.status_code = 200 if is_ready else 503
    shown = checks if principal else {name: Check(ok=check.ok) for name, check in checks.items()}
    return Readiness(status="ready" if is_ready else "not_ready", checks=shown)


def cli_check(engine: Engine) -> Check:
    if engine.cli_path.is_file():
        return Check(ok=True)
    return Check(
        ok=False, detail="The Claude CLI was not found: run `make install` or set CLAUDE_CLI_PATH."
    )


def credentials_check(credentials: Credentials, refusal: str | None) -> Check:
    """Not ok either while the provider refuses them."""
    hint = credentials.refusal_hint if refusal else credentials.hint or ""
    sentences = (credentials.detected_by, *credentials.missing, refusal or "", hint)
    is_ok = credentials.method != "none" and refusal is None
    return Check(ok=is_ok, detail=" ".join(filter(None, sentences)))
