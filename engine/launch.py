"""How a CLI process is started: its command line, its environment, its directory.

Without built-in tools it is as clean as the CLI can be; what a conversation needs is said later.
With built-in tools it is started for just what a turn was granted, confined to its directory.
Source: `docs/claude-cli.md`, "A clean request"; `claude --help`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import claude_agent_sdk

from config.credentials import Credentials, may_pass
from config.sandbox import sandbox_settings
from config.settings import Settings
from core.approval import ALWAYS_ASKING
from core.builtin_tools import tool_of
from core.conversation import JsonObject
from core.turn import ToolGrant
from engine.caller_tools import ALLOW_ALL
from engine.failures import ERROR_LOG_FILTER
from engine.permission_prompts import allowed_rules
from engine.process_tree import PROCESS_MARK_VARIABLE
from engine.transport import CliTransport

GC_INTERVAL_VARIABLE = "BUN_GC_TIMER_INTERVAL"
"""For the CLI alone: a command may be a program of the same runtime."""

ENVIRONMENT = {
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    "CLAUDE_AGENT_SDK_VERSION": claude_agent_sdk.__version__,
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
    # The caller's own tool names and schemas, all of them, and nothing cut out of results.
    "CLAUDE_AGENT_SDK_MCP_NO_PREFIX": "1",
    "ENABLE_TOOL_SEARCH": "false",
    "MAX_MCP_OUTPUT_TOKENS": "100000000",
    # The model that was asked for, or the API's own word that there is none.
    "CLAUDE_CODE_DISABLE_LEGACY_MODEL_REMAP": "1",
    # The conversation is the client's: it is never shortened. Without this the limit that each
    # request sets for further calls (engine/worker.py) is not looked at either.
    "DISABLE_AUTO_COMPACT": "1",
    # Newer models would get the effort as a message of its own in the conversation.
    "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
    # A failure stays a failure; the client decides whether to ask again.
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    # Its runtime (Bun) collects garbage after a quiet minute, not after each turn and start.
    GC_INTERVAL_VARIABLE: "60000",
}
NO_SYSTEM_PROMPT = "--system-prompt="
"""What there is comes with `initialize`. Without this it is Claude Code's own prompt."""

ARGUMENTS = (
    "--output-format=stream-json",
    "--input-format=stream-json",
    "--verbose",
    "--include-partial-messages",
    "--no-session-persistence",
    "--setting-sources=",
    "--strict-mcp-config",
    NO_SYSTEM_PROMPT,
    f"--debug={ERROR_LOG_FILTER}",
    "--debug-to-stderr",
)
CONFINED = ("--restricted", "--disable-slash-commands")
"""File tools stay in the working directory."""

NOBODY_IS_ASKED = "--permission-prompts=none"
"""What no rule allows is denied."""

THIS_SERVER_IS_ASKED = "--permission-prompt-tool=stdio"
"""What no rule allows is asked for, and `engine/permission_prompts.py` answers."""

MODES = {"default": "dontAsk", "acceptEdits": "dontAsk", "plan": "plan"}
"""What was granted runs without asking in any case, so that `acceptEdits` adds nothing to it."""

ASKING_MODES = {**MODES, "default": "manual", "acceptEdits": "manual"}
"""Where a person is asked; `dontAsk` would deny without asking."""

NO_ATTRIBUTION = {"attribution": {"commit": "", "pr": ""}}
"""Else the CLI tells the model to sign commits, in a reminder before the caller's words."""

NO_AUTO_MODE = {"disableAutoMode": "disable", "useAutoModeDuringPlan": False}
"""Else the CLI lets a model decide, in plan mode, what may run: by requests of its own."""


@dataclass(frozen=True, slots=True)
class ScratchFiles:
    """The files of one process: a working directory for lack of another, its MCP servers."""

    root: Path
    mcp_config: str

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def temporary(self) -> Path:
        """For what the CLI and its commands leave: its sandbox's sockets, for one."""
        return self.root / "tmp"

    @property
    def mcp_file(self) -> Path:
        return self.root / "mcp.json"

    def make(self) -> None:
        self.root.mkdir(mode=0o700)
        self.work.mkdir()
        self.temporary.mkdir()
        if self.mcp_config:
            self.mcp_file.touch(mode=0o600)  # on the command line its secrets could be seen
            self.mcp_file.write_text(self.mcp_config)

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


