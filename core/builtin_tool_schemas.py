"""The inputs of Claude Code's built-in tools: the JSON Schemas that the model receives, less their
prose.

`tests/engine/contract/test_tool_catalogue.py` compares them with what the real CLI sends.
"""

from __future__ import annotations

from core.conversation import JsonObject

SCHEMAS: dict[str, JsonObject] = {
    "Agent": {
        "type": "object",
        "properties": {
            "description": {"type": "string"},
            "prompt": {"type": "string"},
            "subagent_type": {"type": "string"},
            "model": {"type": "string", "enum": ["sonnet", "opus", "haiku", "fable"]},
            "effort": {"type": "string", "enum": ["low", "medium", "high", "xhigh", "max"]},
            "run_in_background": {"type": "boolean"},
            "isolation": {"type": "string", "enum": ["worktree", "remote"]},
        },
        "required": ["description", "prompt"],
        "additionalProperties": False,
    },
    "Bash": {
        "type": "object",
        "properties": {
            "command": {"type": "string"},
            "timeout": {"type": "number"},
            "description": {"type": "string"},
            "run_in_background": {"type": "boolean"},
            "dangerouslyDisableSandbox": {"type": "boolean"},
        },
        "required": ["command"],
        "additionalProperties": False,
    },
    "Edit": {
        "type": "object",
        "properties": {
            "file_path": {"type": "string"},
            "old_string": {"type": "string"},
            "new_string": {"type": "string"},
            "replace_all": {"default": False, "type": "boolean"},
        },
        "required": ["file_path", "old_string", "new_string"],
        "additionalProperties": False,
    },
    "Glob": {
        "type": "object",
        "properties": {"pattern": {"type": "string"}, "path": {"type": "string"}},
        "required": ["pattern"],
        "additionalProperties": False,
    },
    "Grep": {
        "type": "object",
        "properties": {
            "pattern": {"type": "string"},
            "path": {"type": "string"},
            "glob": {"type": "string"},
            "output_mode": {"type": "string", "enum": ["content", "files_with_matches", "count"]},
            "-B": {"type": "number"},
            "-A": {"type": "number"},
            "-C": {"type": "number"},
            "context": {"type": "number"},
            "-n": {"type": "boolean"},
            "-i": {"type": "boolean"},
            "-o": {"type": "boolean"},
            "type": {"type": "string"},
            "head_limit": {"type": "number"},
            "offset": {"type": "number"},
            "multiline": {"type": "boolean"},
        },
        "required": ["pattern"],
        "additionalProperties": False,
    },
    "NotebookEdit": {
        "type": "object",
        "properties": {
            "notebook_path": {"type": "string"},
            "cell_id": {"type": "string"},
            "new_source": {"type": "string"},
            "cell_type": {"type": "string", "enum": ["code", "markdown"]},
            "edit_mode": {"type": "string", "enum": ["replace", "insert", "delete"]},
        },
        "required": ["notebook_path", "new_source"],
        "additionalProperties": False,
    },
    "Read": {
        "type": "object",
        "properties": {
            "file_path": {"type": "string"},
            "offset": {"type": "integer", "minimum": 0, "maximum": 9007199254740991},
            "limit": {"type": "integer", "exclusiveMinimum": 0, "maximum": 9007199254740991},
            "pages": {"type": "string"},
            "allow_large": {"type": "boolean"},
        },
        "required": ["file_path"],
        "additionalProperties": False,
    },
    "WebFetch": {
        "type": "object",
        "properties": {
            "url": {"type": "string", "format": "uri"},
            "prompt": {"type": "string"},
            "offset": {"type": "integer", "minimum": 0, "maximum": 9007199254740991},
        },
        "required": ["url", "prompt"],
        "additionalProperties": False,
    },
    "WebSearch": {
        "type": "object",
        "properties": {
            "query": {"type": "string", "minLength": 2},
            "allowed_domains": {"type": "array", "items": {"type": "string"}},
            "blocked_domains": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
    "Write": {
        "type": "object",
        "properties": {"file_path": {"type": "string"}, "content": {"type": "string"}},
        "required": ["file_path", "content"],
        "additionalProperties": False,
    },
}
