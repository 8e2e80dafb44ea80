"""Refuses what the real API refuses, in its own words where they are known.

Here are the parameters; `content` looks at the messages, `tool_rules` at the tools, `schema_rules`
at JSON Schemas, and `capabilities` knows the models.
Source: https://docs.anthropic.com/en/api/messages, the types of the `anthropic` package, and the
errors that users of the API quote.
"""

from collections.abc import Collection, Iterator
from typing import Any, Final

from demo import capabilities
from demo.capabilities import ALL_EFFORTS, Capabilities
from demo.content import check_messages, check_system
from demo.errors import ApiError, invalid
from demo.fields import (
    Block,
    check_cache_control,
    check_choice,
    check_names,
    check_number,
    check_object,
    check_string,
)
from demo.pairing import check_thinking_in_rounds
from demo.recording import Provider
from demo.schema_rules import Complexity, check_keys, check_strict
from demo.tool_rules import check_tool_choice, check_tools, names_of

_FIELDS: Final = frozenset(
    [
        "model",
        "max_tokens",
        "messages",
        "system",
        "stream",
        "metadata",
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
        "user_profile_id",
        "workspace_id",
    ]
)
_BETA_FIELDS: Final = {
    "billing_policy": ("user-profiles-",),
    "compaction": ("compact-",),
    "context_management": ("context-management-", "compact-"),
    "fallback_credit_token": ("fallback-credit-",),
    "fallbacks": ("server-side-fallback-",),
    "mcp_servers": ("mcp-client-",),
    "output_format": ("structured-outputs-",),
    "thread": ("message-threads-",),
}
"""Fields that are unknown without an `anthropic-beta` that begins so."""

_PROVIDER_FIELDS: Final[dict[Provider, frozenset[str]]] = {
    "anthropic": _FIELDS,
    "bedrock": _FIELDS - {"model", "stream"} | {"anthropic_version", "anthropic_beta"},
    "vertex": _FIELDS - {"model"} | {"anthropic_version", "anthropic_beta"},
}
_VERSIONS: Final[dict[Provider, str]] = {
    "bedrock": "bedrock-2023-05-31",
    "vertex": "vertex-2023-10-16",
}
_THINKING_FIELDS: Final = {
    "enabled": ("type", "budget_tokens", "display"),
    "adaptive": ("type", "display"),
    "disabled": ("type",),
    "between_tools": ("type",),
}
_DISPLAYS: Final = ("summarized", "omitted")
_UPDATES_BETA: Final = "thinking-display-updates-"
_BUDGET_BETA: Final = "task-budgets-"
_LONG_OUTPUT_BETA: Final = "output-300k-"
_TOOLSET_BETA: Final = "mcp-client-2025-11-20"
_SAMPLING: Final = ("temperature", "top_p", "top_k")
_DEFAULTS: Final = {"temperature": 1, "top_p": 0.99}
"""What a model without sampling parameters lets pass."""

_MOST_CACHE_MARKS: Final = 4
_MANUAL: Final = (
    "Please consult our documentation at "
    "https://platform.claude.com/docs/en/build-with-claude/extended-thinking"
)


def validate(
    body: dict[str, Any], provider: Provider, model: str, betas: Collection[str] = ()
) -> None:
    """Raise `ApiError` for a request that the real API would not accept.

    `betas` are the values of `anthropic-beta`, of the header and of the body together.
    """
    _check_fields(body, provider, betas)
    _check_model(body, provider, model)
    can = capabilities.of(model)
    _check_limits(body, model, can, betas)
    _check_small_fields(body, betas)
    check_system(body.get("system"), betas)
    check_messages(body.get("messages"), betas)
    complexity = check_tools(body.get("tools"), betas)
    tools = body.get("tools") or []
    check_tool_choice(body.get("tool_choice"), names_of(tools), bool(tools))
    _check_forced(body, can)
    _check_thinking(body, can, betas)
    _check_sampling(body, can)
    _check_output_config(body, can, betas, complexity)
    complexity.check()
    if body.get("mcp_servers") is not None:
        _check_mcp_servers(body["mcp_servers"], tools, betas)
    _check_prefill(body, can)
    _check_cache_marks(body)


