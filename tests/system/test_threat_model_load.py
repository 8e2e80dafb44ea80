"""The threat model, continued: one client must not stop the others. Attacks on a live server."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.conftest import MakeGateway
from tests.support.harness import Gateway, narrow
from tests.support.sockets import connections, head, request
from tests.support.wire import URL, asking, until
from turns.images import ImageFetcher
from turns.resolver import MAX_LOOKUPS, Resolver
from web.middleware.access import FREE_FAILURES, MOST_WAITING

KEYS = "alice:sk-alice-0123456789,bob:sk-bob-0123456789"
ALICE = {"authorization": "Bearer sk-alice-0123456789"}
BOB = {"authorization": "Bearer sk-bob-0123456789"}
AS_ALICE = "authorization: Bearer sk-alice-0123456789"
MEGABYTE = 1024 * 1024


async def ask(gateway: Gateway, headers: dict[str, str], text: str = "hi") -> httpx.Response:
    return await gateway.http.post(URL, json=asking(text), headers=headers)


def busy(gateway: Gateway) -> int:
    return len(gateway.engine.pool.in_state("busy"))


# --- Clients that do not read -------------------------------------------------------------------


async def test_a_finished_answer_that_nobody_reads_holds_no_process(
    make_gateway: MakeGateway,
) -> None:
    async with (
        make_gateway(api_keys=KEYS, max_processes=2) as gateway,
        connections(gateway.url, 2, tiny=True) as readers,
    ):
        for _, writer in readers:
            body = asking("!demo tokens=60000", stream=True)
            writer.write(request(URL, body, AS_ALICE))
        await gateway.upstream.wait_for_requests(2)
        await until(lambda: busy(gateway) == 0)
        assert (await ask(gateway, BOB)).status_code == 200


async def test_the_deadline_ends_an_answer_that_nobody_reads(
    make_gateway: MakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """The session's lease comes back with it, and the connection is dropped."""
    caplog.set_level(logging.INFO, "turns.response")
    limits: dict[str, Any] = {"max_timeout": 6.0, "session_wait_seconds": 40.0}
    text = f"!demo text={'x' * MEGABYTE} chars=50000"
    async with make_gateway(api_keys=KEYS, **limits) as gateway:
        narrow(gateway.url)
        async with connections(gateway.url, tiny=True) as [(reader, writer)]:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(request(URL, asking(text, stream=True, session_id="slow"), AS_ALICE))
            await gateway.upstream.wait_for_requests(1)
            later = asking("hi", session_id="slow")
            answer = await gateway.http.post(URL, json=later, headers=ALICE)
            assert answer.status_code == 200, answer.text
            assert [record for record in caplog.records if "too slowly" in record.message]
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            with suppress(ConnectionError):
                assert b"[DONE]" not in await asyncio.wait_for(reader.read(), 10)


# --- Large bodies -------------------------------------------------------------------------------


