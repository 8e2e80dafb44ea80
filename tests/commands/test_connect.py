"""`connect`: what becomes of settings files as people have them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands.clients import CLIENTS, Server
from commands.connect import NOT_WRITTEN, Wanted, fresh, run
from config.settings import SettingsError

ROOT = Path(__file__).parents[2]
URL = "http://127.0.0.1:9000"
KEY = "sk-abcdefgh01234567"

CODEX = """\
# Codex, my own settings
model = "gpt-5.6"  # the usual one
approval_policy = "on-request"

[model_providers.corp]
name = "Corp"
base_url = "https://llm.example.com/v1"
wire_api = "responses"

[mcp_servers.files]  # tools
command = "npx"
args = ["-y", "@modelcontextprotocol/server-filesystem", "/srv"]
"""

CLAUDE = """\
{
  "permissions": {"allow": ["Bash(npm test)"]},
  "env": {
    "DISABLE_TELEMETRY": "1"
  },
  "model": "opus"
}
"""

OPENCODE = """\
{
  "$schema": "https://opencode.ai/config.json",
  // two themes, one for the day
  "theme": "system",
  "provider": {
    "local": { "npm": "@ai-sdk/openai-compatible", "options": { "timeout": 9 } }, // llama
  },
}
"""

CONTINUE = """\
# Continue's models
name: Mine
version: 0.3.1
schema: v1
models:
- name: Local # fast
  provider: ollama
  model: qwen3
context:
- provider: file
"""

AIDER = """\
## aider
# openai-api-base: https://api.openai.com/v1
dark-mode: true
model: gpt-4o # for now
"""

ZED = """\
// Zed settings
//
// For information, see the documentation
{
  "vim_mode": true,
  "agent": {
    "default_profile": "write", /* not "ask" */
    "default_model": {
      "provider": "zed.dev",
      "model": "claude-sonnet-4-5"
    }
  },
  "theme": {"mode": "system", "light": "One Light", "dark": "One Dark"}
}
"""

LIBRECHAT = """\
version: 1.3.0
cache: true

# endpoints of our own
endpoints:
  custom:
    - name: "Mistral"
      apiKey: "${MISTRAL_API_KEY}"
      baseURL: "https://api.mistral.ai/v1"
      models:
        default: ["mistral-small"]
"""

ENV = "# of the container\nWEBUI_NAME=Chat\nexport OPENAI_API_KEY=sk-old\n"

OWN = {
    "codex": CODEX,
    "claude-code": CLAUDE,
    "opencode": OPENCODE,
    "continue": CONTINUE,
    "aider": AIDER,
    "zed": ZED,
    "librechat": LIBRECHAT,
    "open-webui": ENV,
    "n8n": '[\n  {"id": "other", "name": "Other", "type": "slackApi", "data": {}}\n]\n',
}
FILES = sorted(OWN)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no .env
    monkeypatch.setattr(os, "environ", {"PATH": os.defpath, "HOME": str(tmp_path)})


def connected(name: str, text: str | None, folder: Path, **options: Any) -> str:
    """The client's file after `connect`, which is agreed to."""
    file = folder / "settings"
    if text is not None:
        file.write_text(text)
    assert run(Wanted(name, URL, key=KEY, file=file, yes=True, **options)) == 0
    return file.read_text()


def read(name: str, text: str) -> Any:
    match CLIENTS[name].kind:
        case "toml":
            return tomllib.loads(text)
        case "yaml":
            return yaml.safe_load(text)
        case "env":
            lines = [line.removeprefix("export ") for line in text.splitlines() if "=" in line]
            return dict(line.split("=", 1) for line in lines)
        case "json":
            return json.loads(without_comments(text))


def without_comments(text: str) -> str:
    """Good enough for the files of these tests."""
    lines = [line.partition(" //")[0] for line in text.splitlines() if not line.startswith("//")]
    plain = "\n".join(lines).replace('/* not "ask" */', "")
    for closing in "}]":
        plain = plain.replace(",\n" + closing, "\n" + closing).replace(",\n  " + closing, closing)
    return plain


def lines_of(text: str) -> list[str]:
    """Without a comma at the end, which a new neighbour brings."""
    return [line.rstrip().rstrip(",").replace(", //", " //") for line in text.splitlines()]