def betas_of(headers: dict[str, str], body: dict[str, Any]) -> frozenset[str]:
    """The values of `anthropic-beta`: Bedrock and Vertex take them in the body too."""
    named = headers.get("anthropic-beta", "")
    listed_in_body = body.get("anthropic_beta")
    more = [str(beta) for beta in listed_in_body] if isinstance(listed_in_body, list) else []
    return frozenset(beta for beta in (*map(str.strip, named.split(",")), *more) if beta)


def _has_beta(betas: Collection[str], *starts: str) -> bool:
    return bool(starts) and any(beta.startswith(starts) for beta in betas)


def _check_fields(body: dict[str, Any], provider: Provider, betas: Collection[str]) -> None:
    for name in body.keys() - _PROVIDER_FIELDS[provider]:
        if not _has_beta(betas, *_BETA_FIELDS.get(name, ())):
            raise invalid(f"{name}: Extra inputs are not permitted")
    if (version := _VERSIONS.get(provider)) and body.get("anthropic_version") != version:
        raise invalid(f"anthropic_version: Input should be '{version}'")


def _check_model(body: dict[str, Any], provider: Provider, model: str) -> None:
    if provider == "anthropic" and "model" not in body:
        raise invalid("model: Field required")
    if not isinstance(body.get("model", ""), str):
        raise invalid("model: Input should be a valid string")
    if not model:
        raise invalid("model: String should have at least 1 character")
    unknown = "claude" not in model and "demo" not in model
    if unknown or (provider == "anthropic" and capabilities.is_retired(model)):
        raise ApiError(404, f"model: {model}")


def _check_limits(
    body: dict[str, Any], model: str, can: Capabilities, betas: Collection[str]
) -> None:
    if body.get("max_tokens") is None:
        raise invalid("max_tokens: Field required")
    check_number("max_tokens", body["max_tokens"], 0, None, integer=True)
    most = None if _has_beta(betas, _LONG_OUTPUT_BETA) else can.max_tokens
    if most is not None and body["max_tokens"] > most:
        raise invalid(
            f"max_tokens: {body['max_tokens']} > {most}, which is the maximum allowed number of "
            f"output tokens for {model}"
        )
    for name in ("temperature", "top_p"):
        if body.get(name) is not None:
            check_number(name, body[name], 0, 1)
    if body.get("top_k") is not None:
        check_number("top_k", body["top_k"], 0, None, integer=True)
    if not isinstance(body.get("stream", False), bool):
        raise invalid("stream: Input should be a valid boolean")
    stops = body.get("stop_sequences") or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise invalid("stop_sequences: Input should be a valid array of strings")
    if not all(stop.strip() for stop in stops):
        raise invalid("stop_sequences: each stop sequence must contain non-whitespace")


def _check_small_fields(body: dict[str, Any], betas: Collection[str]) -> None:
    if (metadata := body.get("metadata")) is not None:
        user = check_object("metadata", metadata, ("user_id",)).get("user_id")
        if user is not None:
            check_string("metadata.user_id", user)
    if body.get("service_tier") is not None:
        check_choice("service_tier", body["service_tier"], ("auto", "standard_only"))
    if body.get("speed") is not None:
        check_choice("speed", body["speed"], ("standard", "fast"))
    if not isinstance(container := body.get("container"), str | None):
        check_object("container", container, ("id", "skills"))
    if (management := body.get("context_management")) is not None:
        edits = check_object("context_management", management, ("edits",)).get("edits", [])
        if not isinstance(edits, list):
            raise invalid("context_management.edits: Input should be a valid list")
    if body.get("cache_control") is not None:
        check_cache_control("body", body["cache_control"], betas)


def _check_forced(body: dict[str, Any], can: Capabilities) -> None:
    kind = (body.get("tool_choice") or {}).get("type")
    if kind in ("any", "tool") and not can.forced_tools:
        raise invalid('tool_choice: type "tool" and "any" are not supported for this model.')


