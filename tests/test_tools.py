"""What a request is granted, by settings, key, session and what an operator set."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from auth import LOCAL, Principal, load_keyring
from config.sandbox import missing_for_sandbox
from config.settings import Settings, SettingsError
from core.builtin_tools import BY_NAME, ToolRequest
from core.errors import GatewayError, PermissionDenied
from core.turn import ToolGrant
from stores.memory import MemoryStore
from stores.protocols import NewSession, StoreLimits, ToolRules
from tools import SERVER, ToolPolicy

ALICE = Principal("alice", "aaaaaaaa")
DEFAULT = ("Read", "Glob", "Grep", "WebSearch")


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore(StoreLimits()) as memory:
        yield memory


def policy(store: MemoryStore, *, is_exposed: bool = False, **settings: Any) -> ToolPolicy:
    chosen = Settings.model_construct(**settings)
    return ToolPolicy(chosen, store, {"local", "alice"}, is_exposed=is_exposed)


async def granted(
    policy: ToolPolicy,
    *tools: str,
    principal: Principal = LOCAL,
    session_id: str | None = None,
    **tool_request: Any,
) -> ToolGrant:
    asked = ToolRequest(tools, not tools, **tool_request)
    return await policy.grant(principal, asked, session_id)


async def refused(policy: ToolPolicy, *tools: str, **how: Any) -> tuple[int, str | None, str]:
    with pytest.raises(GatewayError) as caught:
        await granted(policy, *tools, **how)
    return caught.value.status, caught.value.code, caught.value.message


async def test_by_default_reading_and_searching_are_allowed(store: MemoryStore) -> None:
    own = await granted(policy(store))
    assert own == ToolGrant(DEFAULT, DEFAULT, max_turns=50)
    assert (await granted(policy(store), "Read")).tools == ("Read",)
    assert (await granted(policy(store), without=("Grep", "WebSearch"))).tools == ("Read", "Glob")


async def test_a_tool_that_is_not_allowed_is_refused_with_those_that_are(
    store: MemoryStore,
) -> None:
    assert await refused(policy(store), "Read", "Bash") == (
        403,
        "tools_not_allowed",
        "The tool Bash (run_command) is not allowed here. Allowed: Read, Glob, Grep, WebSearch.",
    )
    own = policy(store, disallowed_tools=("read_file",))
    assert (await refused(own, "Read"))[2].startswith("The tool Read (read_file) is disallowed")


async def test_an_operators_rules_come_with_the_tool(store: MemoryStore) -> None:
    rules = ("run_command(git *)", "Bash(ls *)", "Read")
    own = await granted(policy(store, allowed_tools=rules, disallowed_tools=("Bash(git push*)",)))
    assert own.tools == ("Read", "Bash")
    assert own.allow == ("Read", "Bash(git *)", "Bash(ls *)")
    assert own.deny == ("Bash(git push*)",)


async def test_all_tools_can_be_allowed_and_none(store: MemoryStore) -> None:
    assert (await granted(policy(store, allowed_tools=("all",)))).tools == tuple(BY_NAME)
    off = policy(store, allowed_tools=("none",))
    for how in ((), ("Read",)):
        status, _, message = await refused(off, *how)
        assert (status, message) == (
            403,
            "Claude Code's built-in tools are off on this server (ALLOWED_TOOLS=none).",
        )
    with pytest.raises(PermissionDenied, match="off on this server"):
        await off.set_rules(SERVER, ToolRules(("Read",)))


async def test_mcp_servers_need_no_tool_but_can_be_disallowed(store: MemoryStore) -> None:
    off = policy(store, allowed_tools=("none",), disallowed_tools=("mcp__mail",))
    await off.set_rules("alice", ToolRules(None, ("mcp__calc",)))
    own = await off.grant(LOCAL, ToolRequest(mcp_servers=("calc",)), None)
    assert (own.tools, own.deny) == ((), ("mcp__mail",))
    with pytest.raises(PermissionDenied, match="MCP server mail is disallowed"):
        await off.grant(LOCAL, ToolRequest(mcp_servers=("calc", "mail")), None)
    with pytest.raises(PermissionDenied, match="MCP server calc is disallowed"):
        await off.grant(ALICE, ToolRequest(mcp_servers=("calc",)), None)


async def test_an_exposed_server_refuses_everything(store: MemoryStore) -> None:
    exposed = policy(store, is_exposed=True)
    for tool_request in (
        ToolRequest(all_allowed=True),
        ToolRequest(("Read",)),
        ToolRequest(mcp_servers=("a",)),
    ):
        with pytest.raises(PermissionDenied, match="reached from elsewhere without an API key"):
            await exposed.grant(LOCAL, tool_request, None)
    with pytest.raises(PermissionDenied, match="Operator actions are disabled"):
        exposed.check_operator(LOCAL)


async def test_a_key_has_its_own_rules(store: MemoryStore) -> None:
    own = policy(store)
    assert (
        "Your API key may not"
        in (await refused(own, principal=Principal("alice", "a", builtin_tools=False)))[2]
    )
    more = Principal("alice", "a", allowed_tools=("Bash",), disallowed_tools=("Bash(rm *)",))
    assert await granted(own, principal=more) == ToolGrant(
        ("Bash",), ("Bash",), ("Bash(rm *)",), max_turns=50
    )
    nothing = Principal("alice", "a", allowed_tools=())
    assert (await refused(own, principal=nothing))[2] == "No tool is allowed here."


async def test_the_nearest_list_counts_and_what_is_disallowed_anywhere_stays_so(
    store: MemoryStore,
) -> None:
    own = policy(store, disallowed_tools=("WebFetch",))
    await own.set_rules(SERVER, ToolRules(("Read", "Write", "WebFetch"), ("Glob",)))
    assert (await granted(own)).tools == ("Read", "Write")
    await own.set_rules("alice", ToolRules(("Bash", "Glob", "WebFetch")))
    assert (await granted(own, principal=ALICE)).tools == ("Bash",)
    assert (await granted(own)).tools == ("Read", "Write")
    await store.create(NewSession("alice", "s"))
    await own.set_session_rules("alice", "s", ToolRules(("Edit",), ("Bash",)))
    assert (await granted(own, principal=ALICE, session_id="s")).tools == ("Edit",)
    assert (await granted(own, principal=ALICE, session_id="not-yet")).tools == ("Bash",)
    await own.set_session_rules("alice", "s", ToolRules(None, ("Bash",)))
    assert (await refused(own, principal=ALICE, session_id="s"))[0] == 403
    await own.set_rules("alice", None)
    await own.set_rules(SERVER, None)
    assert (await granted(own, principal=ALICE)).tools == DEFAULT


async def test_limits_are_the_servers_at_most(store: MemoryStore) -> None:
    own = policy(store, max_turns=10, max_budget_usd=2.0)
    least = await granted(own, max_turns=3, max_budget_usd=0.5)
    assert (least.max_turns, least.max_budget_usd) == (3, 0.5)
    most = await granted(own)
    assert (most.max_turns, most.max_budget_usd) == (10, 2.0)
    assert await refused(own, max_turns=11) == (
        400,
        "invalid_value",
        "`max_turns` may be 10 at most on this server (MAX_TURNS).",
    )
    assert "(MAX_BUDGET_USD)" in (await refused(own, max_budget_usd=2.5))[2]
    assert (await granted(policy(store), max_budget_usd=99.0)).max_budget_usd == 99.0


def test_the_operator_is_who_works_here_or_has_a_key_that_says_so(store: MemoryStore) -> None:
    own = policy(store, operator_keys=("default", "bob"))
    for name in ("default", "bob"):
        own.check_operator(Principal(name, "aaaaaaaa"))
    own.check_operator(LOCAL)
    with pytest.raises(PermissionDenied, match="Only an operator's API key"):
        own.check_operator(ALICE)
    with pytest.raises(PermissionDenied):
        policy(store, operator_keys=("none",)).check_operator(Principal("default", "a"))


async def test_rules_are_set_only_for_keys_that_are_there(store: MemoryStore) -> None:
    own = policy(store)
    for setting in (
        own.set_rules("bob", ToolRules()),
        own.set_session_rules("bob", "s", ToolRules()),
        own.set_session_rules("alice", "s", ToolRules()),
    ):
        with pytest.raises(GatewayError) as caught:
            await setting
        assert caught.value.status == 404


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"allowed_tools": ("Frob",)},
            "ALLOWED_TOOLS: 'Frob' is not one of Claude Code's built-in tools: ",
        ),
        ({"allowed_tools": ("mcp__calc",)}, "ALLOWED_TOOLS: 'mcp__calc' needs no rule: "),
        ({"disallowed_tools": ("Frob",)}, "DISALLOWED_TOOLS: 'Frob' is not one of "),
    ],
)
def test_a_setting_that_names_no_tool_is_told_at_the_start(
    store: MemoryStore, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        policy(store, **settings)
    assert str(caught.value).startswith(sentence)


def test_a_keys_file_names_tools(tmp_path: Path) -> None:
    def keyring(**entry: Any) -> Principal | None:
        path = tmp_path / "keys.json"
        path.write_text(json.dumps({"alice": {"key": "sk-1", **entry}}))
        return load_keyring(Settings.model_construct(api_keys_file=path)).find(b"sk-1")

    alice = keyring(allowed_tools=["run_command(git *)"], disallowed_tools=["mcp__mail"])
    assert alice is not None
    assert alice.allowed_tools == ("Bash(git *)",)
    assert alice.disallowed_tools == ("mcp__mail",)
    with pytest.raises(SettingsError, match=r"^API_KEYS_FILE: alice\.allowed_tools: .*'Frob' is"):
        keyring(allowed_tools=["Frob"])


async def test_an_agents_rules_and_the_keys_narrow_each_other(store: MemoryStore) -> None:
    own = policy(store, allowed_tools=("Read", "Edit", "Bash(git *)", "Bash(make)"))
    rules = ("Read", "Bash(git *)", "Bash(rm *)")
    grant = await granted(own, "Read", "Bash", rules=rules, deny=("Bash(git push *)",))
    assert grant.allow == ("Read", "Bash(git *)")
    assert grant.deny == ("Bash(git push *)",)
    assert (await granted(own, "Bash", rules=("Bash",))).allow == ("Bash(git *)", "Bash(make)")
    wide = policy(store, allowed_tools=("Bash",))
    assert (await granted(wide, "Bash", rules=("Bash(ls *)",))).allow == ("Bash(ls *)",)
    status, code, message = await refused(own, "Bash", rules=("Bash(rm *)",))
    assert (status, code) == (403, "tools_not_allowed")
    assert message == "Bash(rm *) is not allowed here: Bash(git *), Bash(make) is."


async def test_what_is_asked_for_must_be_allowed_as_a_whole(store: MemoryStore) -> None:
    own = policy(store, allowed_tools=("Read", "Edit", "Bash(git *)"))
    grant = await granted(own, "Read", "Edit", rules=("Read",), ask=("Edit", "mcp__calc"))
    assert (grant.allow, grant.ask) == (("Read",), ("Edit", "mcp__calc"))
    every = await granted(own, ask=("Edit",))
    assert every.allow == ("Read", "Bash(git *)")
    assert (await refused(own, "Bash", ask=("Bash",)))[2].startswith("Only Bash(git *) is allowed")


async def test_without_a_sandbox_that_is_required_nobody_runs_commands(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    missing_for_sandbox.cache_clear()
    try:
        own = policy(store, allowed_tools=("Read", "Bash"), sandbox="required")
        assert (await granted(own)).tools == ("Read",)
        assert "SANDBOX=required" in (await refused(own, "Bash"))[2]
        assert (await granted(policy(store, allowed_tools=("Bash",)), "Bash")).tools == ("Bash",)
    finally:
        missing_for_sandbox.cache_clear()
