"""Refuses what the real API refuses, in its own words where they are known.

Here are the parameters; `content` looks at the messages.
Source: https://docs.anthropic.com/en/api/messages, the types of the `anthropic` package, and the
errors that users of the API quote.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from demo.content import check_messages, check_system
from demo.errors import ApiError, invalid
from demo.recording import Provider

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
        "billing_policy",
        "compaction",
        "context_management",
        "fallback_credit_token",
        "fallbacks",
        "mcp_servers",
        "output_format",
        "thread",
        "user_profile_id",
        "workspace_id",
    ]
)
_PROVIDER_FIELDS: Final[dict[Provider, frozenset[str]]] = {
    "anthropic": _FIELDS,
    "bedrock": _FIELDS - {"model", "stream"} | {"anthropic_version", "anthropic_beta"},
    "vertex": _FIELDS - {"model"} | {"anthropic_version", "anthropic_beta"},
}
_VERSIONS: Final[dict[Provider, str]] = {
    "bedrock": "bedrock-2023-05-31",
    "vertex": "vertex-2023-10-16",
}
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_DISPLAYS: Final = ("summarized", "omitted", "updates", None)
_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_TOOL_FIELDS: Final = frozenset(
    [
        "name",
        "description",
        "input_schema",
        "cache_control",
        "type",
        "allowed_callers",
        "defer_loading",
        "eager_input_streaming",
        "input_examples",
        "strict",
    ]
)
_CHOICE_FIELDS: Final = {
    "auto": {"type", "disable_parallel_tool_use"},
    "any": {"type", "disable_parallel_tool_use"},
    "tool": {"type", "name", "disable_parallel_tool_use"},
    "none": {"type"},
}
_MOST_CACHE_MARKS: Final = 4
_MANUAL: Final = (
    "Please consult our documentation at "
    "https://platform.claude.com/docs/en/build-with-claude/extended-thinking"
)


def validate(body: dict[str, Any], provider: Provider, model: str) -> None:
    """Raise `ApiError` for a request that the real API would not accept."""
    allowed = _PROVIDER_FIELDS[provider]
    for name in body:
        if name not in allowed:
            raise invalid(f"{name}: Extra inputs are not permitted")
    if (version := _VERSIONS.get(provider)) and body.get("anthropic_version") != version:
        raise invalid(f"anthropic_version: Input should be '{version}'")
    _check_model(body, provider, model)
    _check_limits(body)
    check_system(body.get("system"))
    check_messages(body.get("messages"))
    _check_tools(body)
    _check_thinking(body)
    _check_output_config(body.get("output_config"))
    _check_cache_marks(body)


def _check_model(body: dict[str, Any], provider: Provider, model: str) -> None:
    if provider == "anthropic" and "model" not in body:
        raise invalid("model: Field required")
    if not isinstance(body.get("model", ""), str):
        raise invalid("model: Input should be a valid string")
    if not model:
        raise invalid("model: String should have at least 1 character")
    if "claude" not in model and "demo" not in model:
        raise ApiError(404, f"model: {model}")


def _check_limits(body: dict[str, Any]) -> None:
    if body.get("max_tokens") is None:
        raise invalid("max_tokens: Field required")
    check_number("max_tokens", body["max_tokens"], 1, None, integer=True)
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


def check_number(
    name: str, value: object, least: float, most: float | None, *, integer: bool = False
) -> None:
    """Raise the API's error for a value that is not a number or out of its bounds."""
    kinds = (int,) if integer else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise invalid(f"{name}: Input should be a valid {'integer' if integer else 'number'}")
    assert isinstance(value, int | float)
    if value < least:
        raise invalid(f"{name}: Input should be greater than or equal to {least:g}")
    if most is not None and value > most:
        raise invalid(f"{name}: Input should be less than or equal to {most:g}")


def _check_tools(body: dict[str, Any]) -> None:
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        raise invalid("tools: Input should be a valid array")
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise invalid(f"tools.{index}: Input should be a valid dictionary")
        if tool.get("type") in (None, "custom"):
            _check_tool(f"tools.{index}.custom", tool)
    names = [tool.get("name") for tool in tools]
    if len(set(names)) < len(names):
        raise invalid("tools: Tool names must be unique.")
    _check_choice(body.get("tool_choice"), names)


