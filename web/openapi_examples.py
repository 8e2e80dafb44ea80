"""An example for the body of every route, which runs as it is; and what the tags mean."""

from __future__ import annotations

from typing import Any

TAGS = {
    "chat": "OpenAI's chat completions: the way in for most clients.",
    "sessions": "Conversations that this server remembers.",
    "models": "What Claude Code offers, in OpenAI's form.",
    "usage": "What was used, by whom, and what is left.",
    "keys": "API keys that are made and revoked while the server runs. For operators.",
    "tools": "Claude Code's built-in tools, and who may use them.",
    "approvals": "Uses of tools that wait for a person.",
    "mcp": "MCP servers that requests may use.",
    "debug": "What would become of a request.",
    "auth": "How the server authenticates with Claude.",
    "pool": "What the Claude Code processes do.",
    "health": "For load balancers.",
    "metrics": "For Prometheus.",
    "about": "What this server is.",
    "responses": "OpenAI's Responses API.",
    "messages": "Anthropic's Messages API.",
    "completions": "OpenAI's legacy completions.",
    "absent": "What Claude has nothing for: passed on where set up, else refused with advice.",
}

SAID = {"type": "message", "role": "user", "content": "Say hello in one word."}
HELLO = [{"role": "user", "content": "Say hello in one word."}]

EXAMPLES: dict[tuple[str, str], Any] = {
    ("post", "/v1/chat/completions"): {"model": "sonnet", "messages": HELLO},
    ("post", "/v1/completions"): {"model": "sonnet", "prompt": "Say hello in one word."},
    ("post", "/v1/messages"): {"model": "sonnet", "max_tokens": 100, "messages": HELLO},
    ("post", "/v1/messages/count_tokens"): {"model": "sonnet", "messages": HELLO},
    ("post", "/v1/responses"): {"model": "sonnet", "input": "Say hello in one word."},
    ("post", "/v1/responses/compact"): {"model": "sonnet", "input": [SAID]},
    ("post", "/v1/responses/input_tokens"): {"model": "sonnet", "input": [SAID]},
    ("post", "/v1/conversations"): {"metadata": {"topic": "A test"}, "items": [SAID]},
    ("post", "/v1/conversations/{conversation_id}"): {"metadata": {"topic": "Another"}},
    ("post", "/v1/conversations/{conversation_id}/items"): {"items": [SAID]},
    ("post", "/v1/embeddings"): {"model": "text-embedding-3-small", "input": "hello"},
    ("post", "/v1/sessions"): {"system_prompt": "Be brief.", "metadata": {"title": "A test"}},
    ("post", "/v1/sessions/{session_id}/fork"): {"metadata": {"title": "Another way"}},
    ("post", "/v1/sessions/{session_id}/tell"): {"content": "Leave the tests alone."},
    ("post", "/v1/debug/request"): {"model": "sonnet", "messages": HELLO, "top_k": 5},
    ("post", "/v1/approvals/{approval_id}"): {"approve": True},
    ("post", "/v1/keys"): {"name": "alice", "operator": True, "usd_per_day": 5},
    ("patch", "/v1/keys/{name}"): {"usd_per_day": 10},
    ("put", "/v1/tools/config"): {"disallowed_tools": ["WebFetch"]},
    ("post", "/v1/mcp/servers"): {"name": "docs", "type": "http", "url": "https://mcp.example.com"},
}
