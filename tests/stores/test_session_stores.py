"""What every session store promises (stores/protocols.py): memory, SQLite and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import SessionConflict, SessionExists, SessionNotFound, TooManySessions
from stores.holders import holder_of, new_token
from stores.protocols import CompletedTurn, NewSession, ToolRules
from tests.support.store_bench import (
    DAY,
    IMAGE,
    NATIVE,
    START,
    Bench,
    MakeBench,
    add,
    answered,
    assistant,
    texts,
    turn,
    user,
)

ROOT = Path(__file__).parents[2]


async def test_native_blocks_come_back_as_they_were(bench: Bench) -> None:
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    done = CompletedTurn(0, NATIVE, answered(), "Be \x00 brief.", "request-1")
    written = await bench.store.write(lease, done)
    session, stored = await bench.other.read("a", "x")
    assert session == written
    assert [kept.message.content for kept in stored] == [m.content for m in NATIVE]
    assert [kept.message.role for kept in stored] == [m.role for m in NATIVE]
    assert stored[-1].answer == answered()
    assert stored[-1].message.model == "claude-sonnet-5"
    assert [kept.created_at for kept in stored] == [START] * 4
    assert session.system == "Be \x00 brief."
    assert [kept.request for kept in stored] == [None, None, None, "request-1"]
    assert (session.message_count, session.turn_count) == (4, 1)
    assert (session.usage, session.cost_usd) == (answered().usage, 0.5)
    assert session.bytes > 2 * len(IMAGE)


async def test_turns_add_up(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2")
    bench.clock.now += 60
    await add(bench.other, "a", "x", "3", "4")
    session = await bench.store.get("a", "x")
    assert await texts(bench.store, "a", "x") == ["1", "2", "3", "4"]
    assert (session.message_count, session.turn_count, session.cost_usd) == (4, 2, 1.0)
    assert session.usage == answered().usage + answered().usage
    assert (session.created_at, session.used_at) == (START, START + 60)
    assert session.expires_at == START + 60 + 3_600


async def test_a_turn_may_replace_the_end(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2", "3", "4")
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    before = lease.session.bytes
    await bench.store.write(lease, turn(2, user("three"), assistant("four")))
    session = await bench.store.get("a", "x")
    assert await texts(bench.store, "a", "x") == ["1", "2", "three", "four"]
    assert (session.message_count, session.turn_count) == (4, 3)
    assert session.bytes == before + len("threefour") - len("34")


async def test_nobody_sees_a_session_before_its_first_turn(bench: Bench) -> None:
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    assert lease.created
    assert await bench.other.page("a", 10) == []
    assert (await bench.other.stats("a")).active == 0
    with pytest.raises(SessionNotFound):
        await bench.other.get("a", "x")
    with pytest.raises(SessionNotFound):
        await bench.other.delete("a", "x")


async def test_a_turn_that_came_to_nothing_leaves_no_session(bench: Bench) -> None:
    await bench.store.acquire("a", "x", "t")
    await bench.store.release("a", "x", "t")
    again = await bench.other.acquire("a", "x", "u")
    assert again is not None
    assert again.created


async def test_a_lease_keeps_all_others_out_until_it_is_given_back(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2")
    assert await bench.store.acquire("a", "x", "t") is not None
    assert await bench.other.acquire("a", "x", "u") is None
    assert await bench.other.acquire("b", "x", "u") is not None
    await bench.other.release("a", "x", "u")  # not its own
    assert await bench.other.acquire("a", "x", "u") is None
    await bench.store.release("a", "x", "t")
    assert await bench.other.acquire("a", "x", "u") is not None


async def test_of_many_at_once_one_gets_the_lease(bench: Bench) -> None:
    stores = [bench.store, bench.other] * 10
    got = await asyncio.gather(*(s.acquire("a", "x", f"t{i}") for i, s in enumerate(stores)))
    assert sum(lease is not None for lease in got) == 1


async def test_a_lease_ends_unless_it_is_renewed(bench: Bench) -> None:
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    bench.clock.now += 14
    assert await bench.store.renew(lease.session.key, "t")
    bench.clock.now += 14
    assert await bench.other.acquire("a", "x", "u") is None
    bench.clock.now += 2
    taken = await bench.other.acquire("a", "x", "u")
    assert taken is not None
    assert not await bench.store.renew(lease.session.key, "t")


async def test_the_lease_of_a_dead_process_is_free_at_once(bench: Bench) -> None:
    """Of this machine: of another nobody knows, so its lease runs out by itself."""
    dead, living, elsewhere = await token_of_the_dead(), new_token(15), "0" * 12 + ".1.1.15000.x"
    for id, token in (("dead", dead), ("living", living), ("elsewhere", elsewhere)):
        assert await bench.store.acquire("a", id, token) is not None
    taken = await bench.other.acquire("a", "dead", "t")
    assert taken is not None
    assert await bench.other.acquire("a", "living", "t") is None
    assert await bench.other.acquire("a", "elsewhere", "t") is None
    assert not await bench.store.renew(taken.session.key, dead)
    await bench.other.write(taken, turn(0, user("1"), assistant("2")))
    assert await texts(bench.store, "a", "dead") == ["1", "2"]


async def token_of_the_dead() -> str:
    code = "from stores.holders import new_token; print(new_token(15))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output.decode().strip()


async def test_a_lease_from_the_future_locks_nobody_out(bench: Bench) -> None:
    """The clock was set back by an hour while a turn ran."""
    assert await bench.store.acquire("a", "x", new_token(15)) is not None
    bench.clock.now -= 3600
    assert await bench.other.acquire("a", "x", "t") is not None
    assert await bench.other.acquire("a", "x", new_token(15)) is None


def test_a_token_names_its_holder_and_cannot_be_guessed() -> None:
    tokens = {new_token(15) for _ in range(100)}
    assert len(tokens) == 100
    assert max(map(len, tokens)) <= 64
    holder = holder_of(tokens.pop())
    assert holder is not None
    assert (holder.pid, holder.lease_seconds) == (os.getpid(), 15)
    assert not holder.is_gone()
    assert replace(holder, began=holder.began - 1).is_gone()  # the id was given to another process
    assert holder_of("t") is None


async def test_what_a_key_stores_is_summed(bench: Bench) -> None:
    assert await bench.store.stored_bytes("a") == 0
    await add(bench.store, "a", "x", "1234", "567")
    await add(bench.store, "a", "y", "12", "3")
    await add(bench.store, "b", "x", "1", "2")
    weights = [(await bench.store.get("a", id)).bytes for id in ("x", "y")]
    assert await bench.other.stored_bytes("a") == sum(weights) > 10
    await bench.store.delete("a", "x")
    assert await bench.other.stored_bytes("a") == weights[1]


async def test_a_ping_writes_and_leaves_nothing(bench: Bench) -> None:
    await bench.store.ping()
    await bench.other.ping()
    assert await bench.store.page("", 10) == []
    assert not await bench.store.existing("", ["probe"])


async def test_a_turn_whose_lease_was_lost_changes_nothing(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2")
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    bench.clock.now += 16
    await add(bench.other, "a", "x", "3", "4")
    with pytest.raises(SessionConflict):
        await bench.store.write(lease, turn(0, user("5"), assistant("6")))
    with pytest.raises(SessionConflict):
        await bench.store.clear(lease)
    await bench.store.release("a", "x", "t")
    assert await texts(bench.store, "a", "x") == ["1", "2", "3", "4"]
    assert (await bench.store.get("a", "x")).turn_count == 2


async def test_a_session_that_was_deleted_meanwhile_is_not_written(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2")
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    await bench.other.delete("a", "x")
    with pytest.raises(SessionConflict):
        await bench.store.write(lease, turn(2, user("3"), assistant("4")))
    assert await bench.store.page("a", 10) == []


async def test_owners_see_nothing_of_each_other(bench: Bench) -> None:
    await add(bench.store, "a", "x", "mine", "yes")
    await add(bench.store, "b", "x", "theirs", "no")
    assert await texts(bench.store, "a", "x") == ["mine", "yes"]
    await bench.store.delete("a", "x")
    assert await texts(bench.store, "b", "x") == ["theirs", "no"]
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: bench.store.get("a", "x"),
        lambda: bench.store.read("a", "x"),
        lambda: bench.store.delete("a", "x"),
        lambda: bench.store.page("a", 1, after="x"),
        lambda: bench.store.fork("a", "x", NewSession("a", "y"), None),
    ]
    for call in calls:
        with pytest.raises(SessionNotFound):
            await call()
    assert await bench.store.page("a", 10) == []
    assert (await bench.store.stats("a")).active == 0


async def test_an_id_is_made_once(bench: Bench) -> None:
    new = NewSession("a", "x", "sys", {"k": "v"}, 0)
    made = await bench.store.create(new)
    assert (made.system, made.metadata, made.ttl_seconds) == ("sys", {"k": "v"}, 0)
    assert made.expires_at is None
    with pytest.raises(SessionExists):
        await bench.other.create(new)
    await add(bench.store, "a", "x", "1", "2")
    assert (await bench.store.get("a", "x")).metadata == {"k": "v"}


async def test_pages_go_from_the_newest_to_the_oldest(bench: Bench) -> None:
    for number in range(7):
        bench.clock.now += number % 2  # two of each time
        await bench.store.create(NewSession("a", f"s{number}", "a system prompt"))
    await bench.store.create(NewSession("b", "other"))
    seen: list[str] = []
    after = None
    while page := await bench.other.page("a", 3, after):
        assert all(session.system is None for session in page)
        seen += [session.id for session in page]
        after = seen[-1]
    assert seen == [f"s{number}" for number in reversed(range(7))]


async def test_a_principal_has_so_many_sessions_and_no_more(make_bench: MakeBench) -> None:
    bench = await make_bench(max_sessions=3)
    results = await asyncio.gather(
        *(bench.store.create(NewSession("a", f"s{n}")) for n in range(3)),
        *(bench.other.create(NewSession("a", f"t{n}")) for n in range(3)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, TooManySessions) for result in results) == 3
    with pytest.raises(TooManySessions):
        await bench.store.acquire("a", "new", "t")
    existing = (await bench.store.page("a", 1))[0].id
    assert await bench.store.acquire("a", existing, "t") is not None
    await bench.store.create(NewSession("b", "new"))
    bench.clock.now += 3_600
    await bench.store.create(NewSession("a", "new"))


async def test_clear_keeps_all_but_the_messages(bench: Bench) -> None:
    await bench.store.create(NewSession("a", "x", "sys", {"k": "v"}))
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    done = CompletedTurn(0, NATIVE, answered(), "sys", "request-1")
    await bench.store.write(lease, done)
    lease = await bench.store.acquire("a", "x", "u")
    assert lease is not None
    cleared = await bench.store.clear(lease)
    assert (cleared.message_count, cleared.bytes) == (0, 0)
    assert (cleared.system, cleared.metadata, cleared.cost_usd) == ("sys", {"k": "v"}, 0.5)
    assert await bench.other.read("a", "x") == (cleared, [])
    assert await bench.other.acquire("a", "x", "v") is not None


async def test_a_fork_is_a_copy_of_the_beginning(bench: Bench) -> None:
    await bench.store.create(NewSession("a", "x", "sys", {"k": "v"}, 60))
    lease = await bench.store.acquire("a", "x", "t")
    assert lease is not None
    done = CompletedTurn(0, NATIVE, answered(), "sys")
    await bench.store.write(lease, done)
    half = await bench.store.fork("a", "x", NewSession("a", "y"), 2)
    whole = await bench.store.fork("a", "x", NewSession("a", "z", None, {"n": "1"}, 0), None)
    assert (half.system, half.metadata, half.ttl_seconds) == ("sys", {"k": "v"}, 60)
    assert (whole.metadata, whole.ttl_seconds, whole.expires_at) == ({"n": "1"}, 0, None)
    assert (half.message_count, whole.message_count) == (2, 4)
    _, stored = await bench.store.read("a", "y")
    assert [kept.message.content for kept in stored] == [m.content for m in NATIVE[:2]]
    await bench.store.delete("a", "x")
    _, stored = await bench.store.read("a", "z")
    assert [kept.message.content for kept in stored] == [m.content for m in NATIVE]
    assert whole.bytes == (await bench.store.get("a", "z")).bytes > half.bytes > len(IMAGE)
    with pytest.raises(SessionExists):
        await bench.store.fork("a", "y", NewSession("a", "z"), None)


RULES = ToolRules(("Read", "Bash(git *)"), ("WebFetch",))


async def test_rules_of_tools_are_kept_for_the_server_and_each_key(bench: Bench) -> None:
    await bench.store.set_tool_rules("", RULES)
    await bench.store.set_tool_rules("a", ToolRules(()))
    await bench.other.set_tool_rules("a", ToolRules(None, ("Bash",)))
    assert await bench.other.tool_rules() == {"": RULES, "a": ToolRules(None, ("Bash",))}
    await bench.other.set_tool_rules("a", None)
    await bench.other.set_tool_rules("b", None)
    assert await bench.store.tool_rules() == {"": RULES}


async def test_rules_of_a_session_stay_over_its_turns_and_go_with_it(bench: Bench) -> None:
    with pytest.raises(SessionNotFound):
        await bench.store.set_session_tools("a", "x", RULES)
    await add(bench.store, "a", "x", "1", "2")
    assert (await bench.store.set_session_tools("a", "x", RULES)).tools == RULES
    await add(bench.other, "a", "x", "3", "4")
    assert (await bench.other.get("a", "x")).tools == RULES
    fork = await bench.store.fork("a", "x", NewSession("a", "y"), None)
    assert fork.tools is None
    assert (await bench.store.set_session_tools("a", "x", None)).tools is None
    await bench.store.set_session_tools("a", "x", RULES)
    bench.clock.now += 3_600
    await add(bench.store, "a", "x", "1", "2")
    assert (await bench.store.get("a", "x")).tools is None


async def test_statistics_are_of_what_an_owner_has_now(bench: Bench) -> None:
    await add(bench.store, "a", "x", "1", "2", "3", "4")
    bench.clock.now += DAY
    await add(bench.other, "a", "y", "1", "2")
    await add(bench.other, "b", "y", "1", "2")
    stats = await bench.store.stats("a")
    assert (stats.active, stats.expired, stats.messages) == (1, 1, 2)
    assert stats.bytes == (await bench.store.get("a", "y")).bytes


async def test_turns_of_many_sessions_at_once_are_all_there(bench: Bench) -> None:
    stores = [bench.store, bench.other]
    await asyncio.gather(
        *(add(stores[n % 2], "a", f"s{n}", *(str(i) for i in range(6))) for n in range(6))
    )
    for number in range(6):
        assert await texts(bench.store, "a", f"s{number}") == [str(i) for i in range(6)]
    counts = [session.turn_count for session in await bench.store.page("a", 10)]
    assert counts == [3] * 6


async def test_a_turn_that_is_cancelled_at_any_moment_is_whole_or_not_there(bench: Bench) -> None:
    for steps in range(25):
        lease = await bench.store.acquire("a", "x", f"t{steps}")
        assert lease is not None
        new = turn(lease.session.message_count, user("1"), assistant("2"))
        task = asyncio.create_task(bench.store.write(lease, new))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bench.store.release("a", "x", f"t{steps}")
    found = await bench.store.page("a", 1)
    written = found[0].turn_count if found else 0
    assert written == 0 or await texts(bench.store, "a", "x") == ["1", "2"] * written


async def test_the_store_answers(bench: Bench) -> None:
    await bench.store.ping()


async def test_mcp_servers_are_kept_by_name(bench: Bench) -> None:
    entry = {"type": "http", "url": "http://a", "headers": {"X": "é"}}
    assert await bench.store.add_mcp_server("a", entry)
    assert await bench.other.add_mcp_server("b", {**entry, "url": "http://b"})
    assert not await bench.other.add_mcp_server("a", {**entry, "url": "http://c"})
    assert await bench.other.mcp_servers() == {"a": entry, "b": {**entry, "url": "http://b"}}
    assert await bench.other.remove_mcp_server("b")
    assert not await bench.store.remove_mcp_server("b")
    assert list(await bench.store.mcp_servers()) == ["a"]
