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
import logging
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Protocol

from claude_agent_sdk import CLIConnectionError, CLINotFoundError, ProcessError, Transport

from engine.process_start import Pipes, start_process
from engine.process_tree import kill_group, kill_marked, kill_tree

LINE_LIMIT_BYTES = 64 * 1024 * 1024
STDERR_BYTES = 4000
LOG_LINE_BYTES = 64 * 1024
START_SECONDS = 60.0
REAP_SECONDS = 5.0
FIRST_LOOK_SECONDS = 0.001
LOOK_SECONDS = 0.05

log = logging.getLogger(__name__)

Consume = Callable[[dict[str, Any]], bool]


class ProcessFiles(Protocol):
    """Files that exist as long as a process."""

    def make(self) -> None: ...

    def remove(self) -> None: ...


class CliTransport(Transport):
    """One CLI process: JSON lines in, JSON lines out.

    `consume` sees every message the moment it is read; True keeps it from the SDK. `on_end` is
    called once, when the process has written its last line; `on_log_line` with each line of stderr,
    and True keeps that out of `stderr_tail`. `close` kills: transcripts are not kept, so there is
    nothing to flush.

    `mark` is the value of `process_tree.PROCESS_MARK_VARIABLE` in its environment, where it may run
    commands; `files` are made before it starts and removed when it has ended.
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
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes: Pipes | None = None
        self._messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._failure: str | None = None
        self._pending = bytearray()
        self._stderr = b""
        self._log_line = b""
        self._initialize: dict[str, Any] = {}
        self._initialized = False
        self.killed = False
        self._ended_by_itself: bool | None = None
        self.consume: Consume = lambda message: False
        self.on_end: Callable[[], None] = lambda: None
        self.on_log_line: Callable[[str], bool] = lambda line: False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def stderr_tail(self) -> str:
        """The last lines that the CLI wrote to stderr. The SDK logs them."""
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

    async def _execute(self) -> subprocess.Popen[bytes]:
        if self._files is not None:
            await asyncio.to_thread(self._files.make)
        adopts = self._mark is not None
        process, sockets = await start_process(
            self._argv, self._environment, self._directory, adopts=adopts
        )
        pipes = Pipes(self._read, self._read_log, self._output_ended)
        await pipes.connect(sockets)
        self._pipes = pipes
        return process

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

    def _read(self, chunk: bytes) -> None:
        """Hands out the messages of a piece of the output."""
        begun, newline, rest = chunk.rpartition(b"\n")
        if newline:
            lines = bytes(self._pending + begun) if self._pending else begun
            self._pending = bytearray(rest)
            # decoded in one go: `json.loads` would guess the encoding of each line
            for line in lines.decode(errors="replace").split("\n"):
                self._take(line)
        else:
            self._pending += chunk
        if len(self._pending) > LINE_LIMIT_BYTES:
            self._end_malformed()

    def _end_malformed(self) -> None:
        """A line has no end, or a message lacks a field: what comes next cannot be trusted."""
        if self._failure is None:
            self._failure = "Claude Code sent malformed output"
            self._ended_by_itself = False
            self.kill()

    def _output_ended(self) -> None:
        self._messages.put_nowait(None)
        self.on_end()

    def _take(self, line: str) -> None:
        try:
            message = json.loads(line)
        except ValueError:  # a notice of the CLI's, no part of the protocol
            return
        except RecursionError:
            # The CLI repeats a call whose arguments are nested a thousand levels deep as objects;
            # the events of the answer have them as text.
            log.warning("a line of Claude Code's was nested too deeply to be read")
            return
        try:
            if isinstance(message, dict) and not self.consume(message):
                self._messages.put_nowait(message)
        except KeyError:
            self._end_malformed()

    def pause(self) -> None:
        """Reads no more until `resume`: the pipe fills, and slows the process down."""
        if self._pipes is not None:
            self._pipes.pause_output()

    def resume(self) -> None:
        if self._pipes is not None:
            self._pipes.resume_output()

    async def _next(self) -> dict[str, Any] | None:
        """The next message for the SDK; None, again and again, after the last."""
        message = await self._messages.get()
        if message is None:
            self._messages.put_nowait(None)
            if self._failure is not None:
                raise CLIConnectionError(self._failure)
        return message

    async def _ended(self) -> NoReturn:
        code = await self._exit_code()
        raise ProcessError("Claude Code ended", exit_code=code, stderr=self.stderr_tail)

    async def _exit_code(self) -> int:
        """Waits, and reaps the process: its output ends a moment before it does."""
        assert self._process is not None
        pause = FIRST_LOOK_SECONDS
        while (code := self._process.poll()) is None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LOOK_SECONDS)
        return code

    def _read_log(self, chunk: bytes) -> None:
        *whole, rest = (self._log_line + chunk).split(b"\n")
        self._log_line = rest[-LOG_LINE_BYTES:]
        for line in whole:
            if not self.on_log_line(line.decode(errors="replace")):
                self._stderr = (self._stderr + line + b"\n")[-STDERR_BYTES:]

    def is_ready(self) -> bool:
        return self._is_running and not self.killed

    @property
    def _is_running(self) -> bool:
        """Whether its output goes on. To ask the system would be a call that lets other threads
        have the interpreter, at every look."""
        return self._pipes is not None and not self._pipes.output_ended.is_set()

    @property
    def ended_by_itself(self) -> bool:
        """Whether the process was gone, or at least its output, before this server ended it."""
        if self._ended_by_itself is not None:
            return self._ended_by_itself
        return self._pipes is not None and not self._is_running

    async def write(self, data: str) -> None:
        if self._initialize and '"subtype": "initialize"' in data:
            data = self._with_initialize_fields(data)
        if not self.is_ready() or self._pipes is None:
            raise CLIConnectionError("Claude Code is not running")
        try:
            await self._pipes.write(data.encode())
        except (ConnectionError, RuntimeError) as error:
            if not self.killed:
                self._ended_by_itself = True
            raise CLIConnectionError("Claude Code closed its input") from error

    def write_soon(self, data: str) -> None:
        """Writes without waiting; a process that is gone already needs it no more."""
        if self.is_ready() and self._pipes is not None:
            self._pipes.input.write(data.encode())

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
        if self._pipes is not None:
            self._pipes.input.close()

    def kill(self) -> None:
        """Ends the process and its children now. Does not wait; safe at any time."""
        self._ended_by_itself = self.ended_by_itself
        self.killed = True
        self.resume()
        if self._process is not None and self._process.poll() is None:
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
        """Whatever is left in the pipes is read: a full one would keep the process."""
        assert self._process is not None
        assert self._pipes is not None
        self.kill()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(REAP_SECONDS):
                    await self._pipes.output_ended.wait()
                    await self._exit_code()
        finally:
            self._pipes.close()
            if self._process.poll() is None:  # it was killed, so that this ends soon
                threading.Thread(target=self._process.wait, daemon=True).start()
