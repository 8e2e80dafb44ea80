"""Blocks of tools that the API itself runs, as they come back in a conversation's history."""

import re
from typing import Any, Final

from demo.blocks import RESULT_PREFIX
from demo.errors import invalid
from demo.fields import Block, check_object, check_string

SERVER_FIELDS: Final = {
    "server_tool_use": "id name input cache_control caller",
    "web_search_tool_result": "tool_use_id content cache_control caller",
    "web_fetch_tool_result": "tool_use_id content cache_control caller",
    "code_execution_tool_result": "tool_use_id content cache_control",
    "bash_code_execution_tool_result": "tool_use_id content cache_control",
    "text_editor_code_execution_tool_result": "tool_use_id content cache_control",
    "tool_search_tool_result": "tool_use_id content cache_control",
    "advisor_tool_result": "tool_use_id content cache_control",
    "mcp_tool_use": "id name input server_name cache_control",
    "mcp_tool_result": "tool_use_id content is_error cache_control",
}
RESULT_OF: Final = {
    "web_search": "web_search_tool_result",
    "web_fetch": "web_fetch_tool_result",
    "code_execution": "code_execution_tool_result",
    "bash_code_execution": "bash_code_execution_tool_result",
    "text_editor_code_execution": "text_editor_code_execution_tool_result",
    "tool_search_tool_regex": "tool_search_tool_result",
    "tool_search_tool_bm25": "tool_search_tool_result",
    "advisor": "advisor_tool_result",
}
_SERVER_ID: Final = re.compile(r"srvtoolu_[a-zA-Z0-9_]+")
_MCP_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")


def check_server_block(place: str, block: Block, _role: str) -> None:
    """Raise the API's error for a wrong server tool use or a wrong result of one."""
    kind = block["type"]
    place = f"{place}.{kind}"
    uses = kind.endswith("_use")
    key, pattern = (
        "id" if uses else "tool_use_id",
        _MCP_ID if kind.startswith("mcp") else _SERVER_ID,
    )
    if not pattern.fullmatch(check_string(f"{place}.{key}", block.get(key))):
        raise invalid(f"{place}.{key}: String should match pattern '^{pattern.pattern}$'")
    if uses:
        _check_use(place, block)
    elif kind == "web_search_tool_result":
        _check_search_results(place, block.get("content"))
    elif "content" not in block and kind != "mcp_tool_result":
        raise invalid(f"{place}.content: Field required")


def _check_use(place: str, block: Block) -> None:
    name = check_string(f"{place}.name", block.get("name"))
    if block["type"] == "server_tool_use" and name not in RESULT_OF:
        names = ", ".join(f"'{each}'" for each in RESULT_OF)
        raise invalid(f"{place}.name: Input should be one of {names}")
    if block["type"] == "mcp_tool_use":
        check_string(f"{place}.server_name", block.get("server_name"))
    if "input" not in block:
        raise invalid(f"{place}.input: Field required")
    check_object(f"{place}.input", block["input"])


def _check_search_results(place: str, content: Any) -> None:
    if isinstance(content, dict):
        check_string(f"{place}.content.error_code", content.get("error_code"))
        return
    if not isinstance(content, list):
        raise invalid(f"{place}.content: Input should be a valid list")
    for index, result in enumerate(content):
        where = f"{place}.content.{index}"
        fields = ("type", "url", "title", "encrypted_content", "page_age")
        check_object(where, result, fields)
        for name in fields[:-1]:
            check_string(f"{where}.{name}", result.get(name))
        if not result["encrypted_content"].startswith(RESULT_PREFIX):
            raise invalid(f"{where}: Invalid `encrypted_content` in `search_result` block")
