"""The SDK's `Transport` over one CLI process, which may be started before it is known what for.

The SDK's own transport puts the system prompt on the command line, hands the whole environment of
this server down and takes up to ten seconds to end a process. This one starts the process *blank*;
the system prompt and the names of the in-process MCP servers travel in the `initialize` control
request (`SDKControlInitializeRequest` of the official TypeScript SDK).

Each line is parsed once. What `consume` takes never reaches the SDK: the events of an answer go
straight to the turn that waits for them, and the SDK's router has the control protocol and MCP.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, NoReturn, Protocol

from claude_agent_sdk import CLIConnectionError, CLINotFoundError, ProcessError, Transport

from engine.process_tree import kill_group, kill_marked, kill_tree, preparation

CHUNK_BYTES = 64 * 1024
"""As much as a pipe holds."""

LINE_LIMIT_BYTES = 64 * 1024 * 1024
STDERR_BYTES = 4000
LOG_LINE_BYTES = 64 * 1024
START_SECONDS = 60.0
REAP_SECONDS = 5.0

Consume = Callable[[dict[str, Any]], bool]


class ProcessFiles(Protocol):
    """Files that exist as long as a process."""

    def make(self) -> None: ...

    def remove(self) -> None: ...


class CliTransport(Transport):
    """One CLI process: JSON lines in, JSON lines out.

    `consume` sees every message the moment it is read; True keeps it from the SDK. `on_end` is
    called once, when the process has written its last line; `on_log_line` with each line of stderr.
    `close` kills: transcripts are not
    kept, so there is nothing to flush.

    `mark` is the value of PROCESS_MARK_VARIABLE in its environment, where it may run commands;
    `files` are made before it starts and removed when it has ended.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        *,
        mark: str | None = None,
        files: ProcessFiles | None = None,
    ) -> None:
        self._argv = argv
        self._environment = environment
        self._directory = directory
        self._mark = mark
        self._files = files
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._failure: str | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._stderr = b""
        self._initialize: dict[str, Any] = {}
        self._initialized = False
        self.killed = False
        self._ended_by_itself: bool | None = None
        self.consume: Consume = lambda message: False
        self.on_end: Callable[[], None] = lambda: None
        self.on_log_line: Callable[[str], None] = lambda line: None

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
        self._check_directory(self._process.pid)
        self._tasks = [
            asyncio.create_task(self._read(self._process)),
            asyncio.create_task(self._keep_stderr(self._process)),
        ]

    async def _execute(self) -> asyncio.subprocess.Process:
        if self._files is not None:
            await asyncio.to_thread(self._files.make)
        return await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(self._environment),
            cwd=self._directory,
            limit=CHUNK_BYTES,
            start_new_session=True,
            preexec_fn=preparation(subreaper=self._mark is not None),
        )

    def _check_directory(self, pid: int) -> None:
        """A directory that was checked by name may have been replaced before the process was in it:
        by a link that leads elsewhere. Linux tells where it really is."""
        link = Path(f"/proc/{pid}/cwd")
        if self._mark and link.is_symlink() and link.readlink() != self._directory:
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

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Hands out every message until the output ends."""
        assert process.stdout is not None
        try:
            async with aclosing(_lines(process.stdout)) as lines:
                async for line in lines:
                    self._take(line)
                    if not self._room.is_set():
                        await self._room.wait()
        except (_LineTooLong, RecursionError):
            self._failure = "Claude Code sent malformed output"
            self._ended_by_itself = False
            self.kill()
        finally:
            self._messages.put_nowait(None)
            self.on_end()

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:  # a notice of the CLI's, no part of the protocol
            return
        if isinstance(message, dict) and not self.consume(message):
            self._messages.put_nowait(message)

    def pause(self) -> None:
        """Reads no more until `resume`: the pipe fills, and slows the process down."""
        self._room.clear()

    def resume(self) -> None:
        self._room.set()

    async def _next(self) -> dict[str, Any] | None:
        """The next message for the SDK; None, again and again, after the last."""
        message = await self._messages.get()
        if message is None:
            self._messages.put_nowait(None)
            if self._failure is not None:
                raise CLIConnectionError(self._failure)
        return message

    async def _ended(self) -> NoReturn:
        assert self._process is not None
        returncode = await self._process.wait()
        raise ProcessError("Claude Code ended", exit_code=returncode, stderr=self.stderr_tail)

    async def _keep_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        line = b""
        while chunk := await process.stderr.read(STDERR_BYTES):
            self._stderr = (self._stderr + chunk)[-STDERR_BYTES:]
            *whole, line = (line + chunk).split(b"\n")
            line = line[-LOG_LINE_BYTES:]
            for each in whole:
                self.on_log_line(each.decode(errors="replace"))

    def is_ready(self) -> bool:
        return self._process is not None and self._process.returncode is None and not self.killed

    @property
    def ended_by_itself(self) -> bool:
        """Whether the process was gone, or at least its output, before this server ended it."""
        if self._ended_by_itself is not None:
            return self._ended_by_itself
        has_ended = self._process is not None and self._process.returncode is not None
        return has_ended or bool(self._tasks and self._tasks[0].done())

    async def write(self, data: str) -> None:
        if self._initialize and '"subtype": "initialize"' in data:
            data = self._with_initialize_fields(data)
        process = self._process
        if process is None or process.stdin is None or not self.is_ready():
            raise CLIConnectionError("Claude Code is not running")
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
        """Every message that `consume` left; raises ProcessError when the CLI ends by itself.

        A process that was killed just ends: the SDK would log an error for what was meant. Only
        while `initialize` is unanswered it must raise, or the SDK waits for it for a minute.
        """
        if self._process is None:
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
        self.resume()
        if self._process is not None and self._process.returncode is None:
            (kill_tree if self._mark else kill_group)(self._process.pid)

    async def close(self) -> None:
        """Kills and reaps the process and whatever it left behind; bounded, and safe to call
        twice."""
        if self._process is not None:
            await self._end()
            await asyncio.to_thread(self._remove_session_note, self._process.pid)
        if self._mark is not None:
            await asyncio.to_thread(kill_marked, self._mark)
        if self._files is not None:
            await asyncio.to_thread(self._files.remove)

    def _remove_session_note(self, pid: int) -> None:
        """A CLI that was killed leaves a note that it runs."""
        default = Path(self._environment.get("HOME", "/nonexistent")) / ".claude"
        config = Path(self._environment.get("CLAUDE_CONFIG_DIR") or default)
        with suppress(OSError):
            (config / "sessions" / f"{pid}.json").unlink()

    async def _end(self) -> None:
        assert self._process is not None
        self.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(REAP_SECONDS):
                await self._read_rest(self._process)
                await self._process.wait()
        for task in self._tasks:
            task.cancel()

    async def _read_rest(self, process: asyncio.subprocess.Process) -> None:
        """A full buffer would keep the pipe open. Of two who read one stream, one may never wake:
        this reads only after the reader, which gives up at a line that is too long."""
        if self._tasks:
            await asyncio.wait(self._tasks[:1])
        while process.stdout is not None and await process.stdout.read(CHUNK_BYTES):
            pass


class _LineTooLong(Exception):
    """The process wrote a line over LINE_LIMIT_BYTES."""


async def _lines(stream: asyncio.StreamReader) -> AsyncGenerator[bytes, None]:
    """The stream's lines, without their ends."""
    pending = bytearray()
    while chunk := await stream.read(CHUNK_BYTES):
        begun, newline, rest = chunk.rpartition(b"\n")
        if newline:
            for line in bytes(pending + begun).split(b"\n"):
                yield line
            pending = bytearray(rest)
        else:
            pending += chunk
        if len(pending) > LINE_LIMIT_BYTES:
            raise _LineTooLong
