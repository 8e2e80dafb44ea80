"""`/v1/mcp/servers`: which MCP servers there are, for the operator."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from core.conversation import JsonObject
from core.errors import PermissionDenied
from models import ErrorBody
from tools import Source
from web.dependencies import McpServers, Operator

ERRORS = (400, 401, 403, 404, 409, 429, 503)
COMMANDS_REFUSED = "Commands are started from MCP_CONFIG only: a server added here needs a `url`."

router = APIRouter(
    prefix="/v1/mcp/servers",
    tags=["mcp"],
    responses={status: {"model": ErrorBody} for status in ERRORS},
)

HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[ -~]*$", max_length=8192)]


class NewMcpServer(BaseModel):
    """A server behind a URL. `type` `http` is streamable HTTP; `stdio` is refused."""

    model_config = ConfigDict(extra="forbid")

    name: str
    type: Literal["http", "sse", "stdio"] = "http"
    url: str = Field("", max_length=8192)
    headers: dict[HeaderName, HeaderValue] = Field({}, max_length=50)
    command: Any = None
    args: Any = None
    env: Any = None


class McpServer(BaseModel):
    """`url` without what follows the host, `headers` and `env` without values: they may be secret.
    `source`: in MCP_CONFIG, or added here."""

    name: str
    object: Literal["mcp.server"] = "mcp.server"
    type: str
    source: Source
    url: str | None = None
    headers: dict[str, str] | None = None
    command: str | None = None
    env: dict[str, str] | None = None


class McpTool(BaseModel):
    name: str
    description: str | None
    input_schema: JsonObject


class McpServerDetail(McpServer):
    """With what the server said of itself just now; `error` is why it did not."""

    status: Literal["connected", "failed"]
    error: str | None
    server_name: str | None
    server_version: str | None
    tools: list[McpTool]


class McpServerList(BaseModel):
    object: Literal["list"] = "list"
    data: list[McpServer]


class McpServerDeleted(BaseModel):
    name: str
    object: Literal["mcp.server.deleted"] = "mcp.server.deleted"
    deleted: Literal[True] = True


@router.get("", summary="All MCP servers, without their secrets")
async def list_mcp_servers(operator: Operator, servers: McpServers) -> McpServerList:
    return McpServerList(
        data=[McpServer(**server.shown) for server in (await servers.all()).values()]
    )


@router.post("", summary="Add a server behind a URL, for every server on the same database")
async def add_mcp_server(body: NewMcpServer, operator: Operator, servers: McpServers) -> McpServer:
    if body.type == "stdio" or body.model_fields_set & {"command", "args", "env"}:
        raise PermissionDenied(COMMANDS_REFUSED, code="commands_not_allowed")
    entry = body.model_dump(include={"type", "url", "headers"})
    return McpServer(**(await servers.add(body.name, entry)).shown)


@router.get("/{name}", summary="One server, with its status and tools, which it is asked for")
async def get_mcp_server(name: str, operator: Operator, servers: McpServers) -> McpServerDetail:
    server = await servers.get(name)
    status = await server.status()
    tools = [
        McpTool(name=tool.name, description=tool.description, input_schema=tool.input_schema)
        for tool in status.tools
    ]
    return McpServerDetail(
        **server.shown,
        status="failed" if status.error else "connected",
        error=status.error,
        server_name=status.server and status.server.name,
        server_version=status.server and status.server.version,
        tools=tools,
    )


@router.delete("/{name}", summary="Remove a server that was added here")
async def delete_mcp_server(name: str, operator: Operator, servers: McpServers) -> McpServerDeleted:
    await servers.remove(name)
    return McpServerDeleted(name=name)
