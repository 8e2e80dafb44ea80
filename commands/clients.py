"""Which clients `connect` knows: where each keeps its settings, and what they have to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from commands.client_files import Edit, Format, Item

NAME = "Claude Code"
ID = "claude-code"
NO_KEY = "unused"
"""For programs that insist on a key where the server wants none."""

CONTEXT_TOKENS = 200_000


@dataclass(frozen=True, slots=True)
class Server:
    """What a client has to know. `url` is without /v1; `key` is None where none is needed."""

    url: str
    model: str
    key: str | None = None

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def any_key(self) -> str:
        return self.key or NO_KEY


@dataclass(frozen=True, slots=True)
class Client:
    """`file` is where its settings are, below the home or, if it starts with `./`, here; without
    one they are only shown. `then` says what is left to do."""

    title: str
    kind: Format
    edits: Callable[[Server], Sequence[Edit]]
    file: str | None
    then: Callable[[Server], str]

    def path(self) -> Path | None:
        if self.file is None:
            return None
        here = self.file.removeprefix("./")
        return Path(here) if here != self.file else Path.home() / self.file


def _codex(server: Server) -> list[Edit]:
    provider = ("model_providers", ID)
    edits = [
        Edit(("model",), server.model),
        Edit(("model_provider",), ID),
        Edit((*provider, "name"), NAME),
        Edit((*provider, "base_url"), server.base_url),
        Edit((*provider, "wire_api"), "responses"),
    ]
    if server.key:
        edits.append(Edit((*provider, "http_headers", "Authorization"), f"Bearer {server.key}"))
    return edits


def _claude_code(server: Server) -> list[Edit]:
    return [
        Edit(("env", "ANTHROPIC_BASE_URL"), server.url),
        Edit(("env", "ANTHROPIC_AUTH_TOKEN"), server.any_key),
        Edit(("model",), server.model),
    ]


def _opencode(server: Server) -> list[Edit]:
    provider = ("provider", ID)
    return [
        Edit(("$schema",), "https://opencode.ai/config.json", if_missing=True),
        Edit((*provider, "npm"), "@ai-sdk/openai-compatible"),
        Edit((*provider, "name"), NAME),
        Edit((*provider, "options", "baseURL"), server.base_url),
        Edit((*provider, "options", "apiKey"), server.any_key),
        Edit((*provider, "models", server.model, "name"), server.model),
        Edit(("model",), f"{ID}/{server.model}"),
    ]


def _continue(server: Server) -> list[Edit]:
    model = ("models", Item("name", NAME))
    return [
        Edit(("name",), "Local", if_missing=True),
        Edit(("version",), "1.0.0", if_missing=True),
        Edit(("schema",), "v1", if_missing=True),
        Edit((*model, "provider"), "openai"),
        Edit((*model, "model"), server.model),
        Edit((*model, "apiBase"), server.base_url),
        Edit((*model, "apiKey"), server.any_key),
        Edit((*model, "roles"), ["chat", "edit", "apply"]),
        Edit((*model, "capabilities"), ["tool_use", "image_input"]),
    ]


def _aider(server: Server) -> list[Edit]:
    return [
        Edit(("openai-api-base",), server.base_url),
        Edit(("openai-api-key",), server.any_key),
        Edit(("model",), f"openai/{server.model}"),
        Edit(("weak-model",), "openai/haiku"),
    ]


def _zed(server: Server) -> list[Edit]:
    provider = ("language_models", "openai_compatible", NAME)
    model = (*provider, "available_models", Item("name", server.model))
    return [
        Edit((*provider, "api_url"), server.base_url),
        Edit((*model, "display_name"), f"{NAME}: {server.model}"),
        Edit((*model, "max_tokens"), CONTEXT_TOKENS),
        Edit(("agent", "default_model", "provider"), NAME),
        Edit(("agent", "default_model", "model"), server.model),
    ]


def _librechat(server: Server) -> list[Edit]:
    endpoint = ("endpoints", "custom", Item("name", NAME))
    return [
        Edit(("version",), "1.2.8", if_missing=True),
        Edit((*endpoint, "apiKey"), server.any_key),
        Edit((*endpoint, "baseURL"), server.base_url),
        Edit((*endpoint, "models", "default"), [server.model]),
        Edit((*endpoint, "models", "fetch"), True),
        Edit((*endpoint, "titleConvo"), True),
        Edit((*endpoint, "titleModel"), "haiku"),
        Edit((*endpoint, "modelDisplayLabel"), NAME),
    ]


def _open_webui(server: Server) -> list[Edit]:
    return [
        Edit(("OPENAI_API_BASE_URL",), server.base_url),
        Edit(("OPENAI_API_KEY",), server.any_key),
        Edit(("TASK_MODEL_EXTERNAL",), "haiku"),
    ]


def _cline(server: Server) -> list[Edit]:
    return [
        Edit(("API Provider",), "OpenAI Compatible"),
        Edit(("Base URL",), server.base_url),
        Edit(("API Key",), server.any_key),
        Edit(("Model ID",), server.model),
    ]


def _n8n(server: Server) -> list[Edit]:
    credential = Item("id", "claudeCodeServer")
    return [
        Edit((credential, "name"), NAME),
        Edit((credential, "type"), "openAiApi"),
        Edit((credential, "data"), {"apiKey": server.any_key, "url": server.base_url}),
    ]


def _zed_key(server: Server) -> str:
    """Zed takes keys from its keychain or a variable, never from this file."""
    variable = f"{NAME.upper().replace(' ', '_')}_API_KEY"
    return f"Start Zed with {variable}={server.any_key}, or enter that key in its agent's settings."


CLIENTS: dict[str, Client] = {
    "codex": Client(
        "Codex", "toml", _codex, ".codex/config.toml", lambda _: "Start `codex` again."
    ),
    "claude-code": Client(
        "Claude Code",
        "json",
        _claude_code,
        ".claude/settings.json",
        lambda _: "Start `claude` again. Its own login is not used while this stands there.",
    ),
    "opencode": Client(
        "OpenCode",
        "json",
        _opencode,
        ".config/opencode/opencode.json",
        lambda _: "Start `opencode` again.",
    ),
    "continue": Client(
        "Continue",
        "yaml",
        _continue,
        ".continue/config.yaml",
        lambda _: f"Choose the model {NAME} in Continue.",
    ),
    "aider": Client("aider", "yaml", _aider, ".aider.conf.yml", lambda _: "Start `aider` again."),
    "cline": Client(
        "Cline",
        "env",
        _cline,
        None,
        lambda _: "Cline keeps its settings within VS Code: enter these under Settings → API.",
    ),
    "zed": Client("Zed", "json", _zed, ".config/zed/settings.json", _zed_key),
    "open-webui": Client(
        "Open WebUI",
        "env",
        _open_webui,
        None,
        lambda _: (
            "Give it these variables (--file writes an .env), or enter them under Admin Panel"
            " → Settings → Connections."
        ),
    ),
    "librechat": Client(
        "LibreChat",
        "yaml",
        _librechat,
        "./librechat.yaml",
        lambda _: "Start LibreChat again.",
    ),
    "n8n": Client(
        "n8n",
        "json",
        _n8n,
        None,
        lambda _: "Write it to a file with --file, then: n8n import:credentials --input=FILE",
    ),
}
