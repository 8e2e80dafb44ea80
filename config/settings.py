"""Every setting, once: name, type, default, meaning. Environment variables win over `.env`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.places import default_database_url, default_workspace_root, env_file
from config.setting_values import (
    CliPath,
    HeaderLines,
    HttpUrl,
    ModelAliases,
    NameList,
    Networks,
    Origins,
    RedisUrl,
    in_lower_case,
    in_upper_case,
)
from config.sizing import default_max_processes
from core.turn import Effort

DEFAULT_MCP_FILE = Path(".mcp.json")
SESSIONS_FOLDER = ".sessions"
"""Of WORKSPACE_ROOT: one directory for each session, hidden from the commands of others."""


class SettingsError(Exception):
    """A setting has a value that cannot be used; the message is one sentence for the operator."""


class Settings(BaseSettings):
    """What an operator can change. Made once by `load_settings`, then handed around."""

    model_config = SettingsConfigDict(
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
        "sonnet", min_length=1, description="Default model, for requests that name none"
    )
    model_aliases: ModelAliases = Field(
        {},
        description="JSON object: pattern of client model names -> Claude model, added to the "
        'built-in ones (gpt-4*, gpt-5*, *-mini and so on), such as {"gpt-4*": "opus"}',
    )
    model_successors: bool = Field(
        True,
        description="Answer for a retired model with its successor, and mend misspelt names "
        "(claude-3.5-sonnet, anthropic/…); the header X-Model-Replaced says so: on or off",
    )
    image_urls: bool = Field(
        True, description="Fetch images behind https URLs (public addresses only): on or off"
    )
    embeddings_base_url: HttpUrl = Field(
        None,
        description="An OpenAI-compatible server that /v1/embeddings is passed on to, such as "
        "http://127.0.0.1:11434/v1; Claude has no embeddings",
    )
    embeddings_api_key: str | None = Field(
        None, repr=False, description="Its API key; callers' keys are never sent to it"
    )
    claude_cli_path: CliPath = Field(
        None, description="A claude executable to use instead of the bundled one"
    )
    max_timeout: PositiveInt = Field(
        600_000, description="Maximum turn duration in milliseconds; values under 10000 are seconds"
    )
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(in_upper_case)
    ] = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")
    log_format: Annotated[Literal["console", "json"], BeforeValidator(in_lower_case)] = Field(
        "console", description="console (one readable line) or json (one object a line)"
    )
    cors_origins: Origins = Field(
        (), description="Allowed CORS origins, comma separated or a JSON list"
    )
    api_key: str | None = Field(
        None,
        repr=False,
        description="The key that callers must send; if none of the three is set, only this "
        "computer is served, or a key is generated for others",
    )
    api_keys: str | None = Field(
        None, repr=False, description="More keys, comma separated, each with a name or without"
    )
    api_keys_file: Path | None = Field(
        None, description="A JSON file of keys or their hashes with limits of their own"
    )
    allow_unprotected: bool = Field(
        False,
        description="Serve other computers without a key; otherwise one is generated and printed",
    )
    trusted_proxies: Networks = Field(
        (), description="Proxies whose X-Forwarded-For is trusted: addresses or CIDRs, by commas"
    )
    rate_limit_enabled: bool = Field(
        False, description="Limit requests per minute, by key or, without one, by address"
    )
    rate_limit_chat_per_minute: PositiveInt = Field(10, description="Requests that ask the model")
    rate_limit_debug_per_minute: PositiveInt = Field(2, description="Requests to /v1/debug")
    rate_limit_auth_per_minute: PositiveInt = Field(10, description="Requests to /v1/auth")
    rate_limit_health_per_minute: PositiveInt = Field(30, description="Requests to /health")
    rate_limit_session_per_minute: PositiveInt = Field(15, description="Requests to /v1/sessions")
    rate_limit_page_per_minute: PositiveInt = Field(
        300, description="Requests of the page at /, and to /v1/usage and /v1/approvals"
    )
    rate_limit_general_per_minute: PositiveInt = Field(
        30, description="Requests to anything else, together"
    )
    redis_url: RedisUrl = Field(
        None, repr=False, description="Redis URL, for several servers to share their rate limits"
    )
    max_request_bytes: PositiveInt = Field(32 * 1024 * 1024, description="Maximum body in bytes")
    max_header_bytes: PositiveInt = Field(
        32 * 1024, description="Maximum size of a request's URL and headers in bytes"
    )
    max_json_values: PositiveInt = Field(
        100_000, description="Maximum number of values in a request's JSON"
    )
    max_nesting: PositiveInt = Field(64, description="Maximum nesting depth of a request's JSON")
    max_messages: PositiveInt = Field(5_000, description="Maximum messages in one request")
    max_tools: PositiveInt = Field(1_000, description="Maximum tools or functions in one request")
    request_timeout: PositiveFloat = Field(
        60, description="Maximum seconds for a client to send one request"
    )
    max_connections: PositiveInt = Field(
        500, description="Maximum open connections; others get a 503 and are closed"
    )
    anthropic_custom_headers: HeaderLines = Field(
        None,
        repr=False,  # may hold a gateway's key
        description="Headers for every upstream request: a JSON object or lines of Name: value",
    )
    claude_use_subscription: bool = Field(
        False, description="Use the Claude login even where an API key is set"
    )
    upstream_max_retries: int = Field(
        1, ge=0, le=10, description="Maximum retries of a failed API call by the CLI itself"
    )
    heartbeat_seconds: PositiveFloat = Field(
        15, description="Seconds of silence in a stream before a keep-alive comment is sent"
    )
    max_processes: PositiveInt = Field(
        default_factory=default_max_processes,
        description="Maximum number of CLI processes (220 MB each); computed from free memory",
    )
    max_processes_per_key: PositiveInt | None = Field(
        None,
        description="Maximum number of processes that one API key uses at a time; default is three "
        "quarters of all where there are several keys, else all",
    )
    pool_warm: NonNegativeInt = Field(
        1, description="Blank processes kept ready, and as many for the agents that were used last"
    )
    pool_idle_seconds: PositiveFloat = Field(
        600, description="An idle process ends after this many seconds"
    )
    pool_max_uses: PositiveInt = Field(
        200, description="A process ends after this many conversations"
    )
    queue_size: NonNegativeInt = Field(100, description="Maximum requests that wait for a process")
    queue_timeout: PositiveFloat = Field(
        30, description="Longest wait for a process in seconds, then 503"
    )
    default_effort: Effort = Field(
        "high", description="Effort of requests that name none; `high` is the API's own default"
    )
    strict_parameters: bool = Field(
        False, description="Answer 400 to parameters that have no effect instead of reporting them"
    )
    seed_cache_seconds: NonNegativeFloat = Field(
        3600, description="Seconds that a request with the same seed gets the same answer"
    )
    database_url: str = Field(
        default_factory=default_database_url,
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
        60, description="Seconds between sweeps of expired sessions"
    )
    max_sessions: PositiveInt = Field(10_000, description="Maximum sessions of one API key")
    max_session_bytes: PositiveInt = Field(
        64 * 1024 * 1024, description="Maximum bytes of text and images in one session"
    )
    max_stored_bytes: PositiveInt = Field(
        1024 * 1024 * 1024,
        description="Maximum size in bytes of all sessions, responses and conversations that one "
        "API key stores",
    )
    store_responses: bool = Field(
        True,
        description="Whether responses of /v1/responses may be stored; `store: false` in a request "
        "keeps nothing either way",
    )
    response_ttl_seconds: NonNegativeFloat = Field(
        30 * 86_400,
        description="A response or conversation expires this many seconds after its last use; 0 is "
        "never",
    )
    max_background_responses: PositiveInt = Field(
        100, description="Maximum number of background responses that one process works on"
    )
    allowed_tools: NameList = Field(
        ("Read", "Glob", "Grep", "WebSearch"),
        description="Claude Code's built-in tools that a request may ask for: names or rules such "
        "as Bash(git *), comma separated; all or none",
    )
    disallowed_tools: NameList = Field(
        (), description="Tools or rules that nothing can allow, comma separated"
    )
    operator_keys: NameList = Field(
        ("default",),
        description="Names of the keys that may change tools and MCP servers at run time; default "
        "is API_KEY, none is no one",
    )
    max_turns: PositiveInt = Field(
        50, description="Maximum model answers in one request with built-in tools"
    )
    max_budget_usd: PositiveFloat | None = Field(
        None, description="Maximum cost of one request with built-in tools, in US dollars"
    )
    command_timeout_seconds: PositiveFloat = Field(
        120, description="Maximum run time of a command that Claude starts"
    )
    sandbox: Annotated[Literal["auto", "on", "required", "off"], BeforeValidator(in_lower_case)] = (
        Field(
            "auto",
            description="Run commands in Claude Code's sandbox: auto (where the platform has it), "
            "on (or not at all), required (without it Bash is always refused) or off",
        )
    )
    workspace_root: Path = Field(
        default_factory=default_workspace_root,
        description="Directory in which built-in tools work, one subdirectory per session",
    )
    max_workspace_file_bytes: PositiveInt = Field(
        32 * 1024 * 1024, description="Largest file of a session that can be fetched or put"
    )
    max_workspace_bytes: PositiveInt = Field(
        1024 * 1024 * 1024,
        description="A session whose files have more bytes gets no further turn with built-in "
        "tools, until some are deleted",
    )
    mcp_config: Path | None = Field(
        None,
        description="A file of MCP servers in Claude Code's format; else .mcp.json in the working "
        "directory, if it is there",
    )
    agents_dir: Path = Field(
        Path("agents"),
        description="A directory of agents: Markdown files that clients can choose as models",
    )
    approval_seconds: PositiveFloat = Field(
        300, description="A tool that a person must approve is denied after this many seconds"
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
    """Settings from `overrides` (by field name), else the environment, else the settings file.

    Raises SettingsError with one sentence that names the first bad variable and what it may be.
    """
    try:
        return Settings(_env_file=env_file(), **overrides)
    except ValidationError as error:
        raise SettingsError(_sentence(error.errors(include_url=False)[0])) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f".env cannot be read: {error}.") from None


def host_environ() -> dict[str, str]:
    """The settings file under the process's environment: also what is no setting."""
    found = dotenv_values(env_file()).items()
    from_file = {name: value for name, value in found if value is not None}
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