async def test_unfinished_large_bodies_of_one_key_keep_nobody_else_out(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(api_keys=KEYS) as gateway, connections(gateway.url, 8) as senders:
        for _, writer in senders:
            writer.write(head(URL, 32 * MEGABYTE, AS_ALICE) + b"{" + b" " * 300_000)
        await asyncio.sleep(0.2)
        assert (await ask(gateway, BOB)).status_code == 200
        assert (await ask(gateway, ALICE)).status_code == 200  # small ones are always taken
        large = asking("x" * MEGABYTE)
        answer = await gateway.http.post(URL, json=large, headers=BOB)
        assert answer.status_code == 200, answer.text


SWARMS = {
    "parts": b'{"messages": [{"role": "user", "content": ['
    + b",".join([b'{"type":"text","text":"a"}'] * 400_000)
    + b"]}]}",
    "lists": b'{"metadata": [' + b",".join([b"[]"] * 3_000_000) + b"]}",
    "members": b'{"a": {' + b",".join([b'"":0'] * 2_000_000) + b"}}",
    "unfinished": b'{"a": "' + b'\\"' * 2_000_000 + b"," * 1_000_000,
}


@pytest.mark.parametrize("name", SWARMS)
async def test_millions_of_values_do_not_stop_the_server(gateway: Gateway, name: str) -> None:
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - began - 0.01)

    watching = asyncio.create_task(watch())
    headers = {"content-type": "application/json"}
    answer = await gateway.http.post(URL, content=SWARMS[name], headers=headers)
    watching.cancel()
    assert answer.status_code == 400, answer.text
    assert longest < 1.0  # it took 11 to 26 s; a busy machine has its own pauses
    assert not gateway.upstream.requests


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e400", "1" + "0" * 400 + ".0"]
)
async def test_numbers_that_json_has_not_are_refused(gateway: Gateway, number: str) -> None:
    """In a tool's schema they once dropped all parameters of the request, without a word."""
    schema = {"type": "object", "properties": {"n": {"type": "number", "maximum": "HERE"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    body = json.dumps(asking("NaN, 1e400", tools=[tool])).replace('"HERE"', number)
    headers = {"content-type": "application/json"}
    answer = await gateway.http.post(URL, content=body, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_json")
    assert number[:32] in error["message"]
    assert not gateway.upstream.requests


async def test_such_words_in_a_text_are_just_words(gateway: Gateway) -> None:
    text = 'NaN, Infinity, 1e400: {"a": [1e999, "\\"NaN\\""]} \\'
    assert (await ask(gateway, {}, text)).status_code == 200
    [asked] = gateway.upstream.requests
    assert asked.messages[-1]["content"][0]["text"] == text


# --- Fairness between keys ----------------------------------------------------------------------


async def test_one_key_never_uses_all_processes(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_keys=KEYS, max_processes=4) as gateway:
        slow = "!demo tokens=100000 rate=20"
        flood = [asyncio.create_task(ask(gateway, ALICE, slow)) for _ in range(12)]
        await gateway.upstream.wait_for_requests(3)
        answer = await ask(gateway, BOB)
        assert answer.status_code == 200, answer.text
        assert busy(gateway) == 3
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)


async def test_ten_answers_count_ten_times(make_gateway: MakeGateway) -> None:
    limits: dict[str, Any] = {"rate_limit_enabled": True, "rate_limit_chat_per_minute": 5}
    async with make_gateway(**limits) as gateway:
        four = await gateway.http.post(URL, json=asking("hi", n=4))
        assert four.status_code == 200
        two = await gateway.http.post(URL, json=asking("hi", n=2))
        assert (two.status_code, two.json()["error"]["code"]) == (429, "too_many_requests")
        assert len(gateway.upstream.requests) == 4


async def test_all_sessions_of_a_key_have_a_bound_together(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_stored_bytes=2_000) as gateway:
        statuses = []
        for number in range(3):
            body = asking("x" * 500, session_id=f"s{number}")
            statuses.append((await gateway.http.post(URL, json=body)).status_code)
    assert statuses == [200, 413, 413] or statuses == [200, 200, 413]


async def test_slow_names_of_one_key_hold_up_no_other() -> None:
    """Nor the event loop's own threads: a look-up that was given up goes on in a thread."""
    release = threading.Event()

    def addresses(host: str, port: int) -> list[str]:
        if host == "slow.test":
            release.wait(20)
        return ["127.0.0.1"]

    resolver = Resolver(addresses)
    fetcher = ImageFetcher(resolve=resolver, seconds=0.2)
    tasks = [fetcher.fetch(f"https://slow.test/{n}", "x", "alice") for n in range(MAX_LOOKUPS * 3)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result).__name__ for result in results} == {"InvalidRequest"}
    assert await asyncio.wait_for(resolver("fast.test", 443, "bob"), 5) == ["127.0.0.1"]
    with pytest.raises(TimeoutError):  # alice's own threads are all in use
        await asyncio.wait_for(resolver("fast.test", 443, "alice"), 0.1)
    release.set()
    assert await asyncio.wait_for(resolver("fast.test", 443, "alice"), 5) == ["127.0.0.1"]


# --- Guessing keys ------------------------------------------------------------------------------


async def test_a_right_key_passes_while_somebody_guesses_from_the_same_address(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(api_keys=KEYS) as gateway:

        async def guess(number: int) -> int:
            headers = {"x-api-key": f"guess-{number}"}
            return (await gateway.http.get("/v1/models", headers=headers)).status_code

        count = FREE_FAILURES + MOST_WAITING + 5
        tasks = [asyncio.create_task(guess(number)) for number in range(count)]
        statuses: list[int] = []
        for done in asyncio.as_completed(tasks):
            statuses.append(await done)
            if statuses.count(429) == 3:
                break
        for _ in range(5):
            assert (await gateway.http.get("/v1/models", headers=ALICE)).status_code == 200
        for task in tasks:
            task.cancel()


async def test_a_request_with_many_keys_is_that_many_guesses(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_keys=KEYS) as gateway:
        many = [(b"api-key", f"guess-{number}".encode()) for number in range(200)]
        right = [*many, (b"api-key", b"sk-alice-0123456789")]
        began = time.perf_counter()
        for _ in range(2):
            answer = await gateway.http.get("/v1/models", headers=right)
            assert answer.status_code == 401  # a key behind others is not looked for
        assert time.perf_counter() - began >= 0.25  # the second pays for six guesses


# --- Connections --------------------------------------------------------------------------------


async def test_idle_connections_make_way_for_new_ones(make_gateway: MakeGateway) -> None:
    async with (
        make_gateway(api_keys=KEYS, max_connections=20) as gateway,
        connections(gateway.url, 60) as idle,
    ):
        async with connections(gateway.url) as [(reader, writer)]:
            writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert await asyncio.wait_for(idle[0][0].read(), 10) == b""  # the first had to go


async def test_connections_in_use_make_no_way(make_gateway: MakeGateway) -> None:
    async with (
        make_gateway(max_connections=3, max_processes=3) as gateway,
        connections(gateway.url, 3) as used,
    ):
        for _, writer in used:
            writer.write(request(URL, asking("!demo tokens=100000 rate=20", stream=True)))
        await gateway.upstream.wait_for_requests(3)
        async with connections(gateway.url) as [(reader, writer)]:
            writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in answer


async def test_one_key_never_has_all_connections_busy(make_gateway: MakeGateway) -> None:
    async with (
        make_gateway(api_keys=KEYS, max_connections=8) as gateway,
        connections(gateway.url, 6) as senders,
    ):
        for _, writer in senders:
            writer.write(head(URL, 1000, AS_ALICE) + b"{")
        answers = [asyncio.create_task(reader.read(12)) for reader, _ in senders]
        done, rest = await asyncio.wait(answers, timeout=10, return_when="FIRST_COMPLETED")
        assert {task.result() for task in done} == {b"HTTP/1.1 503"}
        assert (await gateway.http.get("/v1/models", headers=BOB)).status_code == 200
        for task in rest:
            task.cancel()


async def test_whoever_is_refused_while_sending_much_still_learns_why(
    make_gateway: MakeGateway,
) -> None:
    """401 and 429, on connections that are closed afterwards: a reset would take the answer."""
    limits: dict[str, Any] = {"rate_limit_enabled": True, "rate_limit_chat_per_minute": 1}
    body = b"x" * (12 * MEGABYTE)
    async with make_gateway(api_keys=KEYS, **limits) as gateway:
        assert (await ask(gateway, ALICE)).status_code == 200
        for key, status in (("authorization: Bearer no", b"401"), (AS_ALICE, b"429")):
            async with connections(gateway.url) as [(reader, writer)]:
                writer.write(head(URL, len(body), key, "connection: close"))
                for at in range(0, len(body), MEGABYTE):
                    writer.write(body[at : at + MEGABYTE])
                    await writer.drain()
                answer = await asyncio.wait_for(reader.read(100_000), 10)
            assert answer.startswith(b"HTTP/1.1 " + status)
