"""Which Claude credentials are in use, and the environment that hands them to the CLI.

Only the CLI reads a credential; this module looks at variable names and at whether a login exists.
What was measured about them is in docs/claude-cli.md, "Testing without the network"; whom they may
serve is in docs/policy.md.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

from config.settings import Settings
from core.version import PROGRAM

Method = Literal["claude_cli", "anthropic", "bedrock", "vertex", "none"]
Environ: TypeAlias = Mapping[str, str]

LOGIN_COMMAND = f"{PROGRAM} login"
HINT = f"Set ANTHROPIC_API_KEY in .env, or run `{LOGIN_COMMAND}`, then start the server again."
LOGIN_HINT = f"Run `{LOGIN_COMMAND}`, then start the server again."
TRUE = frozenset({"1", "true", "yes", "on"})  # as the CLI reads its CLAUDE_CODE_USE_* switches

NO_SECRET = r"(?!\w+_(KEY|TOKEN|SECRET|PASSWORD|CUSTOM_HEADERS)$)"
"""Other methods' secrets, and other programs' under the same prefix, such as a Gemini key."""

HOST_VARIABLES = rf"""
    PATH | HOME | USER | LOGNAME | LANG | LC_\w+ | TZ | TMPDIR | XDG_\w+
    | SSL_CERT_FILE | SSL_CERT_DIR | NODE_EXTRA_CA_CERTS
    | (HTTPS?|NO|ALL)_PROXY | (https?|no|all)_proxy
    | CLAUDE_CONFIG_DIR | {NO_SECRET}ANTHROPIC_\w+
    | SYSTEMROOT | COMSPEC | PATHEXT | USERPROFILE | APPDATA | LOCALAPPDATA | TEMP | TMP
"""
METHOD_VARIABLES: dict[Method, str] = {
    "claude_cli": "CLAUDE_CODE_OAUTH_TOKEN",
    "anthropic": "ANTHROPIC_API_KEY | ANTHROPIC_AUTH_TOKEN",
    "bedrock": r"AWS_\w+ | CLAUDE_CODE_USE_BEDROCK | CLAUDE_CODE_SKIP_BEDROCK_AUTH",
    "vertex": rf"""
        {NO_SECRET}GOOGLE_\w+ | GCLOUD_\w+ | CLOUDSDK_\w+ | VERTEX_\w+ | CLOUD_ML_REGION
        | CLAUDE_CODE_USE_VERTEX | CLAUDE_CODE_SKIP_VERTEX_AUTH
    """,
    "none": "(?!)",  # matches nothing
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the CLI authenticates with.

    `detected_by` and `missing` are sentences that name variables, never values. `hint` says how to
    get credentials where there are none. `bare`: the CLI may run with `--bare`, which needs a key
    or a provider's own credentials (docs/claude-cli.md, "A clean request"). `environment` is all of
    the host's environment that a CLI process gets.
    """

    method: Method
    detected_by: str
    missing: tuple[str, ...] = ()
    hint: str | None = None
    bare: bool = False
    environment: dict[str, str] = field(default_factory=dict, repr=False, hash=False)

    @property
    def refusal_hint(self) -> str:
        """What to do where the provider refused them. No login is named where a key would win."""
        if self.method == "claude_cli" and "CLAUDE_CODE_OAUTH_TOKEN" in self.detected_by:
            return "Put a new token of `claude setup-token` into CLAUDE_CODE_OAUTH_TOKEN" + RESTART
        return REFUSAL_HINTS[self.method]


RESTART = ", then start the server again."
REFUSAL_HINTS: dict[Method, str] = {
    "claude_cli": LOGIN_HINT,
    "anthropic": f"Put a valid ANTHROPIC_API_KEY into .env{RESTART}",
    "bedrock": "See whether the AWS credentials are valid and may use this model in AWS_REGION"
    + RESTART,
    "vertex": "See whether the Google credentials are valid and may use this model in the project"
    + RESTART,
    "none": HINT,
}


def detect_credentials(settings: Settings, environ: Environ) -> Credentials:
    """The credentials in use, by a fixed order: Bedrock, Vertex, key or token, login, none.

    Reads no file's content. On macOS without any of the variables it runs `claude auth status`.
    """
    found = _chosen(settings, {name: value for name, value in environ.items() if value})
    return replace(found, environment=child_environment(settings, environ, found.method))


