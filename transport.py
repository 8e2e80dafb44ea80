"""The SDK's `Transport` over one CLI process, which may be started before it is known what for.

The SDK's own transport puts the system prompt and the tools on the command line, hands the whole
environment of this server down and takes up to ten seconds to end a process. This one starts the
process *blank*; the system prompt and the names of the in-process MCP servers travel in the
`initialize` control request (`SDKControlInitializeRequest` of the official TypeScript SDK), so a
system prompt that was never seen before finds a process that has already started.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from claude_agent_sdk import CLIConnectionError, CLINotFoundError, ProcessError, Transport

LINE_LIMIT_BYTES = 64 * 1024 * 1024
STDERR_LINES = 20
REAP_SECONDS = 5.0

Inspector = Callable[[dict[str, Any]], None]


class CliTransport(Transport):
    """One CLI process: JSON lines in, JSON lines out.

    `inspect` sees every line at once, before the SDK queues it: what must not wait (stopping a
    process that is about to call the API again) is done there. `close` kills: transcripts are
    not kept, so there is nothing to flush.
    """

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], directory: Path
    ) -> None:
        self._argv = argv
        self._environment = environment
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._stderr_task: asyncio.Task[None] | None = None
        self._initialize: dict[str, Any] = {}
        self.killed = False
        self.inspect: Inspector = lambda message: None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def stderr_tail(self) -> str:
        """The last lines the CLI wrote to stderr."""
        return "\n".join(self._stderr)

    def initialize_with(self, **fields: Any) -> None:
        """Adds fields to the `initialize` request that `ClaudeSDKClient.connect` will send."""
        self._initialize = fields

    async def connect(self) -> None:
        """Starts the process; does nothing where it runs already."""
        if self._process is not None:
            return
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(self._environment),
                cwd=self._directory,
                limit=LINE_LIMIT_BYTES,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise CLINotFoundError("Claude Code not found", self._argv[0]) from error
        except OSError as error:
            raise CLIConnectionError(f"Claude Code cannot be started: {error}") from error
        self._stderr_task = asyncio.create_task(self._keep_stderr(self._process))

    async def _keep_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        with suppress(ValueError):  # a line over the limit ends the record, not the process
            async for line in process.stderr:
                self._stderr.append(line.decode(errors="replace").rstrip())

    def is_ready(self) -> bool:
        return self._process is not None and self._process.returncode is None and not self.killed

    async def write(self, data: str) -> None:
        process = self._process
        if process is None or process.stdin is None or not self.is_ready():
            raise CLIConnectionError("Claude Code is not running")
        if self._initialize and '"subtype": "initialize"' in data:
            data = self._with_initialize_fields(data)
        try:
            process.stdin.write(data.encode())
            await process.stdin.drain()
        except (ConnectionError, RuntimeError) as error:
            raise CLIConnectionError("Claude Code closed its input") from error

    def _with_initialize_fields(self, data: str) -> str:
        message = json.loads(data)
        message["request"].update(self._initialize)
        self._initialize = {}
        return json.dumps(message) + "\n"

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """Every JSON object the CLI writes; raises ProcessError when it ends by itself."""
        process = self._process
        if process is None or process.stdout is None:
            raise CLIConnectionError("Claude Code is not running")
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError as error:
                self.kill()
                raise CLIConnectionError("Claude Code wrote a line over 64 MiB") from error
            if not line:
                break
            message = _parsed(line)
            if message is not None:
                self.inspect(message)
                yield message
        returncode = await process.wait()
        raise ProcessError("Claude Code ended", exit_code=returncode, stderr=self.stderr_tail)

    async def end_input(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        """Ends the process and its children now. Does not wait; safe at any time."""
        self.killed = True
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Kills and reaps the process; bounded, and safe to call twice."""
        if self._process is None:
            return
        self.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(REAP_SECONDS):
                await self._process.wait()
        if self._stderr_task is not None:
            self._stderr_task.cancel()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The line's JSON object, or None: the CLI's own notices are not part of the protocol."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
