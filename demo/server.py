"""Serves the fake upstream on loopback, inside the running event loop."""

import asyncio
import logging
from collections import deque
from functools import partial
from typing import Final, Literal, Self

import uvicorn
from uvicorn.server import ServerState

from demo.app import Upstream, create_app
from demo.recording import RecordedRequest

Form = Literal["anthropic", "oauth", "bedrock", "vertex"]

_CLOSE_SECONDS: Final = 2.0
_QUIET: Final = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
}


def _is_unexpected(record: logging.LogRecord) -> bool:
    return "without completing response" not in record.msg


# `cut` leaves an answer unfinished on purpose, which uvicorn would report as an error
_LOGGER: Final = logging.getLogger("demo.http")
_LOGGER.addFilter(_is_unexpected)


class _Config(uvicorn.Config):
    def configure_logging(self) -> None:
        """Leave the logging of the process alone: it may be another server's."""


class FakeAnthropic:
    """The Anthropic Messages API on a loopback port, answered by the demo model.

    Use as `async with`; leaving it closes every connection within two seconds. `record` is how
    many requests are kept, `port` 0 takes a free one. With `speaks` the model talks as for people.
    """

    def __init__(self, *, record: int = 10_000, port: int = 0, speaks: bool = False) -> None:
        self._upstream = Upstream(record, speaks=speaks)
        self._wanted_port = port
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        config = _Config(
            create_app(self._upstream),
            lifespan="off",
            ws="none",
            log_config=None,
            timeout_keep_alive=3600,  # closing an idle connection races with its next use
        )
        config.load()
        loop = asyncio.get_running_loop()
        # by host and port: of a socket handed in, asyncio does not know that it is TCP, leaves
        # Nagle's algorithm on, and every answer on a kept connection is 40 ms late
        self._server = await loop.create_server(
            partial(self._protocol, config), "127.0.0.1", self._wanted_port, backlog=1024
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def _protocol(self, config: uvicorn.Config) -> asyncio.Protocol:
        made = config.http_protocol_class(  # type: ignore[call-arg]  # its base declares no __init__
            config=config, server_state=self._state, app_state={}
        )
        made.logger = _LOGGER  # type: ignore[attr-defined]  # same reason
        return made

    async def __aexit__(self, *_: object) -> None:
        if self._server is None:
            return
        self._server.close()
        self._upstream.closing.set()
        # answers being written get a moment to end, then their connections are closed anyway
        if tasks := set(self._state.tasks):
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS / 2)
        for connection in list(self._state.connections):
            connection.transport.abort()
        if tasks := set(self._state.tasks):
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS / 2)
        await asyncio.sleep(0)
        self._server = None

    @property
    def requests(self) -> deque[RecordedRequest]:
        """What the model was asked, oldest first."""
        return self._upstream.recorder.requests

    @property
    def other_requests(self) -> deque[RecordedRequest]:
        """Requests to anything but the model: token counts, model lists, unknown paths."""
        return self._upstream.recorder.other_requests

    @property
    def open_streams(self) -> int:
        """The number of answers being written now."""
        return self._upstream.recorder.open_streams

    def clear(self) -> None:
        """Forget all requests and all counted failures."""
        self._upstream.recorder.clear()
        self._upstream.model.clear()

    async def wait_for_requests(self, count: int, timeout_seconds: float = 20.0) -> None:
        """Return when the model was asked `count` times since `clear`; else TimeoutError."""
        recorder = self._upstream.recorder
        await recorder.wait_until(lambda: recorder.received >= count, timeout_seconds)

    async def wait_until_idle(self, timeout_seconds: float = 20.0) -> None:
        """Return when no answer is being written; else TimeoutError."""
        recorder = self._upstream.recorder
        await recorder.wait_until(lambda: recorder.open_streams == 0, timeout_seconds)

    def environment(self, form: Form = "anthropic") -> dict[str, str]:
        """The variables that point a Claude Code CLI here, with dummy credentials."""
        match form:
            case "anthropic":
                own = {"ANTHROPIC_BASE_URL": self.url, "ANTHROPIC_API_KEY": "sk-ant-demo"}
            case "oauth":
                own = {
                    "ANTHROPIC_BASE_URL": self.url,
                    "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-demo",
                }
            case "bedrock":
                own = {
                    "CLAUDE_CODE_USE_BEDROCK": "1",
                    "CLAUDE_CODE_SKIP_BEDROCK_AUTH": "1",
                    "ANTHROPIC_BEDROCK_BASE_URL": self.url,
                    "AWS_REGION": "us-east-1",
                }
            case "vertex":
                own = {
                    "CLAUDE_CODE_USE_VERTEX": "1",
                    "CLAUDE_CODE_SKIP_VERTEX_AUTH": "1",
                    "ANTHROPIC_VERTEX_BASE_URL": self.url,
                    "ANTHROPIC_VERTEX_PROJECT_ID": "demo",
                    "CLOUD_ML_REGION": "us-east5",
                }
        return {**_QUIET, **own}
