"""Refuses tools and tool choices that the real API refuses.

What was accepted is remembered by its bytes, so that a client's usual tools cost nothing.
"""

import marshal
import re
from collections import OrderedDict
from collections.abc import Collection
from typing import Any, Final

from demo.errors import invalid
from demo.fields import check_cache_control, check_choice, check_flag, check_names
from demo.schema_rules import Complexity, check_input_schema, check_strict

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
_FLAGS: Final = ("defer_loading", "eager_input_streaming", "strict")
_EVERY: Final = "type name cache_control allowed_callers defer_loading strict"
_CLIENT: Final = f"{_EVERY} input_examples"
_DISPLAY: Final = f"{_CLIENT} display_height_px display_width_px display_number"
_SEARCH: Final = f"{_EVERY} allowed_domains blocked_domains max_uses user_location"
_FETCH: Final = (
    f"{_EVERY} allowed_domains blocked_domains max_uses citations max_content_tokens url_sources"
)
_MEMBERS: Final = "type cache_control configs"
SERVER_TOOLS: Final[dict[str, tuple[str | None, str]]] = {
    "bash_20241022": ("bash", _CLIENT),
    "bash_20250124": ("bash", _CLIENT),
    "text_editor_20241022": ("str_replace_editor", _CLIENT),
    "text_editor_20250124": ("str_replace_editor", _CLIENT),
    "text_editor_20250429": ("str_replace_based_edit_tool", _CLIENT),
    "text_editor_20250728": ("str_replace_based_edit_tool", f"{_CLIENT} max_characters"),
    "memory_20250818": ("memory", _CLIENT),
    "computer_20241022": ("computer", _DISPLAY),
    "computer_20250124": ("computer", _DISPLAY),
    "computer_20251124": ("computer", f"{_DISPLAY} enable_zoom"),
    "web_search_20250305": ("web_search", _SEARCH),
    "web_search_20260209": ("web_search", _SEARCH),
    "web_search_20260318": ("web_search", f"{_SEARCH} response_inclusion"),
    "web_fetch_20250910": ("web_fetch", _FETCH),
    "web_fetch_20260209": ("web_fetch", _FETCH),
    "web_fetch_20260309": ("web_fetch", f"{_FETCH} use_cache"),
    "web_fetch_20260318": ("web_fetch", f"{_FETCH} use_cache response_inclusion"),
    "code_execution_20250522": ("code_execution", _EVERY),
    "code_execution_20250825": ("code_execution", _EVERY),
    "code_execution_20260120": ("code_execution", _EVERY),
    "code_execution_20260521": ("code_execution", _EVERY),
    "tool_search_tool_regex_20251119": ("tool_search_tool_regex", _EVERY),
    "tool_search_tool_regex": ("tool_search_tool_regex", _EVERY),
    "tool_search_tool_bm25_20251119": ("tool_search_tool_bm25", _EVERY),
    "tool_search_tool_bm25": ("tool_search_tool_bm25", _EVERY),
    "advisor_20260301": ("advisor", f"{_EVERY} model caching max_tokens max_uses"),
    "browser_toolset_20260801": (None, _MEMBERS),
    "computer_toolset_20260801": (None, _MEMBERS),
    "mcp_toolset": (None, f"{_MEMBERS} mcp_server_name default_config tools"),
}
"""Tools that the API knows by type: the name each must have, and its fields."""

_BETAS: Final = {
    "computer_2": "computer-use-",
    "mcp_toolset": "mcp-client-",
    "advisor_": "advisor-tool-",
}
_CHOICE_FIELDS: Final = {
    "auto": ("type", "disable_parallel_tool_use"),
    "any": ("type", "disable_parallel_tool_use"),
    "tool": ("type", "name", "disable_parallel_tool_use"),
    "none": ("type",),
}
_REMEMBERED: Final = 256
_accepted: OrderedDict[bytes, Complexity] = OrderedDict()