REPLACED = {
    "codex": ['model = "gpt-5.6"  # the usual one'],
    "claude-code": ['  "model": "opus"'],
    "aider": ["model: gpt-4o # for now"],
    "zed": ['      "provider": "zed.dev"', '      "model": "claude-sonnet-4-5"'],
    "open-webui": ["export OPENAI_API_KEY=sk-old"],
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_not_meant_stays_with_its_comments_and_its_order(name: str, tmp_path: Path) -> None:
    after = lines_of(connected(name, OWN[name], tmp_path))
    kept = [line for line in lines_of(OWN[name]) if line not in REPLACED.get(name, [])]
    rest = iter(after)
    assert [line for line in kept if line not in rest] == []  # looks on where the last one was


@pytest.mark.parametrize("name", FILES)
def test_a_second_time_changes_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once = connected(name, OWN[name], tmp_path)
    assert connected(name, None, tmp_path) == once
    assert "says so already" in capsys.readouterr().out


@pytest.mark.parametrize("name", FILES)
def test_undo_gives_back_the_file_as_it_was(name: str, tmp_path: Path) -> None:
    connected(name, OWN[name], tmp_path)
    file = tmp_path / "settings"
    assert run(Wanted(name, "http://127.0.0.1:1", key="sk-other", file=file, yes=True)) == 0
    assert run(Wanted(name, file=file, undo=True, yes=True)) == 0
    assert file.read_text() == OWN[name]
    assert [path.name for path in tmp_path.iterdir()] == ["settings"]


@pytest.mark.parametrize("name", FILES)
def test_a_client_without_settings_gets_them_alone_and_undo_removes_the_file(
    name: str, tmp_path: Path
) -> None:
    text = connected(name, None, tmp_path)
    file = tmp_path / "settings"
    assert text == fresh(CLIENTS[name], Server(URL, "sonnet", KEY))
    assert file.stat().st_mode & 0o777 == 0o600, "it holds a key"
    assert run(Wanted(name, file=file, undo=True, yes=True)) == 0
    assert list(tmp_path.iterdir()) == []


def test_codex_asks_this_server_by_the_responses_api(tmp_path: Path) -> None:
    settings = read("codex", connected("codex", CODEX, tmp_path))
    assert (settings["model"], settings["model_provider"]) == ("sonnet", "claude-code")
    assert settings["model_providers"]["claude-code"] == {
        "name": "Claude Code",
        "base_url": f"{URL}/v1",
        "wire_api": "responses",
        "http_headers": {"Authorization": f"Bearer {KEY}"},
    }
    assert settings["model_providers"]["corp"]["name"] == "Corp"
    assert settings["mcp_servers"]["files"]["command"] == "npx"


def test_claude_code_asks_this_server_instead_of_anthropic(tmp_path: Path) -> None:
    settings = read("claude-code", connected("claude-code", CLAUDE, tmp_path))
    assert settings["env"] == {
        "DISABLE_TELEMETRY": "1",
        "ANTHROPIC_BASE_URL": URL,
        "ANTHROPIC_AUTH_TOKEN": KEY,
    }
    assert settings["permissions"] == {"allow": ["Bash(npm test)"]}


def test_opencode_has_one_provider_more(tmp_path: Path) -> None:
    settings = read("opencode", connected("opencode", OPENCODE, tmp_path))
    assert set(settings["provider"]) == {"local", "claude-code"}
    assert settings["provider"]["claude-code"]["options"] == {
        "baseURL": f"{URL}/v1",
        "apiKey": KEY,
    }
    assert settings["model"] == "claude-code/sonnet"


def test_continue_has_one_model_more_in_the_files_own_style(tmp_path: Path) -> None:
    text = connected("continue", CONTINUE, tmp_path)
    settings = read("continue", text)
    assert (settings["name"], settings["version"]) == ("Mine", "0.3.1")
    assert [model["name"] for model in settings["models"]] == ["Local", "Claude Code"]
    assert settings["models"][1]["apiBase"] == f"{URL}/v1"
    assert "\n- name: Claude Code\n" in text


def test_aider_and_librechat_and_open_webui_and_n8n_have_the_address_and_the_key(
    tmp_path: Path,
) -> None:
    aider = read("aider", connected("aider", AIDER, tmp_path))
    assert (aider["openai-api-base"], aider["openai-api-key"]) == (f"{URL}/v1", KEY)
    assert (aider["model"], aider["dark-mode"]) == ("openai/sonnet", True)
    (tmp_path / "settings.before-connect").unlink()
    librechat = read("librechat", connected("librechat", LIBRECHAT, tmp_path))
    assert librechat["version"] == "1.3.0"
    assert [end["name"] for end in librechat["endpoints"]["custom"]] == ["Mistral", "Claude Code"]
    assert librechat["endpoints"]["custom"][1]["baseURL"] == f"{URL}/v1"
    webui = read("open-webui", connected("open-webui", ENV, tmp_path))
    assert (webui["OPENAI_API_BASE_URL"], webui["OPENAI_API_KEY"]) == (f"{URL}/v1", KEY)
    n8n = read("n8n", connected("n8n", OWN["n8n"], tmp_path))
    assert n8n[1]["data"] == {"apiKey": KEY, "url": f"{URL}/v1"}


def test_zed_keeps_its_settings_and_is_told_where_the_key_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = read("zed", connected("zed", ZED, tmp_path))
    assert settings["agent"]["default_model"] == {"provider": "Claude Code", "model": "sonnet"}
    assert settings["agent"]["default_profile"] == "write"
    [model] = settings["language_models"]["openai_compatible"]["Claude Code"]["available_models"]
    assert model["name"] == "sonnet"
    assert f"CLAUDE_CODE_API_KEY={KEY}" in capsys.readouterr().out


def test_another_model_of_zed_stands_beside_the_first(tmp_path: Path) -> None:
    connected("zed", ZED, tmp_path)
    settings = read("zed", connected("zed", None, tmp_path, model="haiku"))
    models = settings["language_models"]["openai_compatible"]["Claude Code"]["available_models"]
    assert [model["name"] for model in models] == ["sonnet", "haiku"]


def test_the_change_is_shown_first_and_without_a_yes_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings"
    file.write_text(CODEX)
    assert run(Wanted("codex", URL, key=KEY, file=file)) == NOT_WRITTEN
    shown = capsys.readouterr().out
    assert '-model = "gpt-5.6"  # the usual one\n' in shown
    assert "sk-abcd…" in shown
    assert KEY not in shown
    assert "add --yes" in shown
    assert file.read_text() == CODEX


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("codex", "model = \n"),
        ("continue", "models: [\n"),
        ("aider", "- a\n- list\n"),
        ("zed", '{"a": 1 "b": 2}'),
        ("zed", '{"agent": "none"}'),
        ("opencode", "{}{}"),
    ],
)
def test_a_file_that_is_not_understood_is_left_alone(
    name: str, broken: str, tmp_path: Path
) -> None:
    file = tmp_path / "settings"
    file.write_text(broken)
    with pytest.raises(SettingsError, match="Nothing was changed"):
        run(Wanted(name, URL, file=file, yes=True))
    assert file.read_text() == broken
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_to_a_file_among_dotfiles_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "codex.toml"
    real.parent.mkdir()
    real.write_text(CODEX)
    real.chmod(0o640)
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    assert run(Wanted("codex", URL, file=link, yes=True)) == 0
    assert link.is_symlink()
    assert "claude-code" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_the_settings_of_every_client_can_be_shown_alone(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(Wanted(name, f"{URL}/v1/", show=True)) == 0
    shown = capsys.readouterr().out
    assert f"{URL}/v1" in shown or (name == "claude-code" and f'"{URL}"' in shown)
    assert "unused" in shown or name == "codex"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.wire
def test_the_key_and_the_address_are_those_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"API_KEY={KEY}\nPORT=8123\n")
    environ = {"PATH": os.defpath, "HOME": str(tmp_path)}
    command = [sys.executable, str(ROOT / "main.py"), "connect", "aider", "--yes"]
    subprocess.run(command, cwd=tmp_path, env=environ, timeout=30, check=True, capture_output=True)
    settings = yaml.safe_load((tmp_path / ".aider.conf.yml").read_text())
    assert settings["openai-api-base"] == "http://127.0.0.1:8123/v1"
    assert settings["openai-api-key"] == KEY


def test_a_name_that_is_not_known_has_a_suggestion() -> None:
    with pytest.raises(SettingsError, match="Did you mean aider"):
        run(Wanted("aidr"))
    with pytest.raises(SettingsError, match="Known are codex, "):
        run(Wanted("emacs"))


def test_without_a_name_the_clients_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Wanted()) == 0
    shown = capsys.readouterr().out
    for name in CLIENTS:
        assert f"  {name} " in shown


def test_undo_without_a_backup_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing to undo"):
        run(Wanted("codex", file=tmp_path / "settings", undo=True))
    with pytest.raises(SettingsError, match="nothing to undo"):
        run(Wanted("cline", undo=True))
