"""MCP servers that a request may ask for: those of MCP_CONFIG and those that an operator added.

The file has the format of Claude Code's `.mcp.json` (https://code.claude.com/docs/en/mcp). Only it
may name commands: an operator's key comes over the network, and must not become a shell here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from config.settings import DEFAULT_MCP_FILE, SettingsError
from core.builtin_tools import CALLER_SERVER
from core.conversation import JsonObject
from core.errors import InvalidRequest, McpServerExists, McpServerNotFound, PermissionDenied
from stores.protocols import McpServerStore

if TYPE_CHECKING:
    from toolbox.mcp_status import McpStatus

NAME = re.compile(r"(?!.*__)[A-Za-z0-9_-]{1,64}")  # mcp__NAME__TOOL has one reading
NAME_RULE = f"1 to 64 letters, digits, '_' and '-', without '__', and not {CALLER_SERVER!r}"
VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}")
MAX_ADDED = 100
HIDDEN = "…"
GIVEN = "MCP_GIVEN_"
"""Begins the name of a variable that is to reach a server as a credential of its own."""

Source = Literal["file", "api"]


class Stdio(BaseModel):
    """A command that speaks MCP on its standard input and output."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    type: Literal["stdio"] = "stdio"
    command: str = Field(min_length=1)
    args: list[str] = []
    env: dict[str, str] = {}


class Remote(BaseModel):
    """A server behind a URL; `http` is streamable HTTP."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    type: Literal["http", "streamable-http", "sse"]
    url: str = Field(min_length=1)
    headers: dict[str, str] = {}


def _kind(entry: Any) -> str:
    return "remote" if isinstance(entry, dict) and "url" in entry else "stdio"


Entry: TypeAlias = Annotated[
    Annotated[Stdio, Tag("stdio")] | Annotated[Remote, Tag("remote")], Discriminator(_kind)
]


class McpFile(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    servers: dict[str, Entry] = Field({}, alias="mcpServers")


@dataclass(frozen=True, slots=True)
class McpServer:
    """`native` is the entry that Claude Code gets, with all its secrets; `shown` is what an
    operator may see of it: no values, and no path or query of a URL."""

    name: str
    shown: JsonObject
    native: JsonObject = field(repr=False)

    async def status(self) -> McpStatus:
        """Asks the server itself, for up to ten seconds. Never raises."""
        from toolbox import mcp_status  # an MCP client: most servers are never asked

        return await mcp_status.status_of(self.native)


class McpServers:
    """Those of a file, and those in the store."""

    def __init__(self, of_file: Iterable[McpServer], store: McpServerStore) -> None:
        self._of_file = {server.name: server for server in of_file}
        self._store = store

    async def all(self) -> dict[str, McpServer]:
        """By name. Raises StoreUnavailable, as all others here."""
        kept = await self._store.mcp_servers()
        return {
            name: _server(name, "api", entry, entry) for name, entry in kept.items()
        } | self._of_file

    async def get(self, name: str) -> McpServer:
        """Raises McpServerNotFound."""
        found = (await self.all()).get(name)
        if found is None:
            raise McpServerNotFound(f"No such MCP server: {name!r}.")
        return found

    async def add(self, name: str, entry: JsonObject) -> McpServer:
        """Adds one behind a URL, for every server on the same store. Raises InvalidRequest or
        McpServerExists."""
        if not _is_name(name):
            raise InvalidRequest(f"A name of an MCP server is {NAME_RULE}.", param="name")
        _check_url(entry["url"])
        if "${" in json.dumps(entry):  # Claude Code would put its own variables there
            raise InvalidRequest("Variables are replaced in MCP_CONFIG only.", param="url")
        servers = await self.all()
        if len(servers) - len(self._of_file) >= MAX_ADDED:
            raise InvalidRequest(f"There are {MAX_ADDED} MCP servers already: delete one first.")
        if name in servers or not await self._store.add_mcp_server(name, entry):
            raise McpServerExists(f"An MCP server {name!r} already exists.", param="name")
        return _server(name, "api", entry, entry)

    async def remove(self, name: str) -> None:
        """Raises McpServerNotFound, and PermissionDenied for one of the file."""
        if name in self._of_file:
            raise PermissionDenied(f"{name!r} is defined in MCP_CONFIG: remove it there.")
        if not await self._store.remove_mcp_server(name):
            raise McpServerNotFound(f"No such MCP server: {name!r}.")

    async def config(self, names: Iterable[str]) -> str:
        """These servers in the format of `.mcp.json`, empty for none. Raises InvalidRequest."""
        wanted = list(names)
        if not wanted:
            return ""
        servers = await self.all()
        for name in wanted:
            if name not in servers:
                raise InvalidRequest(f"No such MCP server: {name!r}.", param="mcp_servers")
        return json.dumps({"mcpServers": {name: servers[name].native for name in wanted}})


def _is_name(name: str) -> bool:
    return NAME.fullmatch(name) is not None and name != CALLER_SERVER


def _check_url(url: str) -> None:
    """An operator's own computer and network are allowed: MCP servers are found there."""

    parsed = _split(url)
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.hostname:
        raise InvalidRequest("`url` must be an http or https URL.", param="url")


