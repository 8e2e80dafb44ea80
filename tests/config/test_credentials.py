"""Which credentials are found, and what of the host's environment the CLI gets."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

from config.credentials import Credentials, child_environment, detect_credentials, find_cli
from config.settings import Settings

pytestmark = pytest.mark.wire

PLAIN = Settings.model_construct()
SUBSCRIPTION = Settings.model_construct(claude_use_subscription=True)

on_macos = pytest.mark.skipif(
    platform.system() == "Darwin", reason="the keychain of this machine may hold a login"
)


@pytest.fixture
def logged_in(tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".credentials.json").write_text("not JSON: nobody reads it")
    return {"HOME": str(tmp_path / "nowhere"), "CLAUDE_CONFIG_DIR": str(tmp_path)}


def shown(found: Credentials) -> str:
    return f"{found!r} {found.detected_by} {found.missing} {found.hint}"


ORDER: list[tuple[dict[str, str], str, bool]] = [
    ({"CLAUDE_CODE_USE_BEDROCK": "1", "CLAUDE_CODE_USE_VERTEX": "1"}, "bedrock", True),
    ({"CLAUDE_CODE_USE_VERTEX": "on", "ANTHROPIC_API_KEY": "k"}, "vertex", True),
    ({"CLAUDE_CODE_USE_VERTEX": "0", "ANTHROPIC_API_KEY": "k"}, "anthropic", True),
    ({"ANTHROPIC_API_KEY": "k", "CLAUDE_CODE_OAUTH_TOKEN": "t"}, "anthropic", True),
    ({"ANTHROPIC_AUTH_TOKEN": "t"}, "anthropic", True),
    ({"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "t"}, "claude_cli", False),
    ({}, "none", False),
]


@pytest.mark.parametrize(("environ", "method", "bare"), ORDER)
def test_the_order_is_fixed(environ: dict[str, str], method: str, bare: bool) -> None:
    found = detect_credentials(PLAIN, environ)
    assert (found.method, found.bare) == (method, bare)


def test_an_api_key_wins_over_a_login(logged_in: dict[str, str]) -> None:
    assert detect_credentials(PLAIN, {**logged_in, "ANTHROPIC_API_KEY": "k"}).method == "anthropic"


def test_a_login_is_found_by_its_file_alone(logged_in: dict[str, str]) -> None:
    found = detect_credentials(PLAIN, logged_in)
    assert (found.method, found.bare, found.hint) == ("claude_cli", False, None)
    assert found.environment == logged_in


def test_a_login_in_the_home_is_found(tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / ".credentials.json").touch()
    assert detect_credentials(PLAIN, {"HOME": str(tmp_path)}).method == "claude_cli"


def test_the_subscription_wins_over_a_key_which_then_stays_here(logged_in: dict[str, str]) -> None:
    found = detect_credentials(SUBSCRIPTION, {**logged_in, "ANTHROPIC_API_KEY": "s3cret"})
    assert found.method == "claude_cli"
    assert "s3cret" not in found.environment.values()


@on_macos
def test_a_subscription_without_a_login_uses_no_key_and_says_what_to_do(tmp_path: Path) -> None:
    found = detect_credentials(SUBSCRIPTION, {"HOME": str(tmp_path), "ANTHROPIC_API_KEY": "k"})
    assert found.method == "none"
    assert found.missing == ("CLAUDE_USE_SUBSCRIPTION is on, but the Claude CLI is not logged in.",)
    assert "python main.py login" in (found.hint or "")


@on_macos
def test_without_credentials_the_mend_names_the_key_and_the_login(tmp_path: Path) -> None:
    found = detect_credentials(PLAIN, {"HOME": str(tmp_path)})
    assert found.missing
    assert "ANTHROPIC_API_KEY" in (found.hint or "")
    assert "python main.py login" in (found.hint or "")


def test_bedrock_says_what_is_missing() -> None:
    environ = {"CLAUDE_CODE_USE_BEDROCK": "1", "AWS_ACCESS_KEY_ID": "id"}
    missing = " ".join(detect_credentials(PLAIN, environ).missing)
    assert "AWS_REGION" in missing
    assert "AWS_SECRET_ACCESS_KEY" in missing


def test_bedrock_with_a_role_misses_only_what_it_needs() -> None:
    found = detect_credentials(PLAIN, {"CLAUDE_CODE_USE_BEDROCK": "1", "AWS_REGION": "eu-west-1"})
    assert (found.missing, found.hint) == ((), None)
    assert "role" in found.detected_by


def test_vertex_without_a_project_says_so() -> None:
    found = detect_credentials(PLAIN, {"CLAUDE_CODE_USE_VERTEX": "1"})
    assert "ANTHROPIC_VERTEX_PROJECT_ID" in found.missing[0]
    assert "ANTHROPIC_VERTEX_PROJECT_ID" in (found.hint or "")


HOST = {
    "PATH": "/bin",
    "HOME": "/home/x",
    "LC_ALL": "C",
    "https_proxy": "http://proxy",
    "NODE_EXTRA_CA_CERTS": "/ca.pem",
    "ANTHROPIC_BASE_URL": "http://gateway",
    "ANTHROPIC_API_KEY": "s3cret-key",
    "ANTHROPIC_AUTH_TOKEN": "s3cret-token",
    "ANTHROPIC_FOUNDRY_API_KEY": "s3cret-foundry",
    "CLAUDE_CODE_OAUTH_TOKEN": "s3cret-oauth",
    "CLAUDE_CODE_USE_FOUNDRY": "1",
    "AWS_SECRET_ACCESS_KEY": "s3cret-aws",
    "GOOGLE_APPLICATION_CREDENTIALS": "/s3cret.json",
    "GOOGLE_API_KEY": "s3cret-gemini",
    "OPENAI_API_KEY": "s3cret-openai",
    "DATABASE_URL": "postgres://s3cret",
    "CLAUDECODE": "1",
}
ALWAYS = {"PATH", "HOME", "LC_ALL", "https_proxy", "NODE_EXTRA_CA_CERTS", "ANTHROPIC_BASE_URL"}
OWN: list[tuple[dict[str, str], set[str]]] = [
    ({}, {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"}),
    ({"CLAUDE_USE_SUBSCRIPTION": "1"}, {"CLAUDE_CODE_OAUTH_TOKEN"}),
    ({"CLAUDE_CODE_USE_BEDROCK": "1"}, {"AWS_SECRET_ACCESS_KEY", "CLAUDE_CODE_USE_BEDROCK"}),
    (
        {"CLAUDE_CODE_USE_VERTEX": "1"},
        {"GOOGLE_APPLICATION_CREDENTIALS", "CLAUDE_CODE_USE_VERTEX"},
    ),
]


@pytest.mark.parametrize(("switch", "own"), OWN)
def test_the_cli_gets_named_variables_and_one_methods_secrets(
    switch: dict[str, str], own: set[str]
) -> None:
    settings = SUBSCRIPTION if "CLAUDE_USE_SUBSCRIPTION" in switch else PLAIN
    found = detect_credentials(settings, {**HOST, **switch})
    assert set(found.environment) == ALWAYS | own


@pytest.mark.parametrize(("switch", "own"), OWN)
def test_no_value_of_a_secret_is_ever_shown(switch: dict[str, str], own: set[str]) -> None:
    settings = SUBSCRIPTION if "CLAUDE_USE_SUBSCRIPTION" in switch else PLAIN
    assert "s3cret" not in shown(detect_credentials(settings, {**HOST, **switch}))


def test_custom_headers_reach_the_cli_as_lines_out_of_the_settings() -> None:
    settings = Settings.model_construct(anthropic_custom_headers="X-A: 1\nX-B: 2")
    environ = {"ANTHROPIC_CUSTOM_HEADERS": '{"X-A": "1", "X-B": "2"}', "ANTHROPIC_API_KEY": "k"}
    child = detect_credentials(settings, environ).environment
    assert child["ANTHROPIC_CUSTOM_HEADERS"] == "X-A: 1\nX-B: 2"


def test_the_real_cli_tells_in_an_empty_home_that_it_is_not_logged_in(tmp_path: Path) -> None:
    """The question that is asked on macOS; the exit status is 1 then, so only the JSON counts."""
    cli = find_cli(PLAIN)
    assert cli is not None
    host = {"PATH": os.defpath, "HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path / "c")}
    command = [str(cli), "auth", "status", "--json"]
    quiet = child_environment(PLAIN, host, "none")
    answer = subprocess.run(command, env=quiet, capture_output=True, timeout=30, check=False)
    assert b'"loggedIn": false' in answer.stdout
