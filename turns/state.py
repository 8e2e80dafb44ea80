"""What a turn needs of the server, made once by `main.py`."""

from __future__ import annotations

from dataclasses import dataclass

from auth import KeyBook
from claude_cli import ClaudeEngine, ModelCatalogue
from config.credentials import Credentials
from config.settings import Settings
from rate_limiter import RateLimiter
from session_manager import SessionManager
from tools import Agents, McpServers, ToolPolicy, Workspaces
from turns.approvals import Approvals
from turns.background import BackgroundJobs
from turns.bodies import Bodies
from turns.budgets import Budgets
from turns.conversations import ConversationsAtWork
from turns.embeddings import Embeddings
from turns.images import ImageFetcher
from turns.metrics import Metrics
from turns.seed_cache import SeedCache
from turns.stored_bytes import StoredBytes
from turns.tool_stats import ToolStats
from turns.usage import UsageRecorder


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that lives as long as the app; kept as `app.state.gateway`.

    `reachable_without_key`: other computers may connect without a key. Nothing that touches
    the host, such as Claude Code's built-in tools, may be allowed then.
    """

    settings: Settings
    credentials: Credentials
    engine: ClaudeEngine
    catalogue: ModelCatalogue
    images: ImageFetcher
    embeddings: Embeddings
    limiter: RateLimiter
    sessions: SessionManager
    background: BackgroundJobs
    conversations_at_work: ConversationsAtWork
    stored_bytes: StoredBytes
    seeds: SeedCache
    tools: ToolPolicy
    tool_stats: ToolStats
    keys: KeyBook
    usage: UsageRecorder
    budgets: Budgets
    metrics: Metrics
    bodies: Bodies
    workspaces: Workspaces
    mcp_servers: McpServers
    agents: Agents
    approvals: Approvals
    reachable_without_key: bool = False