def _check_thinking(body: dict[str, Any], can: Capabilities, betas: Collection[str]) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind not in _THINKING_FIELDS:
        raise invalid("thinking: Input tag does not match 'adaptive', 'disabled', 'enabled'")
    check_names(f"thinking.{kind}", thinking, _THINKING_FIELDS[kind])
    displays = (*_DISPLAYS, "updates") if _has_beta(betas, _UPDATES_BETA) else _DISPLAYS
    if thinking.get("display") is not None:
        check_choice(f"thinking.{kind}.display", thinking["display"], displays)
    if kind == "enabled":
        _check_budget(thinking.get("budget_tokens"), body["max_tokens"])
    _check_thinking_kind(kind, can)
    if kind in ("enabled", "adaptive"):
        _check_sampling_while_thinking(body)
    if kind == "enabled":
        check_thinking_in_rounds(body["messages"], _MANUAL)


def _check_thinking_kind(kind: str, can: Capabilities) -> None:
    if kind in can.thinking:
        return
    if kind == "adaptive":
        raise invalid("adaptive thinking is not supported on this model")
    if kind == "disabled" and "between_tools" in can.thinking:
        raise invalid(
            '"thinking.type.disabled" is not supported for this model. To turn thinking off on '
            'this model, send "thinking": {"type": "between_tools"}.'
        )
    raise invalid(
        f'"thinking.type.{kind}" is not supported for this model. Use "thinking.type.adaptive" and '
        '"output_config.effort" to control thinking behavior.'
    )


def _check_budget(budget: Any, max_tokens: int) -> None:
    if budget is None:
        raise invalid("thinking.enabled.budget_tokens: Field required")
    check_number("thinking.enabled.budget_tokens", budget, 1024, None, integer=True)
    if budget >= max_tokens:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_sampling_while_thinking(body: dict[str, Any]) -> None:
    if body.get("temperature", 1) not in (1, None):
        when = "when thinking is enabled or in adaptive mode"
        raise invalid(f"`temperature` may only be set to 1 {when}. {_MANUAL}")
    if body.get("top_k") is not None:
        raise invalid(f"`top_k` must be unset when thinking is enabled. {_MANUAL}")
    if body.get("top_p") is not None and body["top_p"] < 0.95:
        limit = "must be greater than or equal to 0.95 or unset when thinking is enabled"
        raise invalid(f"`top_p` {limit}. {_MANUAL}")
    if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        raise invalid("Thinking may not be enabled when tool_choice forces tool use.")


def _check_sampling(body: dict[str, Any], can: Capabilities) -> None:
    given = {name: body[name] for name in _SAMPLING if body.get(name) is not None}
    if not given:
        return
    if not can.sampling:
        for name, value in given.items():
            if name == "top_k" or value < _DEFAULTS[name]:
                raise invalid(f"`{name}` is deprecated for this model.")
    elif can.exclusive_sampling and "temperature" in given and "top_p" in given:
        raise invalid(
            "`temperature` and `top_p` cannot both be specified for this model. "
            "Please use only one."
        )


def _check_output_config(
    body: dict[str, Any], can: Capabilities, betas: Collection[str], complexity: Complexity
) -> None:
    config = body.get("output_config")
    if config is not None:
        names = ("effort", "format", "task_budget")
        allowed = names if _has_beta(betas, _BUDGET_BETA) else names[:2]
        check_object("output_config", config, allowed)
        if config.get("effort") is not None:
            _check_effort(config["effort"], body, can)
    for place, container in (("output_config.format", config), ("output_format", body)):
        output_format = (container or {}).get(place.rpartition(".")[2])
        if output_format is not None:
            _check_format(place, output_format, complexity)
            _check_beside_format(body)


def _check_effort(effort: Any, body: dict[str, Any], can: Capabilities) -> None:
    check_choice("output_config.effort", effort, ALL_EFFORTS)
    if not can.efforts:
        raise invalid("This model does not support the effort parameter.")
    if effort not in can.efforts:
        raise invalid(
            f"This model does not support effort level '{effort}'. "
            f"Supported levels: {', '.join(sorted(can.efforts))}."
        )
    thinking = (body.get("thinking") or {}).get("type")
    if thinking == "disabled" and effort in ("xhigh", "max") and not can.effort_without_thinking:
        raise invalid(
            f"output_config.effort '{effort}' is not supported for this model when thinking is "
            "disabled."
        )


