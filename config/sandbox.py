"""The sandbox that Claude Code puts around commands: what it can do here, and what it must hide.

Inside, a command writes only in its working directory and has no network. On macOS it is part of
the system; on Linux it needs `bwrap` (bubblewrap) and `socat`, and a kernel that lets `bwrap` work.
Source: https://code.claude.com/docs/en/sandboxing.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from config.settings import DEFAULT_MCP_FILE, SESSIONS_FOLDER, Settings
from core.conversation import JsonObject

SECRETS = (".ssh", ".aws", ".azure", ".config/gcloud", ".gnupg", ".netrc", ".docker/config.json")
"""Under the home directory, what no command has to read."""

TRIAL_SECONDS = 5


def sandbox_settings(
    settings: Settings,
    environment: Mapping[str, str],
    hidden: Iterable[Path] = (),
    shown: Iterable[Path] = (),
    unchanged: Iterable[Path] = (),
) -> JsonObject:
    """Claude Code's `sandbox` setting; empty where commands run without. `hidden` cannot be read
    either, except for what is `shown` of it; `unchanged` is not written."""
    if settings.sandbox == "off" or (settings.sandbox == "auto" and missing_for_sandbox()):
        return {}
    return {
        "sandbox": {
            "enabled": True,
            "failIfUnavailable": True,
            "allowUnsandboxedCommands": False,
            "autoAllowBashIfSandboxed": False,  # the operator's rules hold inside too
            "filesystem": {
                "denyRead": [str(path) for path in (*_hidden(settings, environment), *hidden)],
                "allowRead": [str(path) for path in shown],
                "denyWrite": [str(path) for path in unchanged],
            },
        }
    }


def why_unsandboxed(settings: Settings) -> str | None:
    """Why commands have no sandbox around them, with SANDBOX=on so do not run; None where it is."""
    return "SANDBOX is off." if settings.sandbox == "off" else missing_for_sandbox()


def why_no_commands(settings: Settings) -> str | None:
    """Why no command may run here; None where the sandbox works or is not required."""
    missing = missing_for_sandbox() if settings.sandbox == "required" else None
    return missing and f"Commands are refused without a sandbox (SANDBOX=required): {missing}"


@cache
def missing_for_sandbox() -> str | None:
    """Why there is no sandbox here, in one sentence; None where there is. Asks once, by trying."""
    if platform.system() == "Darwin":
        return None
    if platform.system() != "Linux":
        return f"Claude Code has no sandbox for commands on {platform.system()}."
    absent = [name for name in ("bwrap", "socat") if shutil.which(name) is None]
    if absent:
        return f"{' and '.join(absent)} not found: install the packages bubblewrap and socat."
    return None if _bwrap_works() else "bwrap is not permitted to make namespaces here."


def _bwrap_works() -> bool:
    command = ["bwrap", "--ro-bind", "/", "/", "--unshare-net", "--dev", "/dev", "true"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TRIAL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _hidden(settings: Settings, environment: Mapping[str, str]) -> list[Path]:
    """The Claude login, other credentials, this server's own settings and data, other sessions'
    files. What is not there yet is hidden from the commands that run when it is."""
    home = Path(environment.get("HOME", "/nonexistent"))
    config = Path(environment.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    wanted = [config / ".credentials.json", *(home / name for name in SECRETS)]
    wanted += [Path(".env"), settings.mcp_config or DEFAULT_MCP_FILE]
    wanted += [settings.workspace_root / SESSIONS_FOLDER]
    wanted += [path for path in (settings.api_keys_file,) if path is not None]
    if key_file := environment.get("GOOGLE_APPLICATION_CREDENTIALS"):
        wanted.append(Path(key_file))
    if database := settings.database_url.partition(":///")[2].partition("?")[0]:
        wanted += [Path(f"{database}{suffix}") for suffix in ("", "-wal", "-shm")]
    return [path.expanduser().resolve() for path in wanted]