def _check_tool(place: str, tool: dict[str, Any]) -> None:
    for name in tool:
        if name not in _TOOL_FIELDS:
            raise invalid(f"{place}.{name}: Extra inputs are not permitted")
    for name in ("name", "input_schema"):
        if name not in tool:
            raise invalid(f"{place}.{name}: Field required")
    if not isinstance(tool["name"], str) or not _TOOL_NAME.fullmatch(tool["name"]):
        pattern = f"^{_TOOL_NAME.pattern}$"
        raise invalid(f"{place}.name: String should match pattern '{pattern}'")
    if not isinstance(tool.get("description", ""), str):
        raise invalid(f"{place}.description: Input should be a valid string")
    schema = tool["input_schema"]
    if not isinstance(schema, dict):
        raise invalid(f"{place}.input_schema: Input should be a valid dictionary")
    if "type" not in schema:
        raise invalid(f"{place}.input_schema.type: Field required")
    if schema["type"] != "object":
        raise invalid(f"{place}.input_schema.type: Input should be 'object'")


def _check_choice(choice: Any, names: list[Any]) -> None:
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind not in _CHOICE_FIELDS:
        raise invalid("tool_choice: Input tag does not match 'auto', 'any', 'tool', 'none'")
    for name in choice:
        if name not in _CHOICE_FIELDS[kind]:
            raise invalid(f"tool_choice.{kind}.{name}: Extra inputs are not permitted")
    if not names and kind != "none":
        raise invalid("tool_choice: tool_choice may only be specified while providing tools.")
    if kind == "tool" and choice.get("name") not in names:
        raise invalid(f"Tool '{choice.get('name')}' not found in provided tools")


def _check_thinking(body: dict[str, Any]) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind not in ("enabled", "adaptive", "disabled", "between_tools"):
        raise invalid("thinking: Input tag does not match 'adaptive', 'disabled', 'enabled'")
    if thinking.get("display") not in _DISPLAYS:
        raise invalid("thinking.display: Input should be 'summarized' or 'omitted'")
    if kind == "enabled":
        _check_budget(thinking.get("budget_tokens"), body["max_tokens"])
    if kind in ("enabled", "adaptive"):
        _check_sampling_while_thinking(body)


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


def _check_output_config(config: Any) -> None:
    if config is None:
        return
    if not isinstance(config, dict):
        raise invalid("output_config: Input should be a valid dictionary")
    for name in config:
        if name not in ("effort", "format", "task_budget"):
            raise invalid(f"output_config.{name}: Extra inputs are not permitted")
    if config.get("effort") is not None and config["effort"] not in _EFFORTS:
        listed = ", ".join(f"'{effort}'" for effort in _EFFORTS[:-1])
        raise invalid(f"output_config.effort: Input should be {listed} or '{_EFFORTS[-1]}'")
    if config.get("format") is not None:
        _check_format(config["format"])


def _check_format(output_format: Any) -> None:
    place = "output_config.format"
    if not isinstance(output_format, dict) or output_format.get("type") != "json_schema":
        raise invalid(f"{place}.type: Input should be 'json_schema'")
    for name in output_format:
        if name not in ("type", "schema"):
            raise invalid(f"{place}.{name}: Extra inputs are not permitted")
    if not isinstance(output_format.get("schema"), dict):
        raise invalid(f"{place}.schema: Field required")


def _check_cache_marks(body: dict[str, Any]) -> None:
    count = sum(1 for block in _markable(body) if block.get("cache_control"))
    if count > _MOST_CACHE_MARKS:
        most = f"A maximum of {_MOST_CACHE_MARKS} blocks with cache_control may be provided."
        raise invalid(f"{most} Found {count}.")


def _markable(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from body.get("tools") or []
    system = body.get("system")
    yield from system if isinstance(system, list) else []
    for message in body["messages"]:
        content = message.get("content")
        yield from content if isinstance(content, list) else []
