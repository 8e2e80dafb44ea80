"""After the provider refused the credentials, everything that is asked about them says so."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

import claude_cli
from config.credentials import Credentials
from demo import FakeAnthropic
from main import create_app
from tests.support import harness
from tests.support.harness import Gateway, cli_environ, openai_client, serve

pytestmark = pytest.mark.wire

SAID = "Claude refused the server's credentials: invalid x-api-key."
HINT = "Put a valid ANTHROPIC_API_KEY into .env, then start the server again."
HELLO = {"model": "haiku", "messages": [{"role": "user", "content": "Hello"}]}


async def states(gateway: Gateway) -> tuple[object, object, int]:
    """What `/v1/auth/status` says of a refusal and a remedy, and whether the server is ready."""
    status = (await gateway.http.get("/v1/auth/status")).json()
    ready = await gateway.http.get("/health/ready")
    detail = ready.json()["checks"]["credentials"]["detail"]
    assert (SAID in detail and HINT in detail) is (ready.status_code == 503)
    return status["refused"], status["hint"], ready.status_code


async def test_a_refused_key_is_no_longer_called_fine(
    upstream: FakeAnthropic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {**cli_environ(upstream, tmp_path), "ANTHROPIC_API_KEY": "sk-ant-invalid"}
    chosen = harness.test_settings(pool_warm=0, workspace_root=tmp_path / "workspaces")
    app = create_app(chosen, environ=environ)
    async with (
        serve(app, chosen) as url,
        openai_client(url) as client,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        gateway = Gateway(url, app, upstream, client, http)
        assert await states(gateway) == (None, None, 200)
        refused = await gateway.http.post("/v1/chat/completions", json=HELLO)
        assert refused.status_code == 503
        assert refused.json()["error"]["message"] == f"{SAID} {HINT}"
        assert await states(gateway) == (SAID, HINT, 503)
        monkeypatch.setattr(claude_cli, "REFUSAL_SECONDS", -1.0)
        assert await states(gateway) == (None, None, 200), "after a while it is tried again"


async def test_credentials_that_are_taken_again_are_fine(gateway: Gateway) -> None:
    refused = {**HELLO, "messages": [{"role": "user", "content": "!demo error=401\nHello"}]}
    assert (await gateway.http.post("/v1/chat/completions", json=refused)).status_code == 503
    assert (await gateway.http.get("/health/ready")).status_code == 503
    assert (await gateway.http.post("/v1/chat/completions", json=HELLO)).status_code == 200
    assert (await gateway.http.get("/health/ready")).status_code == 200


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        (Credentials("anthropic", "ANTHROPIC_API_KEY is set."), "a valid ANTHROPIC_API_KEY"),
        (Credentials("claude_cli", "CLAUDE_CODE_OAUTH_TOKEN is set."), "claude setup-token"),
        (Credentials("claude_cli", "The Claude CLI is logged in."), "main.py login"),
        (Credentials("bedrock", "CLAUDE_CODE_USE_BEDROCK is on."), "AWS credentials"),
        (Credentials("vertex", "CLAUDE_CODE_USE_VERTEX is on."), "Google credentials"),
    ],
)
def test_the_advice_fits_the_method(credentials: Credentials, words: str) -> None:
    hint = credentials.refusal_hint
    assert words in hint
    assert ("login" in hint) is (words == "main.py login"), "no login where a key would win"
