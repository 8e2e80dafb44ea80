"""One request to the model, whatever API it came by: a `Turn` and its parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from core.approval import Approve
from core.conversation import JsonObject, Message, SystemPrompt

Effort = Literal["low", "medium", "high", "xhigh", "max"]
PermissionMode = Literal["default", "acceptEdits", "plan"]


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function that the caller runs itself: the model sees exactly this name, text and schema."""

    name: str
    description: str
    input_schema: JsonObject = field(hash=False)
    strict: bool = False
    """Whether the API itself holds the arguments to the schema."""

    cache_control: JsonObject | None = field(default=None, hash=False)
    """The caller's own cache mark, which replaces those that this server sets."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which tools the model may or must call, as in the Messages API's `tool_choice`."""

    type: Literal["auto", "any", "tool", "none"] = "auto"
    name: str | None = None
    parallel: bool = True


@dataclass(frozen=True, slots=True)
class Sampling:
    """Native sampling parameters; None leaves the model's own default."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolGrant:
    """Claude Code's built-in tools and MCP servers as granted to one turn: what is asked for is
    allowed.

    `tools` are the built-in ones that the model sees. `allow` and `deny` are Claude Code's
    permission rules (`Read`, `Bash(git *)`); what none allows is denied at once, without asking.
    `directory` is the absolute, resolved working directory, outside of which the file tools do
    nothing; None is a new one that is gone with the process. `mcp_config` is JSON in the format of
    `.mcp.json`; access to a server includes all its tools.

    `ask` are tools and MCP rules whose uses a person approves one by one, where no rule of `allow`
    covers them. An agent's `prompt` stands before the caller's system prompt, with `claude_code`
    behind Claude Code's own; `sub_agents` is JSON, as `initialize` takes it. `also_read` are
    absolute directories beside its own, whose files it may read and not change.
    """

    tools: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    directory: str | None = None
    permission_mode: PermissionMode = "default"
    max_turns: int | None = None
    max_budget_usd: float | None = None
    mcp_config: str = field(default="", repr=False)  # may hold secrets
    ask: tuple[str, ...] = ()
    prompt: str = ""
    claude_code: bool = False
    sub_agents: str = ""
    also_read: tuple[str, ...] = ()
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One request to the model, complete: nothing else reaches it.

    `model` is an id or alias that the CLI knows. `system` is a text, or native text blocks with
    cache marks of the caller's. `server_tools` are definitions of the API's own tools
    (`web_search_20250305`), sent behind `tools` as they are. `user` is the caller's name for its
    end user, sent as a hash; `cache_hour` asks for cache entries that last an hour. `thinking`
    False means off where the model allows it; `thinking_tokens` is a budget for models that take
    one; `show_thinking` asks a model for its thoughts that would else keep them to itself.
    `output_schema` is a JSON Schema of type object that the answer follows: `native_output` asks
    the API itself for that, else the answer is the input of a tool, which any schema allows.
    `json_object` asks for an answer that is one JSON object of whatever form.

    `native` are top-level fields of the request as a client of the Messages API wrote them, without
    `model` and `stream`: where it is not None it is all that goes out, unchanged, and no cache mark
    is added. In a session, whose history comes first, it is without `messages` and `system` too.
    What the other attributes say of the same things is then for turns with built-in tools only.
    `betas` are values of the `anthropic-beta` header; `api_events` asks for an `ApiEvent` before
    each event that comes of it. `approve` asks a person, where the grant says so; None is a no.
    `asks_by_item`: the client is asked in the answer itself; `decisions` are what it answered, as
    JSON, by the ids of the questions. `trace` are header lines that name the turn's span.
    """

    model: str
    messages: tuple[Message, ...]
    system: SystemPrompt = None
    tools: tuple[FunctionTool, ...] = ()
    server_tools: tuple[JsonObject, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    sampling: Sampling = Sampling()
    effort: Effort | None = None
    thinking: bool = False
    thinking_tokens: int | None = None
    show_thinking: bool = False
    output_schema: JsonObject | None = None
    native_output: bool = True
    json_object: bool = False
    builtin_tools: ToolGrant | None = None
    principal: str = "local"
    session_id: str | None = None
    user: str | None = None
    cache_hour: bool = False
    native: JsonObject | None = None
    betas: tuple[str, ...] = ()
    api_events: bool = False
    approve: Approve | None = field(default=None, compare=False, repr=False)
    asks_by_item: bool = False
    decisions: tuple[tuple[str, str], ...] = ()
    trace: str = field(default="", compare=False)