class Launcher:
    """Makes transports for processes that are not started yet. `scratch` is a directory that
    outlives them."""

    def __init__(self, settings: Settings, credentials: Credentials, scratch: Path) -> None:
        self._settings = settings
        self._credentials = credentials
        self._scratch = scratch = scratch.resolve()  # as the system names a process's directory
        self._command = (str(cli_path(settings)), *ARGUMENTS)
        self._temporary = scratch / "tmp"
        self._temporary.mkdir()
        self._command_prefix = scratch / "command.sh"
        _write_executable(self._command_prefix, _command_script(credentials.environment))

    def plain(self) -> CliTransport:
        """A process without tools, for any conversation. With a key it runs no program, so it gets
        no PATH: with one the CLI would run git at each change of its settings."""
        argv = [*self._command, "--tools=", "--max-turns=1"]
        if self._credentials.bare:
            argv.append("--bare")
        environment = self._environment(self._scratch)
        if self._credentials.method == "anthropic":
            environment["PATH"] = ""
        return CliTransport(argv, environment, self._scratch)

    def granted(self, own: ToolGrant) -> CliTransport:
        """A process with what was granted. Its temporary files go with it."""
        name = secrets.token_hex(6)  # short: a socket's path may have 107 characters
        mark = f"{self._scratch.name}/{name}"
        files = ScratchFiles(self._scratch / name, own.mcp_config)
        directory = Path(own.directory or files.work)
        environment = self._environment(directory) | {
            PROCESS_MARK_VARIABLE: mark,
            "TMPDIR": str(files.temporary),
            "CLAUDE_CODE_SHELL_PREFIX": str(self._command_prefix),
            "CLAUDE_CODE_TMPDIR": str(files.root),
            "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # a command over its time ends
            **self._config_directory(files),
            "BASH_DEFAULT_TIMEOUT_MS": self._command_timeout,
            "BASH_MAX_TIMEOUT_MS": self._command_timeout,
        }
        command = [*self._command]
        if own.claude_code:
            command.remove(NO_SYSTEM_PROMPT)
        argv = [*command, *CONFINED, *self._granting(own, directory, files)]
        return CliTransport(argv, environment, directory, mark=mark, files=files)

    def _config_directory(self, files: ScratchFiles) -> dict[str, str]:
        """Shells leave files there. A login is in the CLI's own and must be found."""
        if not self._credentials.bare:
            return {}
        return {"CLAUDE_CONFIG_DIR": str(files.config)}

    @property
    def _command_timeout(self) -> str:
        return str(int(self._settings.command_timeout_seconds * 1000))

    def _granting(self, own: ToolGrant, directory: Path, files: ScratchFiles) -> Iterable[str]:
        yield f"--tools={','.join(own.tools)}"
        yield f"--allowed-tools={','.join([ALLOW_ALL, *allowed_rules(own)[0]])}"
        # one rule for all tools that write files; `//` begins an absolute path
        unchanged = [f"Edit(/{directory}/**)" for directory in own.also_read]
        if deny := [*own.deny, *unchanged]:
            yield f"--disallowed-tools={','.join(deny)}"
        for also in own.also_read:
            yield f"--add-dir={also}"
        yield THIS_SERVER_IS_ASKED if own.ask else NOBODY_IS_ASKED
        yield f"--permission-mode={(ASKING_MODES if own.ask else MODES)[own.permission_mode]}"
        yield f"--settings={json.dumps(self._cli_settings(own, directory, files))}"
        if own.max_turns is not None:
            yield f"--max-turns={own.max_turns}"
        if own.max_budget_usd is not None:
            yield f"--max-budget-usd={own.max_budget_usd:f}"
        if own.mcp_config:
            yield f"--mcp-config={files.mcp_file}"
        if self._credentials.bare and not own.tools and not own.claude_code:
            yield "--bare"  # which has few built-in tools, and leaves the conversation as it is

    def _cli_settings(self, own: ToolGrant, directory: Path, files: ScratchFiles) -> JsonObject:
        """A command reads neither what other processes have nor the secrets of MCP servers."""
        settings: JsonObject = {**NO_ATTRIBUTION, **NO_AUTO_MODE}
        if rules := _ask_rules(own):
            settings["permissions"] = {"ask": rules}
        if "Bash" not in own.tools:
            return settings
        temporary = files.root / f"claude-{os.getuid()}"
        return settings | sandbox_settings(
            self._settings,
            self._credentials.environment,
            hidden=(self._scratch,),
            shown=(directory, temporary, files.temporary, files.config, self._command_prefix),
            unchanged=map(Path, own.also_read),
        )

    def _environment(self, directory: Path) -> dict[str, str]:
        environment = {**self._credentials.environment, **ENVIRONMENT}
        environment["CLAUDE_CODE_MAX_RETRIES"] = str(self._settings.upstream_max_retries)
        environment["PWD"] = str(directory)
        environment[PROCESS_MARK_VARIABLE] = self._scratch.name
        environment["TMPDIR"] = str(self._temporary)
        if self._credentials.bare:
            # Under a login the CLI must keep it; elsewhere it only costs prompt-cache hits.
            environment["CLAUDE_CODE_ATTRIBUTION_HEADER"] = "0"
        return environment


def cli_path(settings: Settings) -> Path:
    """The CLI in use: the configured one, else the one the SDK's wheel carries."""
    if settings.claude_cli_path is not None:
        return settings.claude_cli_path
    return Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"


def secret_names(environment: Iterable[str]) -> list[str]:
    """The variables that a command of the model's must not see."""
    return sorted(
        name for name in environment if name.startswith("ANTHROPIC_") or not may_pass(name, "none")
    )


def _command_script(environment: Iterable[str]) -> str:
    """Runs its first argument as a command, without credentials in its environment."""
    names = " ".join([GC_INTERVAL_VARIABLE, *secret_names(environment)])
    return f'#!/bin/sh\nunset {names}\nexec {shutil.which("bash") or "/bin/sh"} -c "$1"\n'


def _ask_rules(own: ToolGrant) -> list[str]:
    """Of the tools that have no rule which allows some uses, which this would undo. Without it the
    CLI runs commands that it knows to only read, such as `ls`, without asking."""
    allowed = {tool_of(rule) for rule in own.allow}
    return [rule for rule in own.ask if rule not in allowed and rule not in ALWAYS_ASKING]


def _write_executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