def read_file(
    path: Path | None, environ: Mapping[str, str], secrets: Collection[str] = ()
) -> Iterator[McpServer]:
    """The servers of MCP_CONFIG, or of `.mcp.json` in the working directory, if it is there.
    `environ` is what its `${NAME}`s mean; `secrets` are variables that no command inherits.
    Raises SettingsError."""
    if path is None and not DEFAULT_MCP_FILE.is_file():
        return
    path = (path or DEFAULT_MCP_FILE).expanduser().absolute()
    for name, entry in _parsed(path).servers.items():
        if not _is_name(name):
            raise SettingsError(f"MCP_CONFIG: the name {name!r} is not {NAME_RULE}.")
        written = entry.model_dump()
        try:
            native = _expanded(written, environ)
        except ValueError as error:
            raise SettingsError(f"MCP_CONFIG: {name} {error}.") from None
        if isinstance(entry, Stdio):
            started = _started(native, path.parent, secrets)
            yield _server(name, "file", written, started)
        else:
            yield _server(name, "file", native, native)


def _parsed(path: Path) -> McpFile:
    try:
        return McpFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"MCP_CONFIG cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise SettingsError("MCP_CONFIG: it is not JSON.") from None
        _, *steps = first["loc"] or ("",)
        place = ".".join(str(step) for step in (*steps[:1], *steps[2:]))  # without the union's tag
        raise SettingsError(f"MCP_CONFIG: {place or 'mcpServers'}: {first['msg']}.") from None


def _expanded(value: Any, environ: Mapping[str, str]) -> Any:
    """`${NAME}` and `${NAME:-default}` in all texts. Raises ValueError with a phrase."""
    match value:
        case str():
            return VARIABLE.sub(lambda found: _value(found[1], found[2], environ), value)
        case list():
            return [_expanded(item, environ) for item in value]
        case dict():
            return {key: _expanded(item, environ) for key, item in value.items()}
    return value


def _value(name: str, default: str | None, environ: Mapping[str, str]) -> str:
    found = environ.get(name, default)
    if found is None:
        raise ValueError(f"needs the variable {name}, which is not set")
    return found


def _started(entry: JsonObject, folder: Path, secrets: Collection[str]) -> JsonObject:
    """The command runs in the folder of its file, as in Claude Code, and never where the model may
    have put what it would load; without credentials, unless its `env` names them: those it gets
    under other names at first, since engine/launch.py lets no secret name through."""
    given = sorted(set(secrets) & entry["env"].keys())
    steps = ['cd "$0"']
    steps += [f"unset {' '.join(sorted(secrets))}"] if secrets else []
    for name in given:
        steps += [f'export {name}="${GIVEN}{name}"', f"unset {GIVEN}{name}"]
    args = ["-c", " && ".join([*steps, 'exec "$@"']), str(folder), entry["command"], *entry["args"]]
    env = {f"{GIVEN}{name}" if name in given else name: v for name, v in entry["env"].items()}
    return {**entry, "command": "/bin/sh", "args": args, "env": env}


def _server(name: str, source: Source, entry: JsonObject, native: JsonObject) -> McpServer:
    """`entry` is shown: of a command as it is written in the file, of a URL where it leads."""
    shown: JsonObject = {"name": name, "source": source, "type": entry["type"]}
    if "url" in entry:
        shown["url"] = _shown_url(entry["url"])
        shown["headers"] = dict.fromkeys(entry["headers"], HIDDEN)
    else:
        shown["command"] = entry["command"]
        shown["env"] = dict.fromkeys(entry["env"], HIDDEN)
    return McpServer(name, shown, native)


def _shown_url(text: str) -> str:
    """Some services put a key into the path."""
    url = _split(text)
    if url is None:
        return HIDDEN
    origin = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    return f"{origin}/{HIDDEN}" if url.path.strip("/") or url.query or url.fragment else origin


def _split(url: str) -> SplitResult | None:
    """None for what is not a URL."""
    try:
        parsed = urlsplit(url)
        _ = parsed.port  # raises where it is not a number
    except ValueError:
        return None
    return parsed if url.isprintable() and " " not in url else None