def check_tools(tools: Any, betas: Collection[str]) -> Complexity:
    """Raise the API's error for a tool; return what the strict ones add up to."""
    if tools is None:
        return Complexity()
    if not isinstance(tools, list):
        raise invalid("tools: Input should be a valid array")
    key = marshal.dumps((tools, *sorted(betas)))
    known = _accepted.get(key)
    if known is None:
        known = _accepted[key] = _looked_at(tools, betas)
        if len(_accepted) > _REMEMBERED:
            _accepted.popitem(last=False)
    return Complexity(known.tools, known.optional, known.unions, known.nodes)


def _looked_at(tools: list[Any], betas: Collection[str]) -> Complexity:
    complexity = Complexity()
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise invalid(f"tools.{index}: Input should be a valid dictionary")
        kind = tool.get("type")
        if kind is None or kind == "custom":
            _check_custom(f"tools.{index}.custom", tool, betas)
            if tool.get("strict"):
                complexity.tools += 1
                complexity.add(tool["input_schema"])
        else:
            _check_known(index, kind, tool, betas)
    names = names_of(tools)
    if len(set(names)) < len(names):
        raise invalid("tools: Tool names must be unique.")
    return complexity


def names_of(tools: list[Any]) -> list[str]:
    """The names of all tools that have one; a toolset has none."""
    return [tool["name"] for tool in tools if tool.get("name") is not None]


def _check_custom(place: str, tool: dict[str, Any], betas: Collection[str]) -> None:
    check_names(place, tool, _TOOL_FIELDS)
    for name in ("name", "input_schema"):
        if name not in tool:
            raise invalid(f"{place}.{name}: Field required")
    if not isinstance(tool["name"], str) or not _TOOL_NAME.fullmatch(tool["name"]):
        pattern = f"^{_TOOL_NAME.pattern}$"
        raise invalid(f"{place}.name: String should match pattern '{pattern}'")
    if not isinstance(tool.get("description", ""), str):
        raise invalid(f"{place}.description: Input should be a valid string")
    for name in _FLAGS:
        check_flag(f"{place}.{name}", tool.get(name))
    check_cache_control(place, tool.get("cache_control"), betas)
    schema = tool["input_schema"]
    if not isinstance(schema, dict):
        raise invalid(f"{place}.input_schema: Input should be a valid dictionary")
    if "type" not in schema:
        raise invalid(f"{place}.input_schema.type: Field required")
    if schema["type"] != "object":
        raise invalid(f"{place}.input_schema.type: Input should be 'object'")
    check_input_schema(f"{place}.input_schema", schema)
    if tool.get("strict"):
        check_strict(place, schema)


def _check_known(index: int, kind: Any, tool: dict[str, Any], betas: Collection[str]) -> None:
    needed = next((beta for start, beta in _BETAS.items() if str(kind).startswith(start)), None)
    is_open = needed is None or any(beta.startswith(needed) for beta in betas)
    if kind not in SERVER_TOOLS or not is_open:
        tags = ", ".join(f"'{tag}'" for tag in sorted((*SERVER_TOOLS, "custom")))
        raise invalid(
            f"tools.{index}: Input tag '{kind}' found using 'type' does not match any of the "
            f"expected tags: {tags}"
        )
    place = f"tools.{index}.{kind}"
    name, fields = SERVER_TOOLS[kind]
    check_names(place, tool, fields.split())
    if name is not None:
        check_choice(f"{place}.name", tool.get("name"), (name,))
    check_cache_control(place, tool.get("cache_control"), betas)
    if tool.get("allowed_domains") and tool.get("blocked_domains"):
        raise invalid(f"{place}: Only one of `allowed_domains` or `blocked_domains` may be used.")


def check_tool_choice(choice: Any, names: list[str], has_tools: bool) -> None:
    """Raise the API's error for a tool choice that does not fit the tools."""
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind not in _CHOICE_FIELDS:
        raise invalid("tool_choice: Input tag does not match 'auto', 'any', 'tool', 'none'")
    check_names(f"tool_choice.{kind}", choice, _CHOICE_FIELDS[kind])
    check_flag(
        f"tool_choice.{kind}.disable_parallel_tool_use", choice.get("disable_parallel_tool_use")
    )
    if not has_tools and kind != "none":
        raise invalid("tool_choice: tool_choice may only be specified while providing tools.")
    if kind == "tool" and choice.get("name") not in names:
        raise invalid(f"Tool '{choice.get('name')}' not found in provided tools")
