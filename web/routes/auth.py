"""Which Claude credentials are in use: names and sentences, never a value."""

from __future__ import annotations

import logging
from importlib.metadata import version

from fastapi import APIRouter
from pydantic import BaseModel

from config.credentials import Method
from core.conversation import JsonObject
from core.errors import GatewayError
from web.dependencies import Credentials, Engine, Principal

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/auth", tags=["auth"])

ACCOUNT_FIELDS = ("tokenSource", "apiKeySource", "apiProvider", "subscriptionType")
"""What the CLI reports of its account, without the person: e-mail and organization stay here."""


class AuthStatus(BaseModel):
    """`refused` is what the provider said when it refused the credentials in use, null where it
    takes them or was not asked yet. `hint` is the setting or the command that helps."""

    method: Method
    detected_by: str
    missing: list[str]
    refused: str | None
    hint: str | None
    cli_version: str | None
    sdk_version: str
    account: dict[str, str] | None


@router.get("/status", summary="How does the server authenticate with Claude?")
async def auth_status(principal: Principal, credentials: Credentials, engine: Engine) -> AuthStatus:
    info = await told_by_cli(engine)
    return AuthStatus(
        method=credentials.method,
        detected_by=credentials.detected_by,
        missing=list(credentials.missing),
        refused=engine.refusal,
        hint=credentials.refusal_hint if engine.refusal else credentials.hint,
        cli_version=info.get("claude_code_version"),
        sdk_version=version("claude-agent-sdk"),
        account=account(info),
    )


async def told_by_cli(engine: Engine) -> JsonObject:
    """Nothing where the CLI cannot be asked: the status is wanted then more than ever."""
    try:
        return await engine.server_info() or {}
    except GatewayError as error:
        log.warning("The CLI could not be asked for its account: %s", error.message)
        return {}


def account(info: JsonObject) -> dict[str, str] | None:
    reported = info.get("account") or {}
    return {name: str(reported[name]) for name in ACCOUNT_FIELDS if reported.get(name)} or None