def _chosen(settings: Settings, environ: Environ) -> Credentials:
    if _is_on(environ, "CLAUDE_CODE_USE_BEDROCK"):
        return _bedrock(environ)
    if _is_on(environ, "CLAUDE_CODE_USE_VERTEX"):
        return _vertex(environ)
    if settings.claude_use_subscription:
        return _login(settings, environ, chosen=True)
    if keys := _present(environ, "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        return Credentials("anthropic", f"{keys}.", bare=True)
    return _login(settings, environ, chosen=False)


def _bedrock(environ: Environ) -> Credentials:
    missing = []
    if not _present(environ, "AWS_REGION", "AWS_DEFAULT_REGION"):
        missing.append("AWS_REGION is not set, so the CLI asks its default region.")
    if "AWS_ACCESS_KEY_ID" in environ and "AWS_SECRET_ACCESS_KEY" not in environ:
        missing.append("AWS_SECRET_ACCESS_KEY is not set beside AWS_ACCESS_KEY_ID.")
    source = _present(
        environ,
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    )
    how = f"CLAUDE_CODE_USE_BEDROCK is on; {source or 'the default AWS profile or role is used'}."
    hint = "Set the missing variables in .env, then start the server again." if missing else None
    return Credentials("bedrock", how, tuple(missing), hint, bare=True)


def _vertex(environ: Environ) -> Credentials:
    project = _present(
        environ, "ANTHROPIC_VERTEX_PROJECT_ID", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"
    )
    source = _present(environ, "GOOGLE_APPLICATION_CREDENTIALS")
    how = f"CLAUDE_CODE_USE_VERTEX is on; {source or 'the default Google login is used'}."
    if project or source:  # a key file names its own project
        return Credentials("vertex", how, bare=True)
    missing = ("ANTHROPIC_VERTEX_PROJECT_ID is not set: Vertex AI needs a project.",)
    hint = "Set ANTHROPIC_VERTEX_PROJECT_ID in .env, then start the server again."
    return Credentials("vertex", how, missing, hint, bare=True)


def _login(settings: Settings, environ: Environ, *, chosen: bool) -> Credentials:
    """The vendor's login, from a token or the CLI's own store; `chosen` by the operator or not."""
    switch = "CLAUDE_USE_SUBSCRIPTION is on"
    if token := _present(environ, "CLAUDE_CODE_OAUTH_TOKEN"):
        return Credentials("claude_cli", f"{switch}; {token}." if chosen else f"{token}.")
    if login_exists(settings, environ):
        found = "the Claude CLI is logged in."
        return Credentials("claude_cli", f"{switch}; {found}" if chosen else f"T{found[1:]}")
    if chosen:
        missing = (f"{switch}, but the Claude CLI is not logged in.",)
        return Credentials("none", f"{switch}; no login was found.", missing, LOGIN_HINT)
    missing = ("No Claude credentials: neither an API key, nor a cloud provider, nor a login.",)
    return Credentials("none", "No credentials were found.", missing, HINT)


def login_exists(settings: Settings, environ: Environ) -> bool:
    """Whether the CLI has a stored login: a file's existence, on macOS the CLI's own word."""
    if "HOME" not in environ and "CLAUDE_CONFIG_DIR" not in environ:
        return False
    folder = environ.get("CLAUDE_CONFIG_DIR") or f"{environ['HOME']}/.claude"
    if (Path(folder) / ".credentials.json").is_file():
        return True
    return platform.system() == "Darwin" and cli_says_logged_in(settings, environ)


def cli_says_logged_in(settings: Settings, environ: Environ) -> bool:
    """`claude auth status`: the keychain is the CLI's to open. Takes about 0.3 s, at most 10."""
    cli = find_cli(settings)
    if cli is None:
        return False
    command = [str(cli), "auth", "status", "--json"]
    quiet = child_environment(settings, environ, "none")
    try:
        answer = subprocess.run(command, env=quiet, capture_output=True, timeout=10, check=False)
        return json.loads(answer.stdout).get("loggedIn") is True
    except (OSError, subprocess.TimeoutExpired, ValueError, AttributeError):
        return False


def find_cli(settings: Settings) -> Path | None:
    """The claude executable: CLAUDE_CLI_PATH, else the one that the SDK's wheel carries."""
    if settings.claude_cli_path is not None:
        return settings.claude_cli_path if settings.claude_cli_path.is_file() else None
    sdk = find_spec("claude_agent_sdk")  # found, not imported: that takes long, and is the engine's
    name = "claude.exe" if platform.system() == "Windows" else "claude"
    folders = (sdk and sdk.submodule_search_locations) or ()
    bundled = (Path(folder) / "_bundled" / name for folder in folders)
    return next((path for path in bundled if path.is_file()), None)


def child_environment(settings: Settings, environ: Environ, method: Method) -> dict[str, str]:
    """What a CLI process gets of the host's environment: named variables, one method's secrets."""
    passed = {name: environ[name] for name in sorted(environ) if may_pass(name, method)}
    if settings.anthropic_custom_headers:
        passed["ANTHROPIC_CUSTOM_HEADERS"] = settings.anthropic_custom_headers
    return {name: value for name, value in passed.items() if value}


def may_pass(name: str, method: Method) -> bool:
    """Whether a CLI process that uses this method may see the variable."""
    allowed = f"{HOST_VARIABLES} | {METHOD_VARIABLES[method]}"
    return re.fullmatch(allowed, name, re.VERBOSE) is not None


def _is_on(environ: Environ, name: str) -> bool:
    return environ.get(name, "").strip().lower() in TRUE


def _present(environ: Environ, *names: str) -> str:
    """`A is set`, `A and B are set` or an empty string."""
    found = [name for name in names if name in environ]
    return f"{' and '.join(found)} {'is' if len(found) == 1 else 'are'} set" if found else ""
