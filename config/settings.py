"""Every setting, once: name, type, default, meaning. Environment variables win over `.env`."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from config.sizing import default_max_processes
from core.turn import Effort

DEFAULT_MCP_FILE = Path(".mcp.json")
SESSIONS_FOLDER = ".sessions"
"""Of WORKSPACE_ROOT: one directory for each session, hidden from the commands of others."""


class SettingsError(Exception):
    """A setting has a value that cannot be used; the message is one sentence for the operator."""


def _json(value: str, kind: type[Any], allowed: str) -> Any:
    try:
        parsed = json.loads(value)
    except ValueError:
        raise ValueError(f"must be {allowed}") from None
    if not isinstance(parsed, kind):
        raise ValueError(f"must be {allowed}")
    return parsed


def _aliases(value: object) -> object:
    allowed = 'a JSON object of patterns and models, such as {"gpt-4*": "opus"}'
    table = _json(value, dict, allowed) if isinstance(value, str) else value
    if not isinstance(table, dict) or not all(isinstance(v, str) and v for v in table.values()):
        raise ValueError(f"must be {allowed}")
    return table


def _origins(value: object) -> object:
    """A JSON list or comma separated, without the trailing slash that no `Origin` header has."""
    allowed = 'a JSON list or comma separated origins such as https://chat.example.com, or "*"'
    if isinstance(value, str):
        is_json = value.lstrip().startswith("[")
        value = _json(value, list, allowed) if is_json else value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"must be {allowed}")
    origins = tuple(item.strip().rstrip("/") for item in value if item.strip())
    if any(item != "*" and "://" not in item for item in origins):
        raise ValueError(f"must be {allowed}")
    return origins


OUTSIDE_OF_PARENTHESES = re.compile(r",(?![^()]*\))")


def _names(value: object) -> object:
    """A JSON list or comma separated; a comma inside of parentheses is part of a name."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        items = _json(value, list, "a JSON list or names, comma separated")
    else:
        items = OUTSIDE_OF_PARENTHESES.split(value)
    return tuple(str(item).strip() for item in items if str(item).strip())


def _networks(value: object) -> object:
    """Addresses and CIDRs, comma separated."""
    if not isinstance(value, str):
        return value
    try:
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
    except ValueError:
        raise ValueError("must be IP addresses or CIDRs such as 10.0.0.0/8") from None


def _redis_url(value: str | None) -> str | None:
    if value and not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must be a URL such as redis://localhost:6379/0")
    return value


def _header_lines(value: object) -> object:
    """The CLI's own form, "Name: value" lines, out of that form or a JSON object."""
    allowed = 'a JSON object such as {"X-Team": "search"}, or lines of "Name: value"'
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        table = _json(value, dict, allowed)
        value = "\n".join(f"{name}: {_header_value(table[name], allowed)}" for name in table)
    lines = [line.strip() for line in value.splitlines() if line.strip()]
    if not all(line.partition(":")[0].strip() and ":" in line for line in lines):
        raise ValueError(f"must be {allowed}")
    return "\n".join(lines) or None


def _header_value(value: object, allowed: str) -> str:
    """One line: a line break inside a value would start another header."""
    if not isinstance(value, str | int | float) or set(str(value)) & set("\r\n"):
        raise ValueError(f"must be {allowed}")
    return str(value)


def _one_of_upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _one_of_lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _cli(value: Path | None) -> Path | None:
    """A bare name is looked up on PATH."""
    if value is None:
        return None
    path = value.expanduser()
    if not path.is_file() and len(path.parts) == 1:
        path = Path(shutil.which(path) or path)
    if not path.is_file():
        raise ValueError("must be the path of the claude executable: there is no such file")
    return path