def _check_format(place: str, output_format: Any, complexity: Complexity) -> None:
    if not isinstance(output_format, dict) or output_format.get("type") != "json_schema":
        raise invalid(f"{place}.type: Input should be 'json_schema'")
    check_names(place, output_format, ("type", "schema"))
    schema = output_format.get("schema")
    if not isinstance(schema, dict):
        raise invalid(f"{place}.schema: Field required")
    check_keys(f"{place}.schema", schema)
    check_strict(f"{place}.schema", schema)
    complexity.add(schema)


def _check_beside_format(body: dict[str, Any]) -> None:
    for message in body["messages"]:
        for block in message["content"] if isinstance(message.get("content"), list) else ():
            cites = block["type"] in ("document", "search_result")
            if cites and (block.get("citations") or {}).get("enabled"):
                raise invalid("Citations are not supported with structured outputs.")


def _check_mcp_servers(servers: Any, tools: list[Any], betas: Collection[str]) -> None:
    if not isinstance(servers, list):
        raise invalid("mcp_servers: Input should be a valid list")
    fields = ("type", "name", "url", "authorization_token", "tool_configuration")
    for index, server in enumerate(servers):
        place = f"mcp_servers.{index}"
        check_object(place, server, fields)
        check_choice(f"{place}.type", server.get("type"), ("url",))
        for name in ("name", "url"):
            check_string(f"{place}.{name}", server.get(name))
    used = [tool.get("mcp_server_name") for tool in tools if tool.get("type") == "mcp_toolset"]
    names = [server["name"] for server in servers]
    for name in used:
        if name not in names:
            raise invalid(f"MCP server '{name}' not found in mcp_servers")
    if _has_beta(betas, _TOOLSET_BETA):
        for name in names:
            if used.count(name) != 1:
                raise invalid(f"MCP server '{name}' must be referenced by exactly one mcp_toolset")


def _check_prefill(body: dict[str, Any], can: Capabilities) -> None:
    """A last message that ends with a server tool's block is no prefill: the turn was paused."""
    message = body["messages"][-1]
    if can.prefill or message["role"] != "assistant":
        return
    content = message["content"]
    last = content[-1]["type"] if content and isinstance(content, list) else "text"
    if last in ("text", "thinking", "redacted_thinking"):
        raise invalid(
            "This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )


def _check_cache_marks(body: dict[str, Any]) -> None:
    count, short = 0, False
    for place, index, mark in _marks(body):
        count += 1
        hour = mark.get("ttl") == "1h"
        if hour and short:
            raise invalid(
                f"{place}.{index}.cache_control.ttl: a ttl='1h' cache_control block must not come "
                "after a ttl='5m' cache_control block. Note that blocks are processed in the "
                "following order: tools, system, messages."
            )
        short = short or not hour
    if body.get("cache_control"):
        last = body["messages"][-1]["content"]
        count += not (isinstance(last, list) and last and last[-1].get("cache_control"))
    if count > _MOST_CACHE_MARKS:
        most = f"A maximum of {_MOST_CACHE_MARKS} blocks with cache_control may be provided."
        raise invalid(f"{most} Found {count}.")


def _marks(body: dict[str, Any]) -> Iterator[tuple[str, int, Block]]:
    """Where the cache marks are, in the order in which the API takes them, and what they say."""
    for index, tool in enumerate(body.get("tools") or ()):
        if mark := tool.get("cache_control"):
            yield "tools", index, mark
    system = body.get("system")
    for index, block in enumerate(system if isinstance(system, list) else ()):
        if mark := block.get("cache_control"):
            yield "system", index, mark
    for number, message in enumerate(body["messages"]):
        content = message.get("content")
        if isinstance(content, list):
            for index, block in enumerate(content):
                if mark := block.get("cache_control"):
                    yield f"messages.{number}.content", index, mark
