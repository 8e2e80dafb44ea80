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
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Protocol

from claude_agent_sdk import CLIConnectionError, CLINotFoundError, ProcessError, Transport

from engine.process_tree import adopt, kill_group, kill_marked, kill_tree
from engine.read_ahead import CHUNK_BYTES, Inspector, LineTooLong, ReadAhead

STDERR_BYTES = 4000
START_SECONDS = 60.0
REAP_SECONDS = 5.0


class Belongings(Protocol):
    """Files that exist as long as a process."""

    def make(self) -> None: ...

    def remove(self) -> None: ...


class CliTransport(Transport):
    """One CLI process: JSON lines in, JSON lines out.

    `inspect` sees every line at once, before the SDK queues it: what must not wait (stopping a
    process that is about to call the API again) is done there. `close` kills: transcripts are
    not kept, so there is nothing to flush.

    `mark` is the value of `process_tree.MARK` in its environment, where it may run commands;
    `belongings` are made before it starts and removed when it has ended.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        *,
        mark: str | None = None,
        belongings: Belongings | None = None,
    ) -> None:
        self._argv = argv
        self._environment = environment
        self._directory = directory
        self._mark = mark
        self._belongings = belongings
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ahead: ReadAhead | None = None
        self._stderr = b""
        self._stderr_task: asyncio.Task[None] | None = None
        self._initialize: dict[str, Any] = {}
        self._initialized = False
        self.killed = False
        self._ended_by_itself: bool | None = None
        self.inspect: Inspector = lambda message: None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def stderr_tail(self) -> str:
        """The last that the CLI wrote to stderr."""
        return self._stderr.decode(errors="replace").strip()

    def initialize_with(self, **fields: Any) -> None:
        """Adds fields to the `initialize` request that `ClaudeSDKClient.connect` will send."""
        self._initialize = fields

    async def connect(self) -> None:
        """Starts the process and waits until it answers; does nothing where it runs already.

        An unbound process answers control requests, and `initialize` comes later: the wait for
        the program to load (0.3 CPU-seconds) is over before the process is given to anybody.
        """
        if self._process is None:
            await self._spawn()
            try:
                async with asyncio.timeout(START_SECONDS):
                    await self._answers()
            except TimeoutError as error:
                raise CLIConnectionError("Claude Code does not answer") from error

    async def _spawn(self) -> None:
        """A cancelled start finds and ends the process that it has made."""
        spawning = asyncio.ensure_future(self._execute())
        try:
            self._process = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            with suppress(OSError):
                self._process = await spawning
            raise
        except FileNotFoundError as error:
            if not self._directory.is_dir():
                raise CLIConnectionError("The working directory is gone") from error
            raise CLINotFoundError("Claude Code not found", self._argv[0]) from error
        except OSError as error:
            raise CLIConnectionError(f"Claude Code cannot be started: {error}") from error
        self._check_place(self._process.pid)
        assert self._process.stdout is not None
        self._ahead = ReadAhead(self._process.stdout, lambda message: self.inspect(message))
        self._reader = asyncio.create_task(self._ahead.run())
        self._stderr_task = asyncio.create_task(self._keep_stderr(self._process))

    async def _execute(self) -> asyncio.subprocess.Process:
        if self._belongings is not None:
            await asyncio.to_thread(self._belongings.make)
        return await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(self._environment),
            cwd=self._directory,
            limit=CHUNK_BYTES,
            start_new_session=True,
            preexec_fn=adopt if self._mark else None,
        )

    def _check_place(self, pid: int) -> None:
        """A directory that was checked by name may have been replaced before the process was in it:
        by a link that leads elsewhere. Linux tells where it really is."""
        place = Path(f"/proc/{pid}/cwd")
        if self._mark and place.is_symlink() and place.readlink() != self._directory:
            self.kill()
            raise CLIConnectionError("The working directory was replaced")

    async def _answers(self) -> None:
        """Returns when the process has answered a request that changes nothing."""
        request = {"subtype": "mcp_status"}
        line = {"type": "control_request", "request_id": "boot", "request": request}
        await self.write(json.dumps(line) + "\n")
        while message := await self._next():
            if message.get("type") == "control_response":
                return
        await self._ended()

    async def _next(self) -> dict[str, Any] | None:
        """The next message; None, again and again, after the last."""
        assert self._ahead is not None
        try:
            return await self._ahead.take()
        except LineTooLong as error:
            self._ended_by_itself = False
            self.kill()
            raise CLIConnectionError("Claude Code wrote a line over 64 MiB") from error

    async def _ended(self) -> NoReturn:
        assert self._process is not None
        returncode = await self._process.wait()
        raise ProcessError("Claude Code ended", exit_code=returncode, stderr=self.stderr_tail)

    async def _keep_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while chunk := await process.stderr.read(STDERR_BYTES):
            self._stderr = (self._stderr + chunk)[-STDERR_BYTES:]

    def is_ready(self) -> bool:
        return self._process is not None and self._process.returncode is None and not self.killed

    @property
    def ended_by_itself(self) -> bool:
        """Whether the process was gone, or at least its output, before we ended it."""
        if self._ended_by_itself is not None:
            return self._ended_by_itself
        has_ended = self._process is not None and self._process.returncode is not None
        return has_ended or (self._reader is not None and self._reader.done())

    async def write(self, data: str) -> None:
        process = self._process
        if process is None or process.stdin is None or not self.is_ready():
            raise CLIConnectionError("Claude Code is not running")
        if not data:
            return
        if self._initialize and '"subtype": "initialize"' in data:
            data = self._with_initialize_fields(data)
        try:
            process.stdin.write(data.encode())
            await process.stdin.drain()
        except (ConnectionError, RuntimeError) as error:
            if not self.killed:
                self._ended_by_itself = True
            raise CLIConnectionError("Claude Code closed its input") from error

    def write_soon(self, data: str) -> None:
        """Writes without waiting; a process that is gone already needs it no more."""
        if self.is_ready() and self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(data.encode())

    def _with_initialize_fields(self, data: str) -> str:
        message = json.loads(data)
        message["request"].update(self._initialize)
        self._initialize = {}
        return json.dumps(message) + "\n"

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """Every JSON object the CLI writes; raises ProcessError when it ends by itself.

        A process that we killed just ends: the SDK would log an error for what was meant. Only
        while `initialize` is unanswered it must raise, or the SDK waits for it for a minute.
        """
        if self._reader is None:
            raise CLIConnectionError("Claude Code is not running")
        while message := await self._next():
            self._initialized |= message.get("type") == "control_response"
            yield message
        if not (self.killed and self._initialized):
            await self._ended()

    async def end_input(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        """Ends the process and its children now. Does not wait; safe at any time."""
        self._ended_by_itself = self.ended_by_itself
        self.killed = True
        if self._ahead is not None:
            self._ahead.release()
        if self._process is not None and self._process.returncode is None:
            (kill_tree if self._mark else kill_group)(self._process.pid)

    async def close(self) -> None:
        """Kills and reaps the process and whatever it left behind; bounded, and safe to call
        twice."""
        if self._process is not None:
            await self._end()
            await asyncio.to_thread(self._forget, self._process.pid)
        if self._mark is not None:
            await asyncio.to_thread(kill_marked, self._mark)
        if self._belongings is not None:
            await asyncio.to_thread(self._belongings.remove)

    def _forget(self, pid: int) -> None:
        """Removes what a CLI that was killed leaves: a note that it runs."""
        default = Path(self._environment.get("HOME", "/nonexistent")) / ".claude"
        config = Path(self._environment.get("CLAUDE_CONFIG_DIR") or default)
        with suppress(OSError):
            (config / "sessions" / f"{pid}.json").unlink()

    async def _end(self) -> None:
        assert self._process is not None
        self.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(REAP_SECONDS):
                await self._read_what_is_left(self._process)
                await self._process.wait()
        for task in (self._reader, self._stderr_task):
            if task is not None:
                task.cancel()

    async def _read_what_is_left(self, process: asyncio.subprocess.Process) -> None:
        """A full buffer would keep the pipe open. Of two who read one stream, one may never wake:
        we read only after the reader, which gives up at a line that is too long."""
        if self._reader is not None:
            await asyncio.wait({self._reader})
        while process.stdout is not None and await process.stdout.read(CHUNK_BYTES):
            pass