class Settings(BaseSettings):
    """What an operator can change. Made once by `load_settings`, then handed around."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        case_sensitive=False,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # a value may be a secret
        protected_namespaces=(),
    )

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 is every interface")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on; the next free if taken")
    default_model: str = Field(
        "sonnet", min_length=1, description="Model of requests that name none"
    )
    model_aliases: Annotated[dict[str, str], NoDecode, BeforeValidator(_aliases)] = Field(
        {},
        description="JSON object: pattern of client model names -> Claude model, added to the "
        'built-in ones (gpt-4*, gpt-5*, *-mini and so on), such as {"gpt-4*": "opus"}',
    )
    image_urls: bool = Field(
        True, description="Fetch images behind https URLs (public addresses only): on or off"
    )
    claude_cli_path: Annotated[Path | None, AfterValidator(_cli)] = Field(
        None, description="A claude executable to use instead of the bundled one"
    )
    max_timeout: PositiveInt = Field(
        600_000, description="Longest turn in milliseconds; a value under 10000 means seconds"
    )
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_one_of_upper)
    ] = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")
    log_format: Annotated[Literal["console", "json"], BeforeValidator(_one_of_lower)] = Field(
        "console", description="console (one readable line) or json (one object a line)"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)] = Field(
        (), description="Origins of web pages that may call, comma separated or a JSON list"
    )
    api_key: str | None = Field(
        None,
        repr=False,
        description="The key that callers must send; with none of the three only this computer is "
        "served, or a key is made for the others",
    )
    api_keys: str | None = Field(
        None, repr=False, description="More keys, comma separated, each with a name or without"
    )
    api_keys_file: Path | None = Field(
        None, description="A JSON file of keys or their hashes with limits of their own"
    )
    allow_unprotected: bool = Field(
        False, description="Serve other computers without any key; else one is made and printed"
    )
    trusted_proxies: Annotated[
        tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)
    ] = Field(
        (), description="Proxies whose X-Forwarded-For is believed: addresses or CIDRs, by commas"
    )
    rate_limit_enabled: bool = Field(
        False, description="Limit requests a minute, by key where one is sent, else by address"
    )
    rate_limit_chat_per_minute: PositiveInt = Field(10, description="Requests that ask the model")
    rate_limit_debug_per_minute: PositiveInt = Field(2, description="Requests to /v1/debug")
    rate_limit_auth_per_minute: PositiveInt = Field(10, description="Requests to /v1/auth")
    rate_limit_health_per_minute: PositiveInt = Field(30, description="Requests to /health")
    rate_limit_session_per_minute: PositiveInt = Field(15, description="Requests to /v1/sessions")
    rate_limit_general_per_minute: PositiveInt = Field(
        30, description="Requests to anything else, together"
    )
    redis_url: Annotated[str | None, AfterValidator(_redis_url)] = Field(
        None, repr=False, description="A Redis where several servers share one count of limits"
    )
    max_request_bytes: PositiveInt = Field(32 * 1024 * 1024, description="Largest request body")
    max_header_bytes: PositiveInt = Field(
        32 * 1024, description="Largest request head: its URL and headers"
    )
    max_nesting: PositiveInt = Field(64, description="Deepest nesting of a request's JSON")
    max_messages: PositiveInt = Field(5_000, description="Most messages of one request")
    max_tools: PositiveInt = Field(1_000, description="Most tools or functions of one request")
    request_timeout: PositiveFloat = Field(
        60, description="Seconds that a client may take to send one request"
    )
    max_connections: PositiveInt = Field(
        500, description="Most open connections; more are told 503 and closed"
    )
    anthropic_custom_headers: Annotated[str | None, BeforeValidator(_header_lines)] = Field(
        None,
        repr=False,  # may hold a gateway's key
        description="Headers for every upstream request: a JSON object or lines of Name: value",
    )
    claude_use_subscription: bool = Field(
        False, description="Use the Claude login even where an API key is set"
    )
    upstream_max_retries: int = Field(
        1, ge=0, le=10, description="How often the CLI itself repeats a failed API call"
    )
    heartbeat_seconds: PositiveFloat = Field(
        15, description="A comment goes into a stream after this many seconds of silence"
    )
    max_processes: PositiveInt = Field(
        default_factory=default_max_processes,
        description="Maximum number of CLI processes (220 MB each); computed from free memory",
    )
    pool_warm: NonNegativeInt = Field(1, description="Blank processes kept ready")
    pool_idle_seconds: PositiveFloat = Field(
        600, description="An idle process ends after this many seconds"
    )
    pool_max_uses: PositiveInt = Field(
        200, description="A process ends after this many conversations"
    )
    queue_size: NonNegativeInt = Field(100, description="Most requests waiting for a process")
    queue_timeout: PositiveFloat = Field(
        30, description="Longest wait for a process in seconds, then 503"
    )
    default_effort: Effort = Field(
        "high", description="Effort of requests that name none; `high` is the API's own default"
    )
    strict_parameters: bool = Field(
        False, description="Answer 400 to parameters that have no effect, instead of naming them"
    )
    seed_cache_seconds: NonNegativeFloat = Field(
        3600, description="The same request with the same seed gets the same answer for so long"
    )
    database_url: str = Field(
        "sqlite+aiosqlite:///sessions.db",
        min_length=1,
        repr=False,  # may hold a password
        description="Where sessions are kept: sqlite+aiosqlite:///FILE or "
        "postgresql+asyncpg://USER:PASSWORD@HOST/NAME; sqlite:// is memory only",
    )
    session_ttl_seconds: NonNegativeFloat = Field(
        3600, description="A session expires this many seconds after its last use; 0 is never"
    )
    session_wait_seconds: PositiveFloat = Field(
        30, description="Longest wait for another turn of the same session in seconds, then 409"
    )
    session_lease_seconds: PositiveFloat = Field(
        15, description="A session is free again this many seconds after its server was killed"
    )
    session_sweep_seconds: PositiveFloat = Field(
        60, description="Expired sessions are emptied every so many seconds"
    )
    max_sessions: PositiveInt = Field(10_000, description="Most sessions of one API key")
    max_session_bytes: PositiveInt = Field(
        64 * 1024 * 1024, description="Most bytes of text and images in one session"
    )
    allowed_tools: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = Field(
        ("Read", "Glob", "Grep", "WebSearch"),
        description="Claude Code's own tools that a request may ask for: names or rules such as "
        "Bash(git *), comma separated; all or none",
    )
    disallowed_tools: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = Field(
        (), description="Tools or rules that nothing can allow, comma separated"
    )
    operator_keys: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = Field(
        ("default",),
        description="Names of the keys that may change tools and MCP servers at run time; default "
        "is API_KEY, none is nobody",
    )
    max_turns: PositiveInt = Field(
        50, description="Most answers of the model in one request with own tools"
    )
    max_budget_usd: PositiveFloat | None = Field(
        None, description="Most that one request with own tools may cost, in US dollars"
    )
    command_timeout_seconds: PositiveFloat = Field(
        120, description="Longest run of a command that Claude starts"
    )
    sandbox: Annotated[Literal["auto", "on", "off"], BeforeValidator(_one_of_lower)] = Field(
        "auto",
        description="Run commands in Claude Code's sandbox: auto (where the platform has it), on "
        "(or not at all) or off",
    )
    workspace_root: Path = Field(
        Path("workspaces"), description="Where own tools work: one directory for each session"
    )
    max_workspace_file_bytes: PositiveInt = Field(
        32 * 1024 * 1024, description="Largest file of a session that can be fetched or put"
    )
    mcp_config: Path | None = Field(
        None,
        description="A file of MCP servers in Claude Code's format; else .mcp.json in the working "
        "directory, if it is there",
    )
    usage_retention_days: PositiveFloat = Field(
        90, description="Days that the record of each turn is kept; sums by day are kept for good"
    )
    metrics_public: bool = Field(False, description="Answer GET /metrics without an API key")
    log_bodies: bool = Field(
        False,
        description="Keep the bodies of the last requests and their answers in memory, for "
        "operators to see; a prompt is in no log even so",
    )
    cookie_secret: str | None = Field(
        None,
        min_length=16,
        repr=False,
        description="Signs the cookies of the page at /; servers behind one address need the same, "
        "else each start makes one",
    )
    sign_in_over_http: bool = Field(
        False, description="Let browsers on other computers sign in without https"
    )
    tracing: bool = Field(
        False,
        description="Send OpenTelemetry traces as the OTEL_* variables say; needs the extra "
        "`tracing`",
    )
    shutdown_grace_seconds: NonNegativeInt = Field(
        10, description="Time for running answers to finish when the server stops"
    )

    @property
    def timeout_seconds(self) -> float:
        """MAX_TIMEOUT in seconds: the original counted milliseconds, its Docker guide seconds."""
        return self.max_timeout if self.max_timeout < 10_000 else self.max_timeout / 1000


def load_settings(**overrides: Any) -> Settings:
    """Settings from `overrides` (by field name), else the environment, else `.env`.

    Raises SettingsError with one sentence that names the first bad variable and what it may be.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_sentence(error.errors(include_url=False)[0])) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f".env cannot be read: {error}.") from None


def host_environ() -> dict[str, str]:
    """`.env` of the working directory under the process's environment: also what is not ours."""
    from_file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return {**from_file, **os.environ}


ALLOWED: dict[str, Callable[[dict[str, Any]], str]] = {
    "int_parsing": lambda _: "must be a whole number",
    "int_type": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "float_parsing": lambda _: "must be a number",
    "finite_number": lambda _: "must be a finite number",
    "bool_parsing": lambda _: "must be true or false",
    "literal_error": lambda context: f"must be {context['expected']}",
    "greater_than_equal": lambda context: f"must be at least {context['ge']}",
    "less_than_equal": lambda context: f"must be at most {context['le']}",
    "greater_than": lambda context: f"must be more than {context['gt']:g}",
    "value_error": lambda context: str(context["error"]),
}


def _sentence(error: ErrorDetails) -> str:
    """`PORT must be at most 65535.`; the value stays out, it may be a secret."""
    name = str(error["loc"][0]).upper()
    phrase = ALLOWED.get(error["type"])
    return f"{name} {phrase(error.get('ctx', {})) if phrase else 'is not valid: ' + error['msg']}."
