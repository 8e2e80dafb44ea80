"""What an operator sees when the server starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from auth import load_keyring
from config.credentials import Credentials
from config.places import env_file
from config.sandbox import why_unsandboxed
from config.settings import Settings, host_environ
from core.addresses import is_loopback
from core.builtin_tools import tool_of
from core.version import NAME, VERSION
from tools import base_rules

EVERY_INTERFACE = frozenset({"0.0.0.0", "::", ""})

KEYS_OF_OTHERS = ("PROXY_API_KEY", "AUTH_TOKEN", "SECURITY__AUTH_TOKEN")
"""What other wrappers of Claude Code call API_KEY (docs/migrating.md)."""

NEW_KEY = """\
  API key      {key}
               {note}

  curl {url}/v1/chat/completions \\
    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'

"""


HOW_TO_STOP = "  Press Ctrl-C to stop it.\n\n"


def new_key_lines(settings: Settings, url: str, key: str) -> str:
    """The only place where a key is shown."""
    is_kept = host_environ().get("API_KEY") == key
    note = (
        f"kept in {env_file()}"
        if is_kept
        else ("shown only now, and another one at the next start unless .env has it as API_KEY")
    )
    return NEW_KEY.format(key=key, note=note, url=url, model=settings.default_model)


def ignored_settings(settings: Settings, environ: Mapping[str, str]) -> str:
    """Sentences on what is set and has no effect; empty where there is none."""
    sentences = (ignored_keys(settings, environ), _ignored_cli(settings, environ))
    return "; ".join(filter(None, sentences))


def _ignored_cli(settings: Settings, environ: Mapping[str, str]) -> str:
    name = environ.get("CLAUDE_CLI_PATH")
    if not name or settings.claude_cli_path is not None:
        return ""
    return f"CLAUDE_CLI_PATH: there is no command {name}, so the bundled Claude Code is used"


def ignored_keys(settings: Settings, environ: Mapping[str, str]) -> str:
    """A sentence about a key under another server's variable name, if this server has none."""
    found = [name for name in KEYS_OF_OTHERS if environ.get(name)]
    if not found or load_keyring(settings):
        return ""
    return f"{found[0]} is set but means nothing here: set API_KEY"


def banner(
    settings: Settings, port: int, credentials: Credentials | None, ignored: str = ""
) -> str:
    """What an operator must know, a line each; `credentials` None is the demo."""
    url = f"http://{shown_host(settings.host)}:{port}"
    note = "" if port == settings.port else f"   ({settings.port} is taken, {port} is free)"
    lines = {
        "URL": f"{url}/v1{note}",
        "Model": settings.default_model,
        "Credentials": _credentials_line(credentials),
        **_hints(credentials),
        "Protection": _protection(settings),
        **({"Ignored": ignored} if ignored else {}),
        **_sandbox(settings),
        **_bodies(settings),
        "Docs": f"{url}/docs",
        "Settings": _settings_line(),
        "Data": _data_line(settings, is_demo=credentials is None),
    }
    rows = "".join(f"  {name:12} {text}\n" for name, text in lines.items())
    return f"\n{NAME} {VERSION}\n\n{rows}\n"


def _settings_line() -> str:
    file = env_file().absolute()
    return str(file) if file.is_file() else f"{file} (there is none yet)"


def _data_line(settings: Settings, *, is_demo: bool) -> str:
    """Where sessions are kept; of a database's address not its password."""
    if is_demo and "database_url" not in settings.model_fields_set:
        return "none is kept"
    kind, _, place = settings.database_url.partition("://")
    if not kind.startswith("sqlite"):
        return f"{kind.partition('+')[0]} at {place.rpartition('@')[2].partition('?')[0]}"
    file = place.removeprefix("/")
    return str(Path(file).absolute()) if file else "in memory only"


def shown_host(host: str) -> str:
    if host in EVERY_INTERFACE:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _credentials_line(credentials: Credentials | None) -> str:
    if credentials is None:
        return "none needed: DEMO, a fake upstream answers instead of Claude"
    return f"{credentials.method}: {credentials.detected_by}"


def _hints(credentials: Credentials | None) -> dict[str, str]:
    if credentials is None or not (credentials.missing or credentials.hint):
        return {}
    lines = {"Missing": " ".join(credentials.missing), "To fix it": credentials.hint or ""}
    return {name: text for name, text in lines.items() if text}


def _bodies(settings: Settings) -> dict[str, str]:
    note = "LOG_BODIES: prompts and answers are kept in memory, for operators to read"
    return {"Bodies": note} if settings.log_bodies else {}


def _sandbox(settings: Settings) -> dict[str, str]:
    """Where commands may be asked for, and run without it."""
    is_asked_for = "Bash" in map(tool_of, base_rules(settings).allowed or ())
    why_not = why_unsandboxed(settings) if is_asked_for else None
    if why_not is None:
        return {}
    refused = " Bash is refused (SANDBOX=required)." if settings.sandbox == "required" else ""
    return {"No sandbox": f"{why_not}{refused}"}


def _protection(settings: Settings) -> str:
    if keys := len(load_keyring(settings)):
        return f"an API key is required ({keys} known)"
    if is_loopback(settings.host):
        return "no API key is required; only this computer can connect"
    return "NONE: anyone who can reach this address can use it"
